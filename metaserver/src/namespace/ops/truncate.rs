//! Changing the size of a file.
//!
//! Chunks beyond a cut are let go of, all in one command: three writes for each, so that cutting a terabyte off is a batch of
//! some 50,000 writes. (Removing a file is not so bound: it is reaped in pieces.) The chunk that is cut in the middle stays, with
//! a mark from where on it is zeros; see [`cairn_proto::chunk::ChunkLocation::trimmed_at`].

use cairn_proto::attr::MAX_FILE_SIZE;
use cairn_proto::chunk::{BLOCK_SIZE, CHUNK_SIZE};
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkIndex, InodeId};

use super::super::change::Change;
use super::super::chunk;
use super::super::error::Outcome;
use super::super::inode::Inode;
use super::super::slot::{self, Slot};
use super::super::trash;

/// Sets the size of a file; `inode` is saved by the caller. A file that grows keeps the chunks it has: those that were allocated
/// ahead, and the mark of an earlier cut.
pub(super) fn resize(change: &mut Change<'_>, inode: &mut Inode, size: u64) -> Outcome<()> {
    let id = inode.id;
    let file = inode.as_file_mut()?;
    if size > MAX_FILE_SIZE {
        return Err(FsError::FileTooLarge.into());
    }
    if size < file.size {
        let freed = cut(change, id, size)?;
        file.allocated = file.allocated.saturating_sub(freed);
    }
    file.size = size;
    trash::resized(change, inode)
}

/// Lets go of what is beyond `size`; answers the bytes that were allocated there.
fn cut(change: &mut Change<'_>, id: InodeId, size: u64) -> Outcome<u64> {
    let mut freed = 0;
    let mut first_gone = ChunkIndex::of_offset(size).ok_or(FsError::FileTooLarge)?;
    let within = (size % CHUNK_SIZE) as u32;
    if within > 0 {
        freed += cut_chunk(change, id, first_gone, within)?;
        first_gone = ChunkIndex(first_gone.0 + 1);
    }
    for (index, slot) in slot::from(&change.txn, id, first_gone, usize::MAX)? {
        slot::delete(&mut change.txn, id, index);
        freed += u64::from(chunk::release(change, slot)?);
    }
    Ok(freed)
}

fn cut_chunk(change: &mut Change<'_>, id: InodeId, index: ChunkIndex, within: u32) -> Outcome<u64> {
    let Some(slot) = slot::find(&change.txn, id, index)? else {
        return Ok(0);
    };
    // Marked whatever its length: writers may have sent more than they have committed.
    let trimmed_at = Some(slot.trimmed_at.map_or(within, |earlier| earlier.min(within)));
    slot::put(&mut change.txn, id, index, Slot { trimmed_at, ..slot });
    let mut chunk = chunk::of_slot(&change.txn, slot)?;
    let before = chunk.allocated;
    chunk.length = chunk.length.min(within);
    chunk.allocated = chunk.allocated.min(within.next_multiple_of(BLOCK_SIZE as u32));
    chunk::put(&mut change.txn, slot.handle, &chunk);
    Ok(u64::from(before - chunk.allocated))
}
