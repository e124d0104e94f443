//! The sums of a chunk's blocks, in memory.

use std::ops::Range;

use cairn_proto::chunk::{BLOCK_SIZE, BLOCKS_PER_CHUNK, BlockSum};

/// One sum a block; what is behind the last one is a hole.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SumTable {
    sums: Vec<BlockSum>,
    /// Sums that are not a hole's.
    filled: u32,
}

impl SumTable {
    pub fn get(&self, block: u32) -> BlockSum {
        self.sums.get(block as usize).copied().unwrap_or(BlockSum::HOLE)
    }

    pub fn set(&mut self, block: u32, sum: BlockSum) {
        let at = block as usize;
        debug_assert!(at < BLOCKS_PER_CHUNK);
        if at >= self.sums.len() {
            if sum == BlockSum::HOLE {
                return;
            }
            self.sums.resize(at + 1, BlockSum::HOLE);
        }
        let before = std::mem::replace(&mut self.sums[at], sum);
        self.filled -= u32::from(before != BlockSum::HOLE);
        self.filled += u32::from(sum != BlockSum::HOLE);
    }

    /// The sums of `blocks`, holes included.
    pub fn slice(&self, blocks: Range<u32>) -> Vec<BlockSum> {
        blocks.map(|block| self.get(block)).collect()
    }

    /// Makes everything from `blocks` on a hole.
    pub fn truncate(&mut self, blocks: u32) {
        self.sums.truncate(blocks as usize);
        self.filled = self.sums.iter().filter(|sum| **sum != BlockSum::HOLE).count() as u32;
    }

    /// All sums up to the last one that is not a hole's.
    pub fn trimmed(&self) -> Vec<BlockSum> {
        self.sums[..self.end() as usize].to_vec()
    }

    /// The block after the last one that is not a hole.
    pub fn end(&self) -> u32 {
        self.sums.iter().rposition(|sum| *sum != BlockSum::HOLE).map_or(0, |last| last as u32 + 1)
    }

    /// Holes among `blocks`.
    pub fn holes(&self, blocks: Range<u32>) -> u32 {
        blocks.filter(|block| self.get(*block) == BlockSum::HOLE).count() as u32
    }

    /// Bytes in blocks that are not holes.
    pub fn allocated(&self) -> u32 {
        self.filled * BLOCK_SIZE as u32
    }
}

impl FromIterator<BlockSum> for SumTable {
    fn from_iter<I: IntoIterator<Item = BlockSum>>(sums: I) -> Self {
        let sums: Vec<BlockSum> = sums.into_iter().collect();
        let filled = sums.iter().filter(|sum| **sum != BlockSum::HOLE).count() as u32;
        let mut table = Self { sums, filled };
        // A table that is read whole is mostly holes at its end, which need no memory.
        table.sums.truncate(table.end() as usize);
        table.sums.shrink_to_fit();
        table
    }
}

/// The blocks that `[offset, offset + len)` touches.
pub fn blocks_of(offset: u32, len: usize) -> Range<u32> {
    let block = BLOCK_SIZE as u64;
    let end = (u64::from(offset) + len as u64).div_ceil(block) as u32;
    offset / BLOCK_SIZE as u32..if len == 0 { offset / BLOCK_SIZE as u32 } else { end }
}

/// Blocks that `length` bytes from a chunk's start touch.
pub fn block_count(length: u32) -> u32 {
    length.div_ceil(BLOCK_SIZE as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_filled() {
        let mut table = SumTable::default();
        table.set(5, BlockSum(1));
        table.set(2, BlockSum(2));
        table.set(9, BlockSum::HOLE);
        assert_eq!((table.end(), table.allocated(), table.holes(0..8)), (6, 8192, 6));
        table.set(5, BlockSum::HOLE);
        assert_eq!((table.end(), table.allocated()), (3, 4096));
        assert_eq!(table.trimmed(), [BlockSum(0), BlockSum(0), BlockSum(2)]);
        table.truncate(2);
        assert_eq!((table.end(), table.allocated(), table.get(2)), (0, 0, BlockSum::HOLE));
    }

    #[test]
    fn blocks_of_ranges() {
        assert_eq!(blocks_of(0, 1), 0..1);
        assert_eq!(blocks_of(4095, 2), 0..2);
        assert_eq!(blocks_of(4096, 4096), 1..2);
        assert!(blocks_of(5000, 0).is_empty());
        assert_eq!(blocks_of(0, 64 << 20), 0..16384);
    }
}
