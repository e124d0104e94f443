//! Finding out what a crash left of a dirty chunk: which of its two sums each block matches, and which blocks match neither.

use std::io;

use cairn_proto::chunk::{BLOCK_SIZE, BLOCKS_PER_CHUNK, BlockSum};

use super::ChunkFiles;
use crate::store::disk::DiskFile;
use crate::store::header::Entry;
use crate::store::table::block_count;

/// Blocks read at once.
const STEP_BLOCKS: u32 = 256;

impl ChunkFiles {
    /// Compares all data with `entries`, the table as it was read. Nobody else has the chunk yet.
    pub(super) fn scan(&self, entries: &[Entry]) -> io::Result<()> {
        let mut known = self.known.lock();
        let end = block_count(known.header.length).max(entries.len() as u32).min(BLOCKS_PER_CHUNK as u32);
        let (mut stepped_back, mut in_doubt) = (0u32, 0u32);
        for_each_block(&self.data, end, |block, actual| {
            let entry = entries.get(block as usize).copied().unwrap_or_default();
            if actual == entry.sum {
                return;
            }
            if actual == entry.previous {
                known.table.set(block, actual);
                known.mark_stale(block..block + 1);
                stepped_back += 1;
            } else {
                known.doubts.insert(block, actual);
                in_doubt += 1;
            }
        })?;
        let handle = known.header.id.handle;
        drop(known);
        if in_doubt > 0 {
            tracing::warn!(chunk = handle.0, in_doubt, stepped_back, "blocks are in doubt after a crash");
        } else {
            tracing::debug!(chunk = handle.0, stepped_back, "scanned after a crash");
        }
        // Best effort: what could not be written stays marked as stale, and syncs try again.
        let _ = self.flush_stale();
        Ok(())
    }
}

/// Calls `visit` with each of the first `end` blocks and the sum of what it holds. Holes of the file are not read.
fn for_each_block(data: &dyn DiskFile, end: u32, mut visit: impl FnMut(u32, BlockSum)) -> io::Result<()> {
    let block = BLOCK_SIZE as u64;
    let mut buf = vec![0; STEP_BLOCKS as usize * BLOCK_SIZE];
    let mut at = 0;
    for (offset, len) in data.data_ranges()? {
        let start = ((offset / block) as u32).clamp(at, end);
        let stop = ((offset + len).div_ceil(block).min(u64::from(end)) as u32).max(start);
        (at..start).for_each(|hole| visit(hole, BlockSum::HOLE));
        at = start;
        while at < stop {
            let n = STEP_BLOCKS.min(stop - at) as usize;
            let got = data.read_at(&mut buf[..n * BLOCK_SIZE], u64::from(at) * block)?;
            buf[got..n * BLOCK_SIZE].fill(0);
            for (i, bytes) in buf[..n * BLOCK_SIZE].chunks(BLOCK_SIZE).enumerate() {
                visit(at + i as u32, BlockSum::of(bytes));
            }
            at += n as u32;
        }
    }
    (at..end).for_each(|hole| visit(hole, BlockSum::HOLE));
    Ok(())
}
