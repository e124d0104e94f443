//! What operations do to delegated directories.
//!
//! Each rule says of one [`Mutation`] what the metaserver will make of it, from what is known here; the metaserver's own rules are in
//! `metaserver/src/namespace/ops`, and both must come to the same: the journal compares. Where a rule is not sure (an ACL, a hard link,
//! a directory that is not ours) it declines with `None`, and the metaserver is asked.

use cairn_proto::attr::{Attr, FileKind, LINK_MAX, MODE_BITS, S_ISGID, S_ISUID, SYMLINK_MAX_BYTES, SetAttr, SetTime};
use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::meta::{NewNode, RenameMode};
use cairn_proto::name::Name;
use cairn_proto::policy::Policy;
use cairn_proto::time::Timestamp;

use super::table::{Child, Table, UNSEEN};
use crate::meta::NewEntry;

/// What `stat` says is the size of any directory, in bytes.
const DIRECTORY_SIZE: u64 = 4096;
/// Permission bits of every symlink; nobody looks at them.
const SYMLINK_MODE: u32 = 0o777;

/// What a rule says: `None` where the metaserver is to be asked.
pub(super) type Ruling<T> = Option<Result<T, FsError>>;

/// Everyone whom a rename touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    pub moved: Attr,
    pub replaced: Option<Attr>,
    pub old_parent: Attr,
    pub new_parent: Attr,
}

impl Table {
    /// `open(O_CREAT)`, `mkdir`, `mknod`, `symlink`: whether the name is free and the result is foreseen. Changes nothing.
    pub fn may_create(&mut self, new: &NewEntry) -> Ruling<()> {
        let parent = self.attr(new.parent)?;
        let foreseen = parent.nlink > 0 && !parent.has_xattrs && parent.nlink < LINK_MAX;
        let dir = self.usable(new.parent).filter(|_| foreseen)?;
        if let NewNode::Symlink { target } = &new.node
            && (target.is_empty() || target.len() > SYMLINK_MAX_BYTES || target.contains(&0))
        {
            return None;
        }
        match dir.names.get(&new.name) {
            Some(_) if new.exclusive => Some(Err(FsError::Exists)),
            // Somebody has to look whether it may be opened.
            Some(_) => None,
            None => Some(Ok(())),
        }
    }

    /// Does what [`Self::may_create`] allowed. Answers the new inode, its parent, and its policy.
    pub fn create(&mut self, new: &NewEntry, inode: InodeId, at: Timestamp) -> Option<(Attr, Attr, Policy)> {
        let policy = self.usable(new.parent)?.policy()?;
        let keeps = self.keeps(new.parent);
        let parent = self.attr_mut(new.parent)?;
        let attr = new_attr(new, parent, inode, at);
        let is_dir = attr.kind == FileKind::Directory;
        parent.nlink += u32::from(is_dir);
        touch(parent, at);
        let parent = parent.clone();
        if is_dir {
            self.made(&attr, policy, keeps);
        }
        self.enter(new.parent, new.name.clone(), &attr);
        self.made_file(inode);
        Some((attr, parent, policy))
    }

    /// `unlink`. Answers the removed inode and its parent.
    pub fn unlink(&mut self, parent: InodeId, name: &Name, at: Timestamp) -> Ruling<(Attr, Attr)> {
        let child = match self.child(parent, name)? {
            Some(child) if child.kind == FileKind::Directory => return Some(Err(FsError::IsDirectory)),
            Some(child) => child,
            None => return Some(Err(FsError::NotFound)),
        };
        self.is_ours(child)?;
        self.leave(parent, name);
        let removed = self.lose_name(child.inode, at)?;
        Some(Ok((removed, self.touch_dir(parent, at)?)))
    }

    /// `rmdir`. Answers the removed directory and its parent.
    pub fn rmdir(&mut self, parent: InodeId, name: &Name, at: Timestamp) -> Ruling<(Attr, Attr)> {
        let child = match self.child(parent, name)? {
            Some(child) if child.kind != FileKind::Directory => return Some(Err(FsError::NotDirectory)),
            Some(child) => child,
            None => return Some(Err(FsError::NotFound)),
        };
        if !self.usable(child.inode)?.names.is_empty() {
            return Some(Err(FsError::NotEmpty));
        }
        self.leave(parent, name);
        let removed = self.lose_name(child.inode, at)?;
        self.bury(child.inode);
        self.attr_mut(parent)?.nlink -= 1;
        Some(Ok((removed, self.touch_dir(parent, at)?)))
    }

