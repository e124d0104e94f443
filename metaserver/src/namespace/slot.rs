//! Slots: which chunk is at which place of a file. A place without one is a hole.

use cairn_proto::ids::{ChunkHandle, ChunkIndex, InodeId};
use cairn_proto::meta::MAX_CHUNKS_PER_CALL;
use serde::{Deserialize, Serialize};

use super::keys;
use super::value::{Stored, load, page, save};
use crate::store::{Read, StoreError, Txn};

/// Places that are looked up one by one: a scan costs as much as several of them, as it copies whole pages of the store.
const LOOKED_UP_SINGLY: u32 = 4;

/// One place of a file.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Slot {
    pub handle: ChunkHandle,
    /// Where a truncate cut the chunk, see [`cairn_proto::chunk::ChunkLocation::trimmed_at`]. Of the place, not of the chunk: a
    /// chunk that several files share is cut for one of them.
    pub trimmed_at: Option<u32>,
}

impl Stored for Slot {
    const FORMAT: u8 = 1;
    const NOUN: &'static str = "chunk slot";
}

pub(super) fn find(read: &dyn Read, inode: InodeId, index: ChunkIndex) -> Result<Option<Slot>, StoreError> {
    load(read, &keys::slot(inode, index))
}

/// The slots among `count` places from `first` that have a chunk, the first [`MAX_CHUNKS_PER_CALL`] of them.
pub(super) fn within(
    read: &dyn Read,
    inode: InodeId,
    first: ChunkIndex,
    count: u32,
) -> Result<Vec<(ChunkIndex, Slot)>, StoreError> {
    if count <= LOOKED_UP_SINGLY {
        let places = (first.0..first.0.saturating_add(count)).map(ChunkIndex);
        let slots = places.map(|index| Ok(find(read, inode, index)?.map(|slot| (index, slot))));
        return slots.filter_map(Result::transpose).collect();
    }
    page(read, &keys::slots_within(inode, first, count), count.min(MAX_CHUNKS_PER_CALL) as usize, parse)
}

/// The slots of `inode` from `first` on, at most `limit`.
pub(super) fn from(
    read: &dyn Read,
    inode: InodeId,
    first: ChunkIndex,
    limit: usize,
) -> Result<Vec<(ChunkIndex, Slot)>, StoreError> {
    page(read, &keys::slots_from(inode, first), limit, parse)
}

pub(super) fn put(txn: &mut Txn<'_>, inode: InodeId, index: ChunkIndex, slot: Slot) {
    save(txn, keys::slot(inode, index), &slot);
}

pub(super) fn delete(txn: &mut Txn<'_>, inode: InodeId, index: ChunkIndex) {
    txn.delete(keys::slot(inode, index));
}

fn parse((key, value): &crate::store::Pair) -> Result<(ChunkIndex, Slot), StoreError> {
    Ok((keys::parse_slot(key)?.1, Slot::from_stored(key, value)?))
}
