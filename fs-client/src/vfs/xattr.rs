//! Extended attributes, ACLs among them.
//!
//! The kernel asks for ACLs and file capabilities with almost every path that it walks and file that it writes. Most inodes
//! have none, and their attributes say so: then nobody is asked.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use cairn_proto::attr::S_ISGID;
use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::meta::{XATTR_LIST_MAX, XATTR_SIZE_MAX, XattrMode};
use cairn_proto::name::Name;

use super::Vfs;
use super::caller::Caller;
use super::error::VfsError;
use super::trash::Place;

/// Names that only the administrator sees.
const TRUSTED: &[u8] = b"trusted.";
/// What names may begin with; the kernel lets others through to a FUSE file system.
const NAMESPACES: [&[u8]; 4] = [b"user.", TRUSTED, b"security.", b"system.posix_acl_"];
/// The ACL that has a setgid bit cleared when somebody outside the group sets it.
const ACCESS_ACL: &[u8] = b"system.posix_acl_access";

impl Vfs {
    pub async fn getxattr(&self, inode: InodeId, name: &OsStr) -> Result<Arc<[u8]>, VfsError> {
        let name = xattr_name(name)?;
        let inode = Place::real(inode).ok_or(FsError::NoXattr)?;
        let attr = self.attr(inode).await?;
        if !attr.has_xattrs {
            return Err(FsError::NoXattr.into());
        }
        let as_of = attr.changed_at;
        if let Some(known) = self.known.xattrs.get(inode, &name, as_of) {
            return known.ok_or(FsError::NoXattr.into());
        }
        self.delegations.settle(&[inode]).await?;
        let value = match self.meta.get_xattr(inode, &name).await.map_err(VfsError::from) {
            Ok(value) => Some(Arc::from(value)),
            Err(error) if error.refusal() == Some(&FsError::NoXattr) => None,
            Err(error) => return Err(error),
        };
        self.known.xattrs.learn(inode, name, value.clone(), as_of);
        value.ok_or(FsError::NoXattr.into())
    }

    /// The names, each with a closing zero.
    pub async fn listxattr(&self, caller: Caller, inode: InodeId) -> Result<Vec<u8>, VfsError> {
        let Some(inode) = Place::real(inode) else { return Ok(Vec::new()) };
        if !self.attr(inode).await?.has_xattrs {
            return Ok(Vec::new());
        }
        let mut list = Vec::new();
        self.delegations.settle(&[inode]).await?;
        for name in self.meta.list_xattr(inode).await? {
            if caller.is_root() || !name.as_bytes().starts_with(TRUSTED) {
                list.extend_from_slice(name.as_bytes());
                list.push(0);
            }
        }
        if list.len() > XATTR_LIST_MAX {
            return Err(FsError::XattrTooLarge.into());
        }
        Ok(list)
    }

    pub async fn setxattr(
        &self,
        caller: Caller,
        inode: InodeId,
        name: &OsStr,
        value: Vec<u8>,
        mode: XattrMode,
    ) -> Result<(), VfsError> {
        let name = xattr_name(name)?;
        Place::must_be_outside(inode)?;
        if value.len() > XATTR_SIZE_MAX {
            return Err(FsError::XattrTooLarge.into());
        }
        let clear_sgid = name.as_bytes() == ACCESS_ACL && self.acl_clears_sgid(caller, inode).await?;
        let _asking = self.delegations.ask(&[inode]).await?;
        let asked = self.known.asked();
        let attr = self.meta.set_xattr(inode, name, value, mode, clear_sgid).await?;
        self.saw(attr, false, asked);
        Ok(())
    }

    pub async fn removexattr(&self, inode: InodeId, name: &OsStr) -> Result<(), VfsError> {
        let name = xattr_name(name)?;
        Place::must_be_outside(inode)?;
        let _asking = self.delegations.ask(&[inode]).await?;
        let asked = self.known.asked();
        let attr = self.meta.remove_xattr(inode, name).await?;
        self.saw(attr, false, asked);
        Ok(())
    }

    /// The kernel would say it itself (`FUSE_SETXATTR_ACL_KILL_SGID`), in a form of the request that fuser does not read.
    async fn acl_clears_sgid(&self, caller: Caller, inode: InodeId) -> Result<bool, VfsError> {
        let attr = self.attr(inode).await?;
        Ok(attr.mode & S_ISGID != 0 && !caller.is_in_group(attr.gid) && !caller.keeps_suid())
    }
}

/// Unlike file names, names of extended attributes may hold a slash; [`Name`] does not have them, and nobody uses them.
fn xattr_name(name: &OsStr) -> Result<Name, VfsError> {
    let bytes = name.as_bytes();
    if !NAMESPACES.iter().any(|namespace| bytes.starts_with(namespace)) {
        return Err(VfsError::Unsupported("this namespace of extended attributes"));
    }
    Name::new(bytes).map_err(|error| match error {
        cairn_proto::name::NameError::TooLong => VfsError::BufferTooSmall,
        cairn_proto::name::NameError::Invalid => VfsError::Unsupported("this name of an extended attribute"),
    })
}
