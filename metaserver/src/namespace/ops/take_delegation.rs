//! A directory for one session alone.

use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::meta::Delegation;

use super::super::change::Change;
use super::super::error::Outcome;
use super::super::reply::Reply;
use super::super::{delegation, inode};

/// The directory itself does not change: to others it looks the same, and what was known of it stays true.
pub(super) fn take_delegation(change: &mut Change<'_>, id: InodeId, max_entries: u64) -> Outcome<Reply> {
    let caller = change.caller.ok_or(FsError::InvalidArgument)?;
    let directory = inode::get_living_directory(&change.txn, id)?;
    let holder = delegation::holder(&change.txn, id)?;
    if directory.as_directory()?.entries > max_entries || holder.is_some_and(|holder| holder != caller) {
        return Ok(Reply::Delegated(None));
    }
    if holder.is_none() {
        delegation::put(&mut change.txn, id, caller);
    }
    let (attr, policy, parent) = (directory.attr(), directory.policy, directory.home.parent);
    Ok(Reply::Delegated(Some(Delegation { attr, policy, parent })))
}
