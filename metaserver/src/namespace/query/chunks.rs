//! Where the bytes of files are.

use cairn_proto::ids::{ChunkHandle, ChunkIndex, InodeId};

use super::super::chunk::{self, Chunk};
use super::super::error::Outcome;
use super::super::reply::ChunkView;
use super::super::value::{Stored, page};
use super::super::{inode, keys, slot};
use crate::store::{Read, StoreError};

/// The first [`cairn_proto::meta::MAX_CHUNKS_PER_CALL`] of the chunks that there are among `count` places of a file from `first`, in order.
pub fn locate(read: &dyn Read, inode: InodeId, first: ChunkIndex, count: u32) -> Outcome<Vec<ChunkView>> {
    inode::get(read, inode)?.as_file()?;
    Ok(views(read, inode, first, count)?)
}

/// As [`locate`], of an inode that is known to be a file.
pub(in crate::namespace) fn views(
    read: &dyn Read,
    inode: InodeId,
    first: ChunkIndex,
    count: u32,
) -> Result<Vec<ChunkView>, StoreError> {
    let slots = slot::within(read, inode, first, count)?;
    slots.into_iter().map(|(_, slot)| Ok(chunk::of_slot(read, slot)?.view(slot))).collect()
}

/// A chunk that some file has.
pub fn chunk(read: &dyn Read, handle: ChunkHandle) -> Result<Option<Chunk>, StoreError> {
    chunk::find(read, handle)
}

/// A chunk as the file it was made for has it.
pub fn chunk_view(read: &dyn Read, handle: ChunkHandle) -> Result<Option<ChunkView>, StoreError> {
    let Some(chunk) = chunk::find(read, handle)? else {
        return Ok(None);
    };
    let slot = slot::find(read, chunk.inode, chunk.index)?.filter(|slot| slot.handle == handle);
    Ok(Some(chunk.view(slot.unwrap_or(slot::Slot { handle, trimmed_at: None }))))
}

/// Chunks in order of handle, after `after`, at most `limit`; fewer means that there are no more.
pub fn chunks(read: &dyn Read, after: ChunkHandle, limit: usize) -> Result<Vec<(ChunkHandle, Chunk)>, StoreError> {
    page(read, &keys::chunks_after(after), limit, |(key, value)| {
        Ok((keys::parse_chunk(key)?, Chunk::from_stored(key, value)?))
    })
}
