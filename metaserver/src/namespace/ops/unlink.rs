//! `unlink`, and what else takes a name from an inode.

use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::name::Name;

use super::super::change::Change;
use super::super::error::Outcome;
use super::super::inode::{self, Inode};
use super::super::link::{self, Link};
use super::super::reply::Reply;
use super::super::{delegation, dentry, orphan, trash};

pub(super) fn unlink(change: &mut Change<'_>, parent: InodeId, name: &Name) -> Outcome<Reply> {
    let mut parent = inode::get_directory(&change.txn, parent)?;
    let before = parent.changed_at;
    let dentry = dentry::get(&change.txn, parent.id, name)?;
    if dentry.is_directory() {
        return Err(FsError::IsDirectory.into());
    }
    dentry::remove(&mut change.txn, &mut parent, name, &dentry)?;
    parent.touch_contents(change.at);
    change.save(&mut parent);
    let inode = lose_name(change, dentry.inode, &parent, name, dentry.link(parent.id))?;
    Ok(Reply::Removed { attr: inode.attr(), parent: parent.changed(before) })
}

/// An inode's entry at `link`, which was `name` in `parent`, is gone. Without any other it goes to the trash, where the parent has one,
/// or becomes an orphan; a directory has never another.
pub(super) fn lose_name(
    change: &mut Change<'_>,
    id: InodeId,
    parent: &Inode,
    name: &Name,
    link: Link,
) -> Outcome<Inode> {
    let mut inode = inode::of_entry(&change.txn, id)?;
    inode.nlink = if inode.is_directory() { 0 } else { inode.nlink.saturating_sub(1) };
    link::remove(&mut change.txn, &mut inode, link)?;
    inode.times.ctime = change.at;
    if inode.is_directory() {
        delegation::end(&mut change.txn, id)?;
    }
    if inode.nlink == 0 {
        if parent.retention.is_off() {
            orphan::add(change, inode.id)?;
        } else {
            trash::add(change, &inode, parent, name)?;
        }
    }
    change.save(&mut inode);
    Ok(inode)
}
