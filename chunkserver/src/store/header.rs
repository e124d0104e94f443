//! The header of a chunk, as bytes: two slots that say what the chunk is, and behind them the table of sums.
//!
//! ```text
//!    0  slot 0, 512 bytes     a sealed record (see `seal`), magic "CAIRNCHK"
//!  512  slot 1, 512 bytes     the same
//! 1024  table                 8 bytes a block, to the last block that was ever written:
//!                             u32 sum of the block, u32 the sum before that one, little endian
//! 135168                      the chunk's bytes
//! ```
//!
//! A slot never replaces the one that is known to be on disk, so a write that tears leaves that one, and each is a disk sector
//! of its own. The one whose sequence number is higher counts. The first 384 blocks have their sums in the same 4 KiB as the slots: a small
//! file costs one page of header.

use cairn_proto::chunk::{BLOCK_SIZE, BLOCKS_PER_CHUNK, BlockSum, CHUNK_SIZE, ChunkId};
use cairn_proto::chunkserver::{ChunkStat, ChunkState};
use cairn_proto::ids::{ClusterId, DiskNumber};
use serde::{Deserialize, Serialize};

use super::seal::{SealError, seal, unseal};

const MAGIC: [u8; 8] = *b"CAIRNCHK";
/// Format of a slot's body. To change it: raise this, keep reading the old ones, extend the golden bytes below and
/// `docs/formats/chunk-files.md`.
const FORMAT: u16 = 1;

/// Bytes of one slot: what disks write whole.
pub const SLOT_BYTES: usize = 512;
/// Where the table begins in the file.
pub const TABLE_OFFSET: usize = 2 * SLOT_BYTES;
/// Bytes of one block's entry in the table.
pub const ENTRY_BYTES: usize = 8;
/// Bytes read at once when a header is opened; the table of a small chunk is among them.
pub const FIRST_READ_BYTES: usize = 4096;
/// Where the chunk's bytes begin in the file: behind the longest table, at a block.
pub const DATA_OFFSET: u64 = (TABLE_OFFSET + BLOCKS_PER_CHUNK * ENTRY_BYTES).next_multiple_of(BLOCK_SIZE) as u64;

/// What a slot says of its chunk.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Header {
    pub cluster: ClusterId,
    pub id: ChunkId,
    pub state: ChunkState,
    /// Bytes to the end of the last written one. Of a dirty chunk, the file's length says it.
    pub length: u32,
    /// Bytes in blocks whose sum is not a hole's. Of a dirty chunk, the table says it.
    pub allocated: u32,
}

impl Header {
    pub fn stat(&self, disk: DiskNumber) -> ChunkStat {
        ChunkStat { id: self.id, state: self.state, length: self.length, allocated: self.allocated, disk }
    }
}

/// A slot's body.
#[derive(Serialize, Deserialize)]
struct Numbered {
    /// One more with each slot written. The higher one counts.
    sequence: u64,
    header: Header,
}

/// What the two slots say together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slots {
    pub sequence: u64,
    pub header: Header,
}

/// Why a header does not describe a chunk.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderError {
    /// Nothing was ever written durably: what a power cut leaves of a chunk that was being created.
    #[error("the header is empty")]
    Empty,
    #[error("neither slot of the header is readable: {0}")]
    Damaged(SealError),
    /// A readable slot of a release after this one.
    #[error("{0}")]
    Newer(SealError),
    #[error("the header says {length} bytes, more than a chunk has")]
    Length { length: u32 },
}

/// Where the slot numbered `sequence` goes, and its bytes.
pub fn encode_slot(sequence: u64, header: &Header) -> Result<(u64, [u8; SLOT_BYTES]), postcard::Error> {
    let sealed = seal(MAGIC, FORMAT, &Numbered { sequence, header: *header })?;
    let mut slot = [0; SLOT_BYTES];
    let room = slot.get_mut(..sealed.len()).ok_or(postcard::Error::SerializeBufferFull)?;
    room.copy_from_slice(&sealed);
    Ok(((sequence % 2) * SLOT_BYTES as u64, slot))
}

/// What the first bytes of a chunk file say.
///
/// Where only one slot is readable beside a damaged one, its chunk counts as dirty: the damaged slot may have said so.
pub fn decode_slots(file: &[u8]) -> Result<Slots, HeaderError> {
    let slot = |n: usize| {
        let bytes = file.get(n * SLOT_BYTES..).unwrap_or_default();
        let bytes = &bytes[..bytes.len().min(SLOT_BYTES)];
        if bytes.iter().all(|b| *b == 0) { None } else { Some(unseal::<Numbered>(MAGIC, FORMAT, bytes)) }
    };
    let slots = match (slot(0), slot(1)) {
        (None, None) => return Err(HeaderError::Empty),
        (Some(Err(e @ SealError::NewerFormat { .. })), _) | (_, Some(Err(e @ SealError::NewerFormat { .. }))) => {
            return Err(HeaderError::Newer(e));
        }
        (Some(Ok(a)), Some(Ok(b))) => later(a, b),
        (Some(Ok(only)), None) | (None, Some(Ok(only))) => whole(only),
        (Some(Ok(only)), Some(Err(_))) | (Some(Err(_)), Some(Ok(only))) => {
            let mut slots = whole(only);
            slots.header.state = ChunkState::Dirty;
            slots
        }
        (Some(Err(e)), _) | (_, Some(Err(e))) => return Err(HeaderError::Damaged(e)),
    };
    let length = slots.header.length;
    if u64::from(length) > CHUNK_SIZE { Err(HeaderError::Length { length }) } else { Ok(slots) }
}

fn later(a: Numbered, b: Numbered) -> Slots {
    if a.sequence > b.sequence { whole(a) } else { whole(b) }
}

fn whole(slot: Numbered) -> Slots {
    Slots { sequence: slot.sequence, header: slot.header }
}

/// A block's entry in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Entry {
    pub sum: BlockSum,
    /// What `sum` was before: the block still has it where a crash came between the table and the data.
    pub previous: BlockSum,
}

/// Where block `block`'s entry is in the file.
pub fn entry_offset(block: u32) -> u64 {
    TABLE_OFFSET as u64 + u64::from(block) * ENTRY_BYTES as u64
}

pub fn encode_entries(entries: impl Iterator<Item = Entry>) -> Vec<u8> {
    entries
        .flat_map(|entry| {
            let [a, b, c, d] = entry.sum.0.to_le_bytes();
            let [e, f, g, h] = entry.previous.0.to_le_bytes();
            [a, b, c, d, e, f, g, h]
        })
        .collect()
}

/// The entries of a header, `table` being its bytes from [`TABLE_OFFSET`] on. A torn last entry is a hole.
pub fn decode_entries(table: &[u8]) -> impl Iterator<Item = Entry> + '_ {
    let (entries, _torn) = table.as_chunks::<ENTRY_BYTES>();
    entries.iter().take(BLOCKS_PER_CHUNK).map(|&[a, b, c, d, e, f, g, h]| Entry {
        sum: BlockSum(u32::from_le_bytes([a, b, c, d])),
        previous: BlockSum(u32::from_le_bytes([e, f, g, h])),
    })
}

#[cfg(test)]
mod tests;
