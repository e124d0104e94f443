//! Making chunks for a writer.

use cairn_proto::attr::MAX_FILE_SIZE;
use cairn_proto::chunk::CHUNK_SIZE;
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkIndex, ChunkVersion, InodeId};
use cairn_proto::meta::MAX_CHUNKS_PER_CALL;

use super::super::change::Change;
use super::super::chunk::{self, Chunk};
use super::super::error::Outcome;
use super::super::garbage;
use super::super::inode::{self, Inode};
use super::super::query::views;
use super::super::reply::Reply;
use super::super::slot::{self, Slot};
use crate::command::Placement;

/// The inode itself does not change: what is allocated is no part of the file until it is committed.
pub(super) fn allocate(
    change: &mut Change<'_>,
    id: InodeId,
    first: ChunkIndex,
    count: u32,
    placements: &[Placement],
) -> Outcome<Reply> {
    const MAX_CHUNKS_OF_FILE: u64 = MAX_FILE_SIZE / CHUNK_SIZE;
    let inode = inode::get(&change.txn, id)?;
    inode.as_file()?;
    if count == 0 || count > MAX_CHUNKS_PER_CALL {
        return Err(FsError::InvalidArgument.into());
    }
    if u64::from(first.0) + u64::from(count) > MAX_CHUNKS_OF_FILE {
        return Err(FsError::FileTooLarge.into());
    }
    for index in (first.0..first.0 + count).map(ChunkIndex) {
        if slot::find(&change.txn, id, index)?.is_none() {
            // A truncate came between the proposer's look and now: it must look again.
            let placement = placements.iter().find(|placement| placement.index == index).ok_or(FsError::NotReady)?;
            place(change, &inode, placement)?;
        }
    }
    Ok(Reply::Chunks(views(&change.txn, id, first, count)?))
}

fn place(change: &mut Change<'_>, inode: &Inode, placement: &Placement) -> Outcome<()> {
    let Placement { index, handle, ref members } = *placement;
    chunk::check_members(members)?;
    // As with inode numbers: a handle that is in use is not taken twice.
    let is_new = handle >= change.counters()?.next_handle;
    if !is_new && (chunk::find(&change.txn, handle)?.is_some() || garbage::find(&change.txn, handle)?.is_some()) {
        return Err(FsError::NotReady.into());
    }
    let chunk = Chunk {
        version: ChunkVersion::FIRST,
        members: members.clone(),
        inode: inode.id,
        index,
        target: inode.policy.copies,
        placement: inode.policy.placement,
        length: 0,
        allocated: 0,
        refs: 1,
    };
    chunk::put(&mut change.txn, handle, &chunk);
    slot::put(&mut change.txn, inode.id, index, Slot { handle, trimmed_at: None });
    let counters = change.counters()?;
    counters.used_handle(handle);
    counters.chunks += 1;
    Ok(())
}
