//! `setxattr`, and so `setfacl`.

use bytes::Bytes;
use cairn_proto::attr::{FileKind, S_ISGID};
use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::meta::{XATTR_SIZE_MAX, XattrMode};
use cairn_proto::name::Name;

use super::super::acl::{Acl, PERMISSION_BITS};
use super::super::change::Change;
use super::super::error::Outcome;
use super::super::inode::{self, Inode};
use super::super::reply::Reply;
use super::super::xattr::{self, ACL_ACCESS, ACL_DEFAULT, Space};

pub(super) fn set_xattr(
    change: &mut Change<'_>,
    id: InodeId,
    name: &Name,
    value: &[u8],
    mode: XattrMode,
    clear_sgid: bool,
) -> Outcome<Reply> {
    if value.len() > XATTR_SIZE_MAX {
        return Err(FsError::XattrTooLarge.into());
    }
    let space = Space::of(name)?;
    let mut inode = inode::get(&change.txn, id)?;
    if !space.fits(inode.kind()) {
        return Err(FsError::NotPermitted.into());
    }
    match space {
        Space::AccessAcl => set_access_acl(change, &mut inode, Acl::parse(value)?, clear_sgid)?,
        Space::DefaultAcl => set_default_acl(change, &mut inode, Acl::parse(value)?)?,
        Space::User | Space::Trusted | Space::Security => {
            check_mode(change, &inode, name, mode)?;
            xattr::put(change, &mut inode, name.as_bytes(), Bytes::copy_from_slice(value))?;
        }
    }
    inode.times.ctime = change.at;
    change.save(&mut inode);
    Ok(Reply::Attr(inode.attr()))
}

fn check_mode(change: &Change<'_>, inode: &Inode, name: &Name, mode: XattrMode) -> Outcome<()> {
    let there = xattr::find_of(&change.txn, inode, name.as_bytes())?.is_some();
    match mode {
        XattrMode::Create if there => Err(FsError::XattrExists.into()),
        XattrMode::Replace if !there => Err(FsError::NoXattr.into()),
        _ => Ok(()),
    }
}

/// The mode becomes what the ACL says; an ACL that says no more than the mode can is not kept. No ACL leaves the mode as it is.
pub(super) fn set_access_acl(
    change: &mut Change<'_>,
    inode: &mut Inode,
    acl: Option<Acl>,
    clear_sgid: bool,
) -> Outcome<()> {
    if inode.kind() == FileKind::Symlink {
        return Err(FsError::Unsupported.into());
    }
    if let Some(acl) = &acl {
        inode.mode = inode.mode & !PERMISSION_BITS | acl.mode();
        if clear_sgid {
            inode.mode &= !S_ISGID;
        }
    }
    match acl.filter(|acl| !acl.is_minimal()) {
        Some(acl) => xattr::put(change, inode, ACL_ACCESS, acl.to_bytes().into()),
        None => Ok(xattr::delete(change, inode, ACL_ACCESS).map(drop)?),
    }
}

/// Only directories have one: it is for what is made in them.
pub(super) fn set_default_acl(change: &mut Change<'_>, inode: &mut Inode, acl: Option<Acl>) -> Outcome<()> {
    match acl {
        Some(_) if !inode.is_directory() => Err(FsError::AccessDenied.into()),
        Some(acl) => xattr::put(change, inode, ACL_DEFAULT, acl.to_bytes().into()),
        None => Ok(xattr::delete(change, inode, ACL_DEFAULT).map(drop)?),
    }
}
