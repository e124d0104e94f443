//! Chunks: sizes, block checksums, and where copies are.

use serde::{Deserialize, Serialize};

use crate::ids::{ChunkHandle, ChunkIndex, ChunkVersion, InodeId, ServerId};
use crate::transport::Endpoint;

/// Bytes in a chunk (logical: chunks are sparse).
pub const CHUNK_SIZE: u64 = 64 << 20;
/// Bytes under one checksum.
pub const BLOCK_SIZE: usize = 4096;
/// Blocks in a chunk.
pub const BLOCKS_PER_CHUNK: usize = (CHUNK_SIZE as usize) / BLOCK_SIZE;
/// Bytes in the largest piece of one write or read call.
pub const MAX_PIECE_BYTES: usize = 1 << 20;
/// Copies of a chunk at most.
pub const MAX_COPIES: u8 = 9;

/// CRC-32 (IEEE 802.3, as `crc32fast`) of a block of zeros.
pub const ZERO_BLOCK_CRC: u32 = 0xc71c_0011;

/// Checksum of a whole block as it is stored: its CRC-32 xor [`ZERO_BLOCK_CRC`].
///
/// So the sum of a block of zeros is zero, and the sparse, zero-filled table of a new chunk describes its holes correctly.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug, Default)]
pub struct BlockSum(pub u32);

impl BlockSum {
    /// A block of zeros, or one never written.
    pub const HOLE: Self = Self(0);

    /// The sum of one whole block (shorter input counts as filled up with zeros).
    pub fn of(block: &[u8]) -> Self {
        debug_assert!(block.len() <= BLOCK_SIZE);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(block);
        if block.len() < BLOCK_SIZE {
            hasher.update(&[0; BLOCK_SIZE][block.len()..]);
        }
        Self::from_crc(hasher.finalize())
    }

    /// From the plain CRC-32 of a whole block.
    pub fn from_crc(crc: u32) -> Self {
        Self(crc ^ ZERO_BLOCK_CRC)
    }
}

/// The fragments into which `[offset, offset + len)` falls by block, as `(block number, start in block, length)`.
pub fn fragments(offset: u64, len: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let end = offset + len as u64;
    let mut at = offset;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let block = (at / BLOCK_SIZE as u64) as usize;
        let start = (at % BLOCK_SIZE as u64) as usize;
        let n = (BLOCK_SIZE - start).min((end - at) as usize);
        at += n as u64;
        Some((block, start, n))
    })
}

/// Plain CRC-32 of each fragment (see [`fragments`]) of `data` at `offset` in a chunk: what a writer sends with a piece.
pub fn fragment_crcs(offset: u64, data: &[u8]) -> Vec<u32> {
    let mut rest = data;
    fragments(offset, data.len())
        .map(|(_, _, n)| {
            let (head, tail) = rest.split_at(n);
            rest = tail;
            crc32fast::hash(head)
        })
        .collect()
}

/// A chunk as a writer or a reader names it to a chunkserver. Whoever creates the chunk file writes all of it into the header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ChunkId {
    pub handle: ChunkHandle,
    pub version: ChunkVersion,
    pub inode: InodeId,
    pub index: ChunkIndex,
}

/// One holder of a chunk.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Replica {
    pub server: ServerId,
    pub endpoint: Endpoint,
    /// The metaserver hears from it. A writer needs all of the chain up; a reader prefers one that is.
    pub up: bool,
}

/// A chunk of a file and who holds it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ChunkLocation {
    pub id: ChunkId,
    /// Bytes of the chunk known to be written, from its start to the last one, as of the last commit. 0: nothing committed yet,
    /// so a server that does not have the chunk holds a hole and has lost nothing.
    pub length: u32,
    /// Where a truncate cut the chunk: the bytes from here on are to be read as zeros, and a writer zeroes them
    /// ([`crate::chunkserver::ZeroRequest`]) and reports it ([`crate::meta::Mutation::ClearTrim`]) before it writes.
    pub trimmed_at: Option<u32>,
    /// Members of the chunk in chain order, head first. Never empty.
    pub replicas: Vec<Replica>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_a_hole() {
        assert_eq!(crc32fast::hash(&[0; BLOCK_SIZE]), ZERO_BLOCK_CRC);
        assert_eq!(BlockSum::of(&[0; BLOCK_SIZE]), BlockSum::HOLE);
        assert_eq!(BlockSum::of(&[0; 10]), BlockSum::HOLE);
        assert_ne!(BlockSum::of(&[1; BLOCK_SIZE]), BlockSum::HOLE);
    }

    #[test]
    fn fragments_cut_at_blocks() {
        let all: Vec<_> = fragments(4090, 4200).collect();
        assert_eq!(all, [(0, 4090, 6), (1, 0, 4096), (2, 0, 98)]);
        assert_eq!(fragments(4096, 0).count(), 0);
        let data = vec![7; 4200];
        let crcs = fragment_crcs(4090, &data);
        assert_eq!(crcs, [crc32fast::hash(&[7; 6]), crc32fast::hash(&[7; 4096]), crc32fast::hash(&[7; 98])]);
    }
}
