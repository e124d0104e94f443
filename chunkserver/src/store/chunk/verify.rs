//! Comparing a copy with its table, as it is on the disk and not only in the kernel's memory.

use std::ops::Range;

use cairn_proto::chunk::{BLOCK_SIZE, BlockSum};
use cairn_proto::chunkserver::VerifyReport;
use cairn_proto::error::ChunkError;

use super::ChunkFiles;
use crate::store::disk::{DiskFile, is_rot};
use crate::store::header::DATA_OFFSET;
use crate::store::table::block_count;

/// Damaged blocks that a report names at most.
const MAX_NAMED: usize = 1024;
/// Blocks read at once.
const PIECE_BLOCKS: u32 = 256;

impl ChunkFiles {
    /// What there is to verify, in pieces that are read at once, ascending: the blocks that hold data, and those that should by
    /// their sums.
    pub fn pieces(&self) -> Result<Vec<Range<u32>>, ChunkError> {
        let table = self.known.lock().table.clone();
        let mut blocks: Vec<bool> = (0..self.blocks()).map(|block| table.get(block) != BlockSum::HOLE).collect();
        for (offset, len) in self.data.data_ranges().map_err(|e| self.disk_error("look for holes", &e))? {
            let first = offset / BLOCK_SIZE as u64;
            let held = blocks.iter_mut().skip(first as usize);
            let end = (offset + len).div_ceil(BLOCK_SIZE as u64);
            held.take((end - first) as usize).for_each(|block| *block = true);
        }
        Ok(runs(&blocks))
    }

    /// Blocks that the chunk has, holes among them.
    pub fn blocks(&self) -> u32 {
        let known = self.known.lock();
        block_count(known.header.length).max(known.table.end())
    }

    /// Those of `blocks` that do not match their sums. Some may only be in the middle of being written. What the disk cannot read
    /// does not match.
    pub fn mismatches(&self, blocks: Range<u32>) -> Result<Vec<u32>, ChunkError> {
        let sums = self.known.lock().table.slice(blocks.clone());
        let path = self.volume.layout.chunk(self.handle());
        let (offset, len) = (DATA_OFFSET + u64::from(blocks.start) * BLOCK_SIZE as u64, blocks.len() * BLOCK_SIZE);
        match self.volume.disk.read_from_disk(&path, offset, len) {
            Ok(mut bytes) => {
                // Where the file is shorter than the chunk, the zeros that stand in for it must answer to the sums like any bytes.
                bytes.resize(len, 0);
                let all = blocks.zip(bytes.chunks(BLOCK_SIZE)).zip(sums);
                Ok(all.filter(|((_, bytes), sum)| BlockSum::of(bytes) != *sum).map(|((block, _), _)| block).collect())
            }
            // Somebody removed the file: whoever has it open will be the last.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(blocks.collect()),
            Err(error) if !is_rot(&error) => Err(self.disk_error("read", &error)),
            Err(error) if blocks.len() == 1 => {
                tracing::debug!(chunk = self.handle().0, block = blocks.start, %error, "the disk cannot read a block");
                Ok(vec![blocks.start])
            }
            Err(_) => {
                let each = blocks.map(|block| self.mismatches(block..block + 1));
                Ok(each.collect::<Result<Vec<_>, _>>()?.concat())
            }
        }
    }

    pub fn report(&self, mut damaged: Vec<u32>) -> VerifyReport {
        damaged.truncate(MAX_NAMED);
        VerifyReport { stat: self.stat(), blocks: self.blocks(), damaged }
    }
}

/// Where there are `true`s, cut into pieces.
fn runs(blocks: &[bool]) -> Vec<Range<u32>> {
    let mut runs = Vec::new();
    let mut at = 0;
    for run in blocks.chunk_by(|a, b| a == b) {
        let (start, end) = (at, at + run.len() as u32);
        at = end;
        if run[0] {
            runs.extend((start..end).step_by(PIECE_BLOCKS as usize).map(|from| from..end.min(from + PIECE_BLOCKS)));
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_short_and_leave_holes_out() {
        assert_eq!(runs(&[]), []);
        let mut blocks = vec![false; 1000];
        blocks[3] = true;
        blocks[10..600].fill(true);
        assert_eq!(runs(&blocks), [3..4, 10..266, 266..522, 522..600]);
    }
}
