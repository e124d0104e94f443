//! `link`.

use cairn_proto::attr::LINK_MAX;
use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::name::Name;

use super::super::change::Change;
use super::super::error::Outcome;
use super::super::reply::Reply;
use super::super::{dentry, inode, link};

pub(super) fn link(change: &mut Change<'_>, id: InodeId, parent: InodeId, name: &Name) -> Outcome<Reply> {
    let mut inode = inode::get(&change.txn, id)?;
    let mut parent = inode::get_living_directory(&change.txn, parent)?;
    let before = parent.changed_at;
    if dentry::find(&change.txn, parent.id, name)?.is_some() {
        return Err(FsError::Exists.into());
    }
    if inode.is_directory() {
        return Err(FsError::NotPermitted.into());
    }
    // What has lost its last name does not get a new one: it may be on its way out.
    if inode.nlink == 0 {
        return Err(FsError::NotFound.into());
    }
    if inode.nlink >= LINK_MAX {
        return Err(FsError::TooManyLinks.into());
    }
    let place = dentry::next_link(&mut parent)?;
    dentry::insert(&mut change.txn, &mut parent, name, &inode, place)?;
    link::add(&mut change.txn, &inode, place);
    inode.nlink += 1;
    inode.times.ctime = change.at;
    parent.touch_contents(change.at);
    change.save(&mut inode);
    change.save(&mut parent);
    Ok(Reply::Entry { attr: inode.attr(), parent: parent.changed(before), created: true, policy: inode.policy })
}
