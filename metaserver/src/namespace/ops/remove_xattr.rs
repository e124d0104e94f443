//! `removexattr`.

use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::name::Name;

use super::super::change::Change;
use super::super::error::Outcome;
use super::super::inode;
use super::super::reply::Reply;
use super::super::xattr::{self, Space};

pub(super) fn remove_xattr(change: &mut Change<'_>, id: InodeId, name: &Name) -> Outcome<Reply> {
    let space = Space::of(name)?;
    let mut inode = inode::get(&change.txn, id)?;
    if !space.fits(inode.kind()) {
        return Err(FsError::NotPermitted.into());
    }
    if xattr::delete(change, &mut inode, name.as_bytes())? {
        inode.times.ctime = change.at;
        change.save(&mut inode);
    } else if !matches!(space, Space::AccessAcl | Space::DefaultAcl) {
        return Err(FsError::NoXattr.into());
    }
    // To take away an ACL that is not there is no error: the minimal one never is.
    Ok(Reply::Attr(inode.attr()))
}