    /// `rename`, of anything within a directory, of anything but a directory between two. `None` inside: both names are the same.
    pub fn rename(
        &mut self,
        from: (InodeId, &Name),
        to: (InodeId, &Name),
        mode: RenameMode,
        at: Timestamp,
    ) -> Ruling<Option<Moved>> {
        if mode == RenameMode::Exchange || self.attr(to.0)?.nlink == 0 {
            return None;
        }
        let source = self.child(from.0, from.1)?;
        let target = self.child(to.0, to.1)?;
        let Some(source) = source else { return Some(Err(FsError::NotFound)) };
        if mode == RenameMode::NoReplace && target.is_some() {
            return Some(Err(FsError::Exists));
        }
        if from == to {
            return Some(Ok(None));
        }
        self.is_ours(source)?;
        let moves_dir = source.kind == FileKind::Directory;
        if moves_dir && (from.0 != to.0 || target.is_some()) {
            return None;
        }
        if let Some(target) = target {
            if target.kind == FileKind::Directory || target.inode == source.inode {
                return None;
            }
            self.is_ours(target)?;
        }
        self.leave(from.0, from.1);
        let replaced = match target {
            Some(target) => {
                self.leave(to.0, to.1);
                Some(self.lose_name(target.inode, at)?)
            }
            None => None,
        };
        let moved = self.attr_mut(source.inode)?;
        moved.ctime = at;
        let moved = moved.clone();
        self.enter(to.0, to.1.clone(), &moved);
        let old_parent = self.touch_dir(from.0, at)?;
        let new_parent = self.touch_dir(to.0, at)?;
        Some(Ok(Some(Moved { moved, replaced, old_parent, new_parent })))
    }

    /// `chmod`, `chown`, `utimensat`; not `truncate`. Answers the attributes, and the directory whose delegation covers them.
    pub fn set_attr(&mut self, inode: InodeId, set: &SetAttr, at: Timestamp) -> Option<(Attr, InodeId)> {
        let home = self.node(inode)?.home;
        self.usable(home)?;
        if self.is_asking(inode) {
            return None;
        }
        let attr = self.attr_mut(inode)?;
        let is_link = attr.kind == FileKind::Symlink;
        if set.size.is_some() || attr.has_xattrs || attr.nlink == 0 || (is_link && set.mode.is_some()) {
            return None;
        }
        attr.mode = set.mode.map_or(attr.mode, |mode| mode & MODE_BITS);
        attr.uid = set.uid.unwrap_or(attr.uid);
        attr.gid = set.gid.unwrap_or(attr.gid);
        if set.uid.is_some() || set.gid.is_some() || set.kill_suid_sgid {
            clear_suid_sgid(attr);
        }
        let time = |wish: SetTime| match wish {
            SetTime::Now => at,
            SetTime::At(time) => time,
        };
        attr.atime = set.atime.map_or(attr.atime, time);
        attr.mtime = set.mtime.map_or(attr.mtime, time);
        attr.ctime = at;
        Some((attr.clone(), home))
    }

    /// What a name leads to, in a directory in which something may be done now.
    fn child(&mut self, parent: InodeId, name: &Name) -> Option<Option<Child>> {
        Some(self.usable(parent)?.names.get(name).copied())
    }

    /// Whether this mount answers for the attributes of an entry's inode.
    fn is_ours(&mut self, child: Child) -> Option<()> {
        if child.kind == FileKind::Directory && !self.is_usable(child.inode) {
            return None;
        }
        self.attr(child.inode).filter(|_| !self.is_asking(child.inode)).map(drop)
    }

    fn lose_name(&mut self, inode: InodeId, at: Timestamp) -> Option<Attr> {
        let attr = self.attr_mut(inode)?;
        attr.nlink = 0;
        attr.ctime = at;
        Some(attr.clone())
    }

    fn touch_dir(&mut self, dir: InodeId, at: Timestamp) -> Option<Attr> {
        let attr = self.attr_mut(dir)?;
        touch(attr, at);
        Some(attr.clone())
    }
}

fn touch(dir: &mut Attr, at: Timestamp) {
    dir.mtime = at;
    dir.ctime = at;
}

fn new_attr(new: &NewEntry, parent: &Attr, inode: InodeId, at: Timestamp) -> Attr {
    let (kind, size, rdev) = match &new.node {
        NewNode::File => (FileKind::File, 0, 0),
        NewNode::Directory => (FileKind::Directory, DIRECTORY_SIZE, 0),
        NewNode::Symlink { target } => (FileKind::Symlink, target.len() as u64, 0),
        NewNode::Fifo => (FileKind::Fifo, 0, 0),
        NewNode::Socket => (FileKind::Socket, 0, 0),
        NewNode::CharDevice { rdev } => (FileKind::CharDevice, 0, *rdev),
        NewNode::BlockDevice { rdev } => (FileKind::BlockDevice, 0, *rdev),
    };
    let is_dir = kind == FileKind::Directory;
    let mut mode = if kind == FileKind::Symlink { SYMLINK_MODE } else { new.mode & MODE_BITS & !(new.umask & 0o777) };
    let mut gid = new.owner.gid;
    if parent.mode & S_ISGID != 0 {
        gid = parent.gid;
        if is_dir {
            mode |= S_ISGID;
        }
    }
    Attr {
        inode,
        kind,
        mode,
        nlink: if is_dir { 2 } else { 1 },
        uid: new.owner.uid,
        gid,
        rdev,
        size,
        allocated: 0,
        atime: at,
        mtime: at,
        ctime: at,
        btime: at,
        has_xattrs: false,
        changed_at: UNSEEN,
    }
}

/// As the metaserver does it: setgid goes only where the group may execute; directories keep both.
fn clear_suid_sgid(attr: &mut Attr) {
    const S_IXGRP: u32 = 0o010;
    if attr.kind == FileKind::Directory {
        return;
    }
    attr.mode &= !S_ISUID;
    if attr.mode & S_IXGRP != 0 {
        attr.mode &= !S_ISGID;
    }
}
