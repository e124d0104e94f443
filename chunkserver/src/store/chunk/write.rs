//! Writing a piece: verify, merge at the edges, sums first, then data.

use std::ops::Range;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use cairn_proto::chunk::{BLOCK_SIZE, BlockSum, fragments};
use cairn_proto::error::ChunkError;

use super::{ChunkFiles, Known};
use crate::failpoint::{AFTER_DATA, AFTER_TABLE, crash_point};
use crate::store::disk::{DiskFile, PartialWrite, write_all_at};
use crate::store::header::Entry;
use crate::store::table::blocks_of;

/// Bytes for a place in a chunk, with the CRC of each fragment by block as their sender computed it.
#[derive(Clone, Debug)]
pub struct Piece {
    pub offset: u32,
    pub crcs: Vec<u32>,
    pub data: Bytes,
}

impl Piece {
    pub fn blocks(&self) -> Range<u32> {
        blocks_of(self.offset, self.data.len())
    }
}

impl ChunkFiles {
    /// Writes a piece whose blocks the caller has locked, to a chunk that is dirty.
    ///
    /// On an error each block holds what it held before or what it was to hold, and its sum is right: writing again is
    /// always safe.
    pub fn write(&self, piece: &Piece) -> Result<(), ChunkError> {
        self.check_usable()?;
        let sums = self.sums_after(piece)?;
        self.put(piece.offset, &piece.data, &sums)?;
        crash_point(AFTER_DATA);
        Ok(())
    }

    /// Writes `data` and `sums`, those of the blocks that it touches, in the order that the module's text lays down.
    pub(super) fn put(&self, offset: u32, data: &[u8], sums: &[BlockSum]) -> Result<(), ChunkError> {
        let blocks = blocks_of(offset, data.len());
        let (entries, new_blocks) = self.announce(&blocks, sums);
        self.volume.admit(u64::from(new_blocks) * BLOCK_SIZE as u64)?;
        if let Err(PartialWrite { error, .. }) = self.write_entries(&blocks, &entries) {
            self.known.lock().mark_stale(blocks);
            return Err(self.disk_error("write sums", &error));
        }
        crash_point(AFTER_TABLE);
        let written = write_all_at(&self.data, data, u64::from(offset));
        let done = written.as_ref().map_or_else(|stopped| stopped.written, |()| data.len());
        let whole = if written.is_ok() { blocks.clone() } else { whole_blocks(offset, done) };
        let mut known = self.known.lock();
        for block in whole.clone() {
            known.table.set(block, sums[(block - blocks.start) as usize]);
            known.doubts.remove(&block);
        }
        known.grow(offset, done);
        if written.is_err() {
            known.mark_stale(blocks.clone());
        }
        drop(known);
        if let Err(PartialWrite { error, .. }) = written {
            self.look_again(blocks_of(offset, done), &whole);
            self.finish_write(whole);
            return Err(self.disk_error("write data", &error));
        }
        self.finish_write(whole);
        Ok(())
    }

    /// The entries to write ahead of the data, and how many of the blocks are holes now.
    pub(super) fn announce(&self, blocks: &Range<u32>, sums: &[BlockSum]) -> (Vec<Entry>, u32) {
        let known = self.known.lock();
        let entry = |(block, sum): (u32, &BlockSum)| Entry { sum: *sum, previous: known.table.get(block) };
        (blocks.clone().zip(sums).map(entry).collect(), known.table.holes(blocks.clone()))
    }

    pub(super) fn finish_write(&self, blocks: Range<u32>) {
        self.written.fetch_add(1, Ordering::AcqRel);
        self.shared.damage.overwritten(self.handle(), blocks);
        self.publish();
    }

    /// After a write that stopped in the middle of a block: what that block holds is in doubt, unless it can be told.
    fn look_again(&self, touched: Range<u32>, whole: &Range<u32>) {
        for block in touched.filter(|block| !whole.contains(block)) {
            let actual = match self.read_block(block) {
                Ok(bytes) => BlockSum::of(&bytes),
                Err(_) => BlockSum::HOLE,
            };
            let mut known = self.known.lock();
            if known.table.get(block) != actual {
                known.doubts.insert(block, actual);
            }
        }
    }

    /// Verifies a piece, and returns the sums of its blocks once it is written.
    ///
    /// What the sender computed for a whole block is stored as it came. A block that is written in part is read, verified and
    /// merged, so that its new sum never covers up old damage.
    fn sums_after(&self, piece: &Piece) -> Result<Vec<BlockSum>, ChunkError> {
        let mut rest = &piece.data[..];
        let mut crcs = piece.crcs.iter();
        let mut sums = Vec::with_capacity(piece.crcs.len());
        for (block, start, len) in fragments(u64::from(piece.offset), piece.data.len()) {
            let (fragment, tail) = rest.split_at(len);
            rest = tail;
            let crc = crcs.next().copied().ok_or_else(|| ChunkError::Malformed("fewer sums than blocks".into()))?;
            if crc32fast::hash(fragment) != crc {
                return Err(ChunkError::DamagedInTransit { handle: self.handle(), block: block as u32 });
            }
            sums.push(match len {
                BLOCK_SIZE => BlockSum::from_crc(crc),
                _ => self.merged_sum(block as u32, start, fragment)?,
            });
        }
        Ok(sums)
    }

    /// The sum of a block once `fragment` is written into it at `start`.
    pub(super) fn merged_sum(&self, block: u32, start: usize, fragment: &[u8]) -> Result<BlockSum, ChunkError> {
        let (stored, in_doubt, length) = {
            let known = self.known.lock();
            (known.table.get(block), known.doubts.contains_key(&block), known.header.length)
        };
        let used = (length as usize).saturating_sub(block as usize * BLOCK_SIZE).min(BLOCK_SIZE);
        if start == 0 && fragment.len() >= used {
            return Ok(BlockSum::of(fragment));
        }
        let handle = self.handle();
        if in_doubt {
            return Err(ChunkError::DamagedOnDisk { handle, block });
        }
        let mut bytes = self.read_block(block)?;
        if BlockSum::of(&bytes) != stored {
            return Err(self.shared.damage.note(handle, block, &self.shared.changes));
        }
        bytes[start..start + fragment.len()].copy_from_slice(fragment);
        Ok(BlockSum::of(&bytes))
    }

    /// A block's bytes as they are, what is behind the file's end as zeros.
    pub(super) fn read_block(&self, block: u32) -> Result<[u8; BLOCK_SIZE], ChunkError> {
        let mut bytes = [0; BLOCK_SIZE];
        self.data
            .read_at(&mut bytes, u64::from(block) * BLOCK_SIZE as u64)
            .map_err(|e| self.disk_error("read a block", &e))?;
        Ok(bytes)
    }
}

impl Known {
    /// `len` bytes at `offset` have been written.
    fn grow(&mut self, offset: u32, len: usize) {
        if len > 0 {
            self.header.length = self.header.length.max(offset + len as u32);
        }
    }
}

/// The blocks that `done` bytes from `offset` on cover from the first byte that was to be written into them. The last one is
/// left out unless it is covered to its end.
fn whole_blocks(offset: u32, done: usize) -> Range<u32> {
    let start = offset / BLOCK_SIZE as u32;
    start..((offset + done as u32) / BLOCK_SIZE as u32).max(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_counts_as_written_when_its_end_is() {
        assert_eq!(whole_blocks(100, 3996), 0..1);
        assert_eq!(whole_blocks(100, 3995), 0..0);
        assert_eq!(whole_blocks(4096, 10_000), 1..3);
        assert_eq!(whole_blocks(8192, 0), 2..2);
    }
}
