//! Extended attributes.

use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::meta::XATTR_LIST_MAX;
use cairn_proto::name::Name;

use super::super::error::Outcome;
use super::super::inode;
use super::super::xattr::{self, Space};
use crate::store::Read;

/// `NoXattr` where there is none, `Unsupported` where there can be none of this name.
pub fn get_xattr(read: &dyn Read, inode: InodeId, name: &Name) -> Outcome<Vec<u8>> {
    Space::of(name)?;
    let inode = inode::get(read, inode)?;
    let value = xattr::find_of(read, &inode, name.as_bytes())?.ok_or(FsError::NoXattr)?;
    Ok(value.into())
}

/// The names of all attributes.
pub fn list_xattr(read: &dyn Read, inode: InodeId) -> Outcome<Vec<Name>> {
    let inode = inode::get(read, inode)?;
    if inode.xattr_bytes == 0 {
        return Ok(Vec::new());
    }
    Ok(xattr::names(read, inode.id, XATTR_LIST_MAX)?)
}
