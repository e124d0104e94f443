//! Giving something in the trash a name again.

use cairn_proto::attr::LINK_MAX;
use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::name::Name;

use super::super::change::Change;
use super::super::error::Outcome;
use super::super::inode::{self, Inode};
use super::super::link::Link;
use super::super::reply::Reply;
use super::super::{delegation, dentry, trash};

pub(super) fn restore(change: &mut Change<'_>, id: InodeId, parent: InodeId, name: &Name) -> Outcome<Reply> {
    let trashed = trash::get(&change.txn, id)?;
    let mut parent = inode::get_living_directory(&change.txn, parent)?;
    delegation::admit(&change.txn, change.caller, parent.id)?;
    if dentry::find(&change.txn, parent.id, name)?.is_some() {
        return Err(FsError::Exists.into());
    }
    let mut inode = inode::of_entry(&change.txn, id)?;
    inode.nlink = 1;
    if inode.is_directory() {
        if parent.nlink >= LINK_MAX {
            return Err(FsError::TooManyLinks.into());
        }
        parent.nlink += 1;
        // It was empty when it was removed, and nothing is made in a directory without a name.
        inode.nlink = 2;
    }
    let link = place(change, &inode, &mut parent)?;
    dentry::insert(&mut change.txn, &mut parent, name, &inode, link)?;
    inode.home = link;
    inode.times.ctime = change.at;
    parent.touch_contents(change.at);
    trash::remove(change, id, &trashed)?;
    change.save(&mut inode);
    change.save(&mut parent);
    Ok(Reply::Attr(inode.attr()))
}

/// Where it was before, if that is free: so nothing counts as added to the directory, and a restore that was interrupted still tells
/// what was removed with it from what was removed earlier. A place is nobody else's but by a rename that took it over.
fn place(change: &Change<'_>, inode: &Inode, parent: &mut Inode) -> Outcome<Link> {
    if inode.home.parent == parent.id && dentry::find_listed(&change.txn, inode.home)?.is_none() {
        return Ok(inode.home);
    }
    Ok(dentry::next_link(parent)?)
}
