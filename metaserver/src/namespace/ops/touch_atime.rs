//! Access times, as clients send them now and then.

use cairn_proto::ids::InodeId;
use cairn_proto::time::Timestamp;

use super::super::change::Change;
use super::super::error::Outcome;
use super::super::inode;
use super::super::reply::Reply;
use super::set_attr::valid;

pub(super) fn touch_atime(change: &mut Change<'_>, id: InodeId, atime: Timestamp) -> Outcome<Reply> {
    let mut inode = inode::get(&change.txn, id)?;
    if valid(atime)? > inode.times.atime {
        inode.times.atime = atime;
        change.save(&mut inode);
    }
    Ok(Reply::Attr(inode.attr()))
}
