//! `rmdir`.

use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::name::Name;

use super::super::change::Change;
use super::super::error::Outcome;
use super::super::reply::Reply;
use super::super::{dentry, inode};
use super::unlink::lose_name;

pub(super) fn rmdir(change: &mut Change<'_>, parent: InodeId, name: &Name) -> Outcome<Reply> {
    let mut parent = inode::get_directory(&change.txn, parent)?;
    let before = parent.changed_at;
    let dentry = dentry::get(&change.txn, parent.id, name)?;
    let target = inode::of_entry(&change.txn, dentry.inode)?;
    if target.as_directory()?.entries > 0 {
        return Err(FsError::NotEmpty.into());
    }
    dentry::remove(&mut change.txn, &mut parent, name, &dentry)?;
    parent.nlink -= 1;
    parent.touch_contents(change.at);
    change.save(&mut parent);
    let inode = lose_name(change, dentry.inode, &parent, name, dentry.link(parent.id))?;
    Ok(Reply::Removed { attr: inode.attr(), parent: parent.changed(before) })
}
