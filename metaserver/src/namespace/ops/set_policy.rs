//! What a directory, or a file, asks for.

use cairn_proto::chunk::MAX_COPIES;
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkIndex, InodeId};
use cairn_proto::policy::{Policy, PolicyChange};

use super::super::change::Change;
use super::super::error::Outcome;
use super::super::inode::{self, Content};
use super::super::reply::Reply;
use super::super::{chunk, placement, slot};
use crate::store::Read;

/// Slots read at a time.
const SLOT_PAGE: usize = 1024;

pub(super) fn set_policy(change: &mut Change<'_>, id: InodeId, set: PolicyChange) -> Outcome<Reply> {
    let mut inode = inode::get(&change.txn, id)?;
    if !matches!(inode.content, Content::File(_) | Content::Directory(_)) {
        return Err(FsError::InvalidArgument.into());
    }
    let policy = Policy {
        copies: set.copies.unwrap_or(inode.policy.copies),
        durability: set.durability.unwrap_or(inode.policy.durability),
        placement: set.placement.unwrap_or(inode.policy.placement),
    };
    check(&change.txn, policy)?;
    let is_moved = policy.copies != inode.policy.copies || policy.placement != inode.policy.placement;
    if is_moved && matches!(inode.content, Content::File(_)) {
        retarget(change, id, policy)?;
    }
    inode.policy = policy;
    inode.times.ctime = change.at;
    change.save(&mut inode);
    Ok(Reply::Policy(policy))
}

/// What a file has already is to have as many copies, at the same places, too: repair adds, moves and trims them. One command for the whole file, as a
/// truncate is; a chunk that several files share goes by the last word.
fn retarget(change: &mut Change<'_>, id: InodeId, policy: Policy) -> Outcome<()> {
    let mut next = Some(ChunkIndex(0));
    while let Some(first) = next {
        let slots = slot::from(&change.txn, id, first, SLOT_PAGE)?;
        next = slots.last().and_then(|(last, _)| last.0.checked_add(1)).map(ChunkIndex);
        for (_, slot) in slots {
            let mut chunk = chunk::of_slot(&change.txn, slot)?;
            chunk.target = policy.copies;
            chunk.placement = policy.placement;
            chunk::put(&mut change.txn, slot.handle, &chunk);
        }
    }
    Ok(())
}

/// Whether it can be kept in mind; not, whether there are the servers for it.
pub(super) fn check(read: &dyn Read, policy: Policy) -> Outcome<()> {
    if !(1..=MAX_COPIES).contains(&policy.copies) {
        return Err(FsError::InvalidArgument.into());
    }
    placement::get(read, policy.placement).map(drop)
}
