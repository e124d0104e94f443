//! Freeing inodes that have no name, and that nobody holds open any more.

use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkIndex, InodeId};
use cairn_proto::meta::XATTR_LIST_MAX;

use super::super::change::Change;
use super::super::error::Outcome;
use super::super::inode::{self, Content, Inode};
use super::super::reply::Reply;
use super::super::{chunk, keys, orphan, slot, xattr};

/// Inodes in one `Reap` at most.
pub const MAX_REAP_INODES: usize = 1024;
/// Chunks that one `Reap` lets go of at most.
pub const MAX_REAP_CHUNKS: usize = 4096;

/// Whether anybody holds them open is soft state and the proposer's to know; that they have no name is checked here.
pub(super) fn reap(change: &mut Change<'_>, inodes: &[InodeId]) -> Outcome<Reply> {
    if inodes.len() > MAX_REAP_INODES {
        return Err(FsError::InvalidArgument.into());
    }
    let mut budget = MAX_REAP_CHUNKS;
    let mut gone = Vec::new();
    for &id in inodes {
        if !orphan::contains(&change.txn, id)? {
            continue;
        }
        let mut inode = inode::of_entry(&change.txn, id)?;
        if !free_chunks(change, &mut inode, &mut budget)? {
            return Ok(Reply::Reaped { gone, more: true });
        }
        remove(change, &inode)?;
        gone.push(id);
    }
    Ok(Reply::Reaped { gone, more: false })
}

/// Lets go of as many chunks as the budget has; answers whether that were all.
fn free_chunks(change: &mut Change<'_>, inode: &mut Inode, budget: &mut usize) -> Outcome<bool> {
    let Content::File(mut file) = inode.content else {
        return Ok(true);
    };
    // One more than may be freed, to see whether there is one.
    let mut slots = slot::from(&change.txn, inode.id, ChunkIndex(0), *budget + 1)?;
    let all = slots.len() <= *budget;
    slots.truncate(*budget);
    *budget -= slots.len();
    for (index, slot) in slots {
        slot::delete(&mut change.txn, inode.id, index);
        file.allocated = file.allocated.saturating_sub(u64::from(chunk::release(change, slot)?));
    }
    if !all {
        inode.content = Content::File(file);
        change.save(inode);
    }
    Ok(all)
}

fn remove(change: &mut Change<'_>, inode: &Inode) -> Outcome<()> {
    if inode.xattr_bytes > 0 {
        for name in xattr::names(&change.txn, inode.id, XATTR_LIST_MAX)? {
            change.txn.delete(keys::xattr(inode.id, name.as_bytes()));
        }
    }
    change.txn.delete(keys::inode(inode.id));
    change.txn.delete(keys::orphan(inode.id));
    let counters = change.counters()?;
    counters.inodes -= 1;
    counters.orphans -= 1;
    Ok(())
}
