//! Chunks: who holds them, at which version, and how much is in them.

use bytes::Bytes;
use cairn_proto::chunk::ChunkId;
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, ChunkVersion, InodeId, ServerId};
use cairn_proto::policy::PlacementId;
use serde::{Deserialize, Serialize};

use super::change::Change;
use super::error::Outcome;
use super::garbage::{self, Garbage};
use super::keys;
use super::reply::ChunkView;
use super::slot::Slot;
use super::value::{Stored, load, save};
use crate::store::{Read, StoreError, Txn};

/// One chunk. Not how many copies there are now: that is soft state, see `crate::cluster`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Chunk {
    pub version: ChunkVersion,
    /// The servers that hold it, in chain order, head first. Never empty.
    pub members: Vec<ServerId>,
    /// The file it was made for, and its place there.
    pub inode: InodeId,
    pub index: ChunkIndex,
    /// Copies that are asked for: those of the file's policy when it was made.
    pub target: u8,
    /// Where they may be: as of the file's policy, too.
    pub placement: PlacementId,
    /// Bytes from its start to the last one known to be written.
    pub length: u32,
    /// Bytes that hold data, as of the last commit.
    pub allocated: u32,
    /// Slots that point to it.
    pub refs: u32,
}

impl Stored for Chunk {
    const FORMAT: u8 = 2;
    const NOUN: &'static str = "chunk";
}

impl Chunk {
    /// This chunk as seen through `slot`.
    pub(super) fn view(&self, slot: Slot) -> ChunkView {
        ChunkView {
            id: ChunkId { handle: slot.handle, version: self.version, inode: self.inode, index: self.index },
            length: self.length,
            trimmed_at: slot.trimmed_at,
            members: self.members.clone(),
            target: self.target,
            placement: self.placement,
        }
    }
}

/// The key under which a chunk's record stands. This and the next two are for tools that make a state without the commands that lead to it.
pub fn key(handle: ChunkHandle) -> Bytes {
    keys::chunk(handle)
}

/// A chunk's record, as it stands in the store.
pub fn record(chunk: &Chunk) -> Bytes {
    chunk.to_stored()
}

/// The chunk whose record stands under `key`, where it is such a key.
pub fn handle_of(key: &[u8]) -> Option<ChunkHandle> {
    keys::parse_chunk(key).ok()
}

pub(super) fn find(read: &dyn Read, handle: ChunkHandle) -> Result<Option<Chunk>, StoreError> {
    load(read, &keys::chunk(handle))
}

/// The chunk; `NotFound` where there is none (any more).
pub(super) fn get(read: &dyn Read, handle: ChunkHandle) -> Outcome<Chunk> {
    Ok(find(read, handle)?.ok_or(FsError::NotFound)?)
}

/// The chunk that a slot points to. A slot without its chunk is damage.
pub(super) fn of_slot(read: &dyn Read, slot: Slot) -> Result<Chunk, StoreError> {
    let key = keys::chunk(slot.handle);
    load(read, &key)?.ok_or_else(|| StoreError::bad_value(&key, "chunk of a slot"))
}

pub(super) fn put(txn: &mut Txn<'_>, handle: ChunkHandle, chunk: &Chunk) {
    save(txn, keys::chunk(handle), chunk);
}

/// One slot less points to a chunk. The last one makes it garbage. Answers the bytes that it had allocated.
pub(super) fn release(change: &mut Change<'_>, slot: Slot) -> Outcome<u32> {
    let mut chunk = of_slot(&change.txn, slot)?;
    chunk.refs -= 1;
    if chunk.refs > 0 {
        put(&mut change.txn, slot.handle, &chunk);
        return Ok(chunk.allocated);
    }
    change.txn.delete(keys::chunk(slot.handle));
    garbage::put(&mut change.txn, slot.handle, &Garbage { version: chunk.version, members: chunk.members });
    let counters = change.counters()?;
    counters.chunks -= 1;
    counters.garbage += 1;
    Ok(chunk.allocated)
}

/// Whether `members` can hold a chunk: some, none twice, not more than there may be.
pub(super) fn check_members(members: &[ServerId]) -> Result<(), FsError> {
    let all_differ = members.iter().enumerate().all(|(n, member)| !members[..n].contains(member));
    if members.is_empty() || members.len() > usize::from(cairn_proto::chunk::MAX_COPIES) || !all_differ {
        return Err(FsError::InvalidArgument);
    }
    Ok(())
}
