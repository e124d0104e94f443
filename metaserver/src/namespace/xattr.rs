//! Extended attributes: names, limits, and the POSIX ACLs among them.

use bytes::Bytes;
use cairn_proto::attr::FileKind;
use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::meta::{XATTR_LIST_MAX, XATTR_SIZE_MAX};
use cairn_proto::name::Name;
use serde::{Deserialize, Serialize};

use super::acl::Acl;
use super::change::Change;
use super::inode::Inode;
use super::keys;
use super::value::{Stored, load, page, save};
use crate::store::{Read, StoreError};

pub(super) const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
pub(super) const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";
/// File capabilities, which like setuid do not outlive a change of the file.
const CAPABILITY: &[u8] = b"security.capability";

/// The value of one attribute.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Xattr(pub Bytes);

impl Stored for Xattr {
    const FORMAT: u8 = 1;
    const NOUN: &'static str = "extended attribute";
}

/// What an attribute's name says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Space {
    User,
    Trusted,
    Security,
    AccessAcl,
    DefaultAcl,
}

impl Space {
    /// `Unsupported` for a name of no space that there is, `InvalidArgument` for one that is nothing but its space.
    pub fn of(name: &Name) -> Result<Self, FsError> {
        let name = name.as_bytes();
        let plain = [(&b"user."[..], Self::User), (b"trusted.", Self::Trusted), (b"security.", Self::Security)];
        match name {
            ACL_ACCESS => Ok(Self::AccessAcl),
            ACL_DEFAULT => Ok(Self::DefaultAcl),
            _ => match plain.iter().find_map(|(prefix, space)| Some((name.strip_prefix(*prefix)?, space))) {
                Some((b"", _)) => Err(FsError::InvalidArgument),
                Some((_, space)) => Ok(*space),
                None => Err(FsError::Unsupported),
            },
        }
    }

    /// Users' attributes are for what has contents of its own: on a device or fifo, which anybody may write, they would be a
    /// way around quotas, and a symlink's permissions say nothing.
    pub fn fits(self, kind: FileKind) -> bool {
        self != Self::User || matches!(kind, FileKind::File | FileKind::Directory)
    }
}

pub(super) fn find(read: &dyn Read, inode: InodeId, name: &[u8]) -> Result<Option<Bytes>, StoreError> {
    let xattr: Option<Xattr> = load(read, &keys::xattr(inode, name))?;
    Ok(xattr.map(|xattr| xattr.0))
}

/// As [`find`], sparing the look where the inode says that it has none.
pub(super) fn find_of(read: &dyn Read, inode: &Inode, name: &[u8]) -> Result<Option<Bytes>, StoreError> {
    if inode.xattr_bytes == 0 { Ok(None) } else { find(read, inode.id, name) }
}

/// Names of the attributes of an inode, at most `limit`.
pub(super) fn names(read: &dyn Read, inode: InodeId, limit: usize) -> Result<Vec<Name>, StoreError> {
    page(read, &keys::xattrs_of(inode), limit, |(key, _)| Ok(keys::parse_xattr(key)?.1))
}

/// Sets an attribute; `inode` is saved by the caller.
pub(super) fn put(change: &mut Change<'_>, inode: &mut Inode, name: &[u8], value: Bytes) -> super::error::Outcome<()> {
    if value.len() > XATTR_SIZE_MAX {
        return Err(FsError::XattrTooLarge.into());
    }
    if find_of(&change.txn, inode, name)?.is_none() {
        let list = inode.xattr_bytes + listed_bytes(name);
        if list as usize > XATTR_LIST_MAX {
            return Err(FsError::XattrTooLarge.into());
        }
        inode.xattr_bytes = list;
    }
    save(&mut change.txn, keys::xattr(inode.id, name), &Xattr(value));
    Ok(())
}

/// Removes an attribute, if it is there; `inode` is saved by the caller.
pub(super) fn delete(change: &mut Change<'_>, inode: &mut Inode, name: &[u8]) -> Result<bool, StoreError> {
    let there = find_of(&change.txn, inode, name)?.is_some();
    if there {
        inode.xattr_bytes -= listed_bytes(name);
        change.txn.delete(keys::xattr(inode.id, name));
    }
    Ok(there)
}

/// The contents or the owner of a file changed: capabilities that were given to what it was are void.
pub(super) fn drop_capabilities(change: &mut Change<'_>, inode: &mut Inode) -> Result<(), StoreError> {
    if !inode.is_directory() {
        delete(change, inode, CAPABILITY)?;
    }
    Ok(())
}

/// A stored ACL of `inode`; `name` is [`ACL_ACCESS`] or [`ACL_DEFAULT`].
pub(super) fn find_acl(read: &dyn Read, inode: &Inode, name: &[u8]) -> Result<Option<Acl>, StoreError> {
    let Some(bytes) = find_of(read, inode, name)? else {
        return Ok(None);
    };
    Acl::parse(&bytes).map_err(|_| StoreError::bad_value(&keys::xattr(inode.id, name), "ACL"))
}

/// Bytes that a name takes in the list: a NUL ends it.
pub(super) fn listed_bytes(name: &[u8]) -> u32 {
    u32::try_from(name.len() + 1).expect("names have at most 255 bytes")
}
