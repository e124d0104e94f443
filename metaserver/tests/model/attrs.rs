//! Attributes: setattr, xattrs, policies, access times.

use cairn_metaserver::namespace::Reply;
use cairn_proto::attr::{FileKind, SetAttr, SetTime};
use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::meta::XattrMode;
use cairn_proto::name::Name;
use cairn_proto::policy::PolicyChange;
use cairn_proto::time::Timestamp;

use super::acl::Acl;
use super::names::acl_name;
use super::{Answer, Model, Node};

impl Model {
    pub(super) fn set_attr(&mut self, at: Timestamp, id: InodeId, set: &SetAttr) -> Answer {
        let node = self.node(id)?;
        if let Some(size) = set.size {
            self.file(id)?;
            if size > 1 << 56 {
                return Err(FsError::FileTooLarge);
            }
        }
        if node.kind == FileKind::Symlink && set.mode.is_some_and(|mode| mode & 0o7777 != node.mode) {
            return Err(FsError::Unsupported);
        }
        for time in [set.atime, set.mtime] {
            if matches!(time, Some(SetTime::At(time)) if time.nanos >= 1_000_000_000) {
                return Err(FsError::InvalidArgument);
            }
        }
        if let Some(size) = set.size {
            self.truncate(id, size);
        }
        let node = self.node_mut(id);
        if set.size.is_some() {
            node.mtime = at;
        }
        if let Some(mode) = set.mode {
            node.chmod(mode & 0o7777);
        }
        let chown = set.uid.is_some() || set.gid.is_some();
        node.uid = set.uid.unwrap_or(node.uid);
        node.gid = set.gid.unwrap_or(node.gid);
        if chown || set.kill_suid_sgid {
            node.kill_suid_sgid();
        }
        if chown || set.kill_suid_sgid || set.size.is_some() {
            node.kill_capabilities();
        }
        let time = |set, old| match set {
            None => old,
            Some(SetTime::Now) => at,
            Some(SetTime::At(time)) => time,
        };
        node.atime = time(set.atime, node.atime);
        node.mtime = time(set.mtime, node.mtime);
        node.ctime = at;
        Ok(Reply::Attr(self.attr(id)))
    }

    pub(super) fn touch_atime(&mut self, id: InodeId, atime: Timestamp) -> Answer {
        self.node(id)?;
        if atime.nanos >= 1_000_000_000 {
            return Err(FsError::InvalidArgument);
        }
        let node = self.node_mut(id);
        node.atime = node.atime.max(atime);
        Ok(Reply::Attr(self.attr(id)))
    }

    pub(super) fn set_policy(&mut self, at: Timestamp, id: InodeId, change: PolicyChange) -> Answer {
        let node = self.node(id)?;
        let copies = change.copies.unwrap_or(node.policy.copies);
        if !matches!(node.kind, FileKind::File | FileKind::Directory) || copies == 0 || copies > 9 {
            return Err(FsError::InvalidArgument);
        }
        let node = self.node_mut(id);
        node.policy.copies = copies;
        node.chunks.values_mut().for_each(|piece| piece.target = copies);
        node.policy.durability = change.durability.unwrap_or(node.policy.durability);
        node.ctime = at;
        Ok(Reply::Policy(node.policy))
    }

    pub(super) fn set_xattr(
        &mut self,
        at: Timestamp,
        id: InodeId,
        name: &Name,
        value: &[u8],
        mode: XattrMode,
        clear_sgid: bool,
    ) -> Answer {
        if value.len() > 65536 {
            return Err(FsError::XattrTooLarge);
        }
        self.check_xattr_name(id, name)?;
        let node = self.node(id)?;
        if *name == acl_name("access") {
            let symlink = node.kind == FileKind::Symlink;
            let acl = Acl::parse(value)?;
            if symlink {
                return Err(FsError::Unsupported);
            }
            let node = self.node_mut(id);
            if let Some(acl) = &acl {
                node.mode = node.mode & !0o777 | acl.mode();
                if clear_sgid {
                    node.mode &= !0o2000;
                }
            }
            match acl {
                Some(acl) if acl.is_extended() => node.xattrs.insert(name.clone(), acl.to_bytes()),
                _ => node.xattrs.remove(name),
            };
        } else if *name == acl_name("default") {
            let directory = node.kind == FileKind::Directory;
            match Acl::parse(value)? {
                Some(_) if !directory => return Err(FsError::AccessDenied),
                Some(acl) => self.node_mut(id).xattrs.insert(name.clone(), acl.to_bytes()),
                None => self.node_mut(id).xattrs.remove(name),
            };
        } else {
            let there = node.xattrs.contains_key(name);
            match mode {
                XattrMode::Create if there => return Err(FsError::XattrExists),
                XattrMode::Replace if !there => return Err(FsError::NoXattr),
                _ => {}
            }
            self.node_mut(id).xattrs.insert(name.clone(), value.to_vec());
        }
        self.node_mut(id).ctime = at;
        Ok(Reply::Attr(self.attr(id)))
    }

    pub(super) fn remove_xattr(&mut self, at: Timestamp, id: InodeId, name: &Name) -> Answer {
        self.check_xattr_name(id, name)?;
        let is_acl = name.as_bytes().starts_with(b"system.");
        let node = self.node_mut(id);
        if node.xattrs.remove(name).is_some() {
            node.ctime = at;
        } else if !is_acl {
            return Err(FsError::NoXattr);
        }
        Ok(Reply::Attr(self.attr(id)))
    }

    fn check_xattr_name(&self, id: InodeId, name: &Name) -> Result<(), FsError> {
        let bytes = name.as_bytes();
        let known = [&b"user."[..], b"trusted.", b"security."].iter().any(|space| bytes.starts_with(space));
        if !known && *name != acl_name("access") && *name != acl_name("default") {
            return Err(FsError::Unsupported);
        }
        let node = self.node(id)?;
        if bytes.starts_with(b"user.") && !matches!(node.kind, FileKind::File | FileKind::Directory) {
            return Err(FsError::NotPermitted);
        }
        Ok(())
    }
}

impl Node {
    fn chmod(&mut self, mode: u32) {
        self.mode = mode;
        if let Some(bytes) = self.xattrs.get_mut(&acl_name("access")) {
            let mut acl = Acl::stored(bytes);
            acl.chmod(mode);
            *bytes = acl.to_bytes();
        }
    }

    pub(super) fn kill_suid_sgid(&mut self) {
        if self.kind != FileKind::Directory {
            let sgid = if self.mode & 0o010 != 0 { 0o2000 } else { 0 };
            self.mode &= !(0o4000 | sgid);
        }
    }

    pub(super) fn kill_capabilities(&mut self) {
        if self.kind != FileKind::Directory {
            self.xattrs.retain(|name, _| name.as_bytes() != b"security.capability");
        }
    }
}
