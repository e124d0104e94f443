//! Making holes.

use std::ops::Range;

use cairn_proto::chunk::{BLOCK_SIZE, BlockSum};
use cairn_proto::error::ChunkError;

use super::ChunkFiles;
use crate::store::disk::{DiskFile, PartialWrite};
use crate::store::table::block_count;

impl ChunkFiles {
    /// Zeroes `[offset, offset + len)`, whose blocks the caller has locked, in a chunk that is dirty. Whole blocks become
    /// holes. The chunk's length stays: a hole is nothing written.
    pub fn zero(&self, offset: u32, len: u32) -> Result<(), ChunkError> {
        self.check_usable()?;
        let length = self.known.lock().header.length;
        let end = (offset + len).min(length);
        if offset >= end {
            return Ok(());
        }
        let block = BLOCK_SIZE as u32;
        // The last block is whole also where the chunk ends in it.
        let whole = offset.div_ceil(block)..if end == length { block_count(end) } else { end / block };
        if whole.start > whole.end {
            return self.zero_part(offset, end);
        }
        if offset < whole.start * block {
            self.zero_part(offset, (whole.start * block).min(end))?;
        }
        if whole.end * block < end {
            self.zero_part(whole.end * block, end)?;
        }
        self.punch(whole)
    }

    /// Zeroes bytes within one block.
    fn zero_part(&self, from: u32, to: u32) -> Result<(), ChunkError> {
        let zeros = &[0; BLOCK_SIZE][..(to - from) as usize];
        let block = from / BLOCK_SIZE as u32;
        if self.is_hole(block)? {
            return Ok(());
        }
        let sum = self.merged_sum(block, from as usize % BLOCK_SIZE, zeros)?;
        self.put(from, zeros, &[sum])
    }

    /// Whether a block holds only zeros already.
    fn is_hole(&self, block: u32) -> Result<bool, ChunkError> {
        let (bytes, matches) = self.examine(block)?;
        Ok(matches && bytes.iter().all(|b| *b == 0))
    }

    /// Makes whole blocks holes, sums first, as in a write.
    fn punch(&self, blocks: Range<u32>) -> Result<(), ChunkError> {
        if blocks.is_empty() {
            return Ok(());
        }
        let sums = vec![BlockSum::HOLE; blocks.len()];
        let (entries, _) = self.announce(&blocks, &sums);
        if let Err(PartialWrite { error, .. }) = self.write_entries(&blocks, &entries) {
            self.known.lock().mark_stale(blocks);
            return Err(self.disk_error("write sums", &error));
        }
        let from = u64::from(blocks.start) * BLOCK_SIZE as u64;
        // To the end of the last block, also where the file ends before it: else its page would stay.
        if let Err(error) = self.data.punch(from, blocks.len() as u64 * BLOCK_SIZE as u64) {
            self.known.lock().mark_stale(blocks.clone());
            self.rescan(blocks);
            return Err(self.disk_error("make a hole", &error));
        }
        let mut known = self.known.lock();
        for block in blocks.clone() {
            known.table.set(block, BlockSum::HOLE);
            known.doubts.remove(&block);
        }
        drop(known);
        self.finish_write(blocks);
        Ok(())
    }

    /// After a hole that was made in part: each block is what it was or a hole.
    fn rescan(&self, blocks: Range<u32>) {
        for block in blocks.clone() {
            let actual = self.read_block(block).map_or(BlockSum::HOLE, |bytes| BlockSum::of(&bytes));
            let mut known = self.known.lock();
            if actual == BlockSum::HOLE {
                known.table.set(block, actual);
            } else if actual != known.table.get(block) {
                known.doubts.insert(block, actual);
            }
        }
        self.finish_write(blocks);
    }
}
