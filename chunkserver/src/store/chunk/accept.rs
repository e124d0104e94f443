//! What a reconciliation does to a copy: blocks replaced whole, what is left in doubt accepted, the length set.
//!
//! Nobody may write to the chunk meanwhile, and it is dirty.

use std::sync::atomic::Ordering;

use cairn_proto::chunk::{BLOCK_SIZE, BlockSum};
use cairn_proto::error::ChunkError;

use super::{ChunkFiles, Piece};
use crate::store::disk::DiskFile;
use crate::store::table::{block_count, blocks_of};

impl ChunkFiles {
    /// Replaces whole blocks, whatever they held. `piece` begins and ends at blocks; the chunk is to have `length` bytes.
    pub fn replace(&self, piece: &Piece, length: u32) -> Result<(), ChunkError> {
        self.check_usable()?;
        let sums: Vec<BlockSum> = piece.crcs.iter().map(|crc| BlockSum::from_crc(*crc)).collect();
        let blocks = blocks_of(piece.offset, piece.data.len());
        for ((block, bytes), sum) in blocks.zip(piece.data.chunks(BLOCK_SIZE)).zip(&sums) {
            if BlockSum::of(bytes) != *sum {
                return Err(ChunkError::DamagedInTransit { handle: self.handle(), block });
            }
        }
        // The zeros that fill the last block up need not be in the file, and would make the chunk longer.
        let end = length.max(self.known.lock().header.length).saturating_sub(piece.offset) as usize;
        let data = &piece.data[..piece.data.len().min(end)];
        let kept = blocks_of(piece.offset, data.len()).len();
        self.put(piece.offset, data, &sums[..kept])
    }

    /// A block's bytes and whether they match its sum.
    pub fn examine(&self, block: u32) -> Result<([u8; BLOCK_SIZE], bool), ChunkError> {
        let bytes = self.read_block(block)?;
        let known = self.known.lock();
        let matches = !known.doubts.contains_key(&block) && BlockSum::of(&bytes) == known.table.get(block);
        Ok((bytes, matches))
    }

    /// Sets the length, takes what is in doubt as it is, syncs, and makes the chunk clean.
    pub fn settle(&self, length: u32) -> Result<(), ChunkError> {
        self.check_usable()?;
        self.set_length(length)?;
        self.accept_doubts();
        self.hand_back()
    }

    fn accept_doubts(&self) {
        let mut known = self.known.lock();
        let doubts = std::mem::take(&mut known.doubts);
        if let (Some((first, _)), Some((last, _))) = (doubts.first_key_value(), doubts.last_key_value()) {
            tracing::warn!(
                chunk = known.header.id.handle.0,
                blocks = doubts.len(),
                "blocks in doubt are taken as they are"
            );
            known.mark_stale(*first..*last + 1);
        }
        doubts.into_iter().for_each(|(block, sum)| known.table.set(block, sum));
    }

    fn set_length(&self, length: u32) -> Result<(), ChunkError> {
        let have = self.known.lock().header.length;
        if length < have {
            self.shorten(length, have)?;
        } else if length > have {
            self.data.set_len(u64::from(length)).map_err(|e| self.disk_error("set the length", &e))?;
            self.known.lock().header.length = length;
        } else {
            return Ok(());
        }
        self.written.fetch_add(1, Ordering::AcqRel);
        self.publish();
        Ok(())
    }

    fn shorten(&self, length: u32, have: u32) -> Result<(), ChunkError> {
        let (last, inside) = (length / BLOCK_SIZE as u32, length as usize % BLOCK_SIZE);
        // The sum of what stays of the block that is cut, once it is known that the block was right.
        let cut = match inside {
            0 => None,
            _ => {
                let (bytes, matches) = self.examine(last)?;
                Some((BlockSum::of(&bytes[..inside]), matches))
            }
        };
        let mut known = self.known.lock();
        let in_doubt = known.doubts.contains_key(&last);
        if let Some((_, false)) = cut
            && !in_doubt
        {
            drop(known);
            return Err(self.note_damage(last));
        }
        self.data.set_len(u64::from(length)).map_err(|e| self.disk_error("set the length", &e))?;
        let end = known.table.end().max(block_count(have));
        known.mark_stale(last..end.max(last + 1));
        known.table.truncate(block_count(length));
        known.doubts.split_off(&block_count(length));
        match cut {
            Some((sum, true)) => known.table.set(last, sum),
            Some((sum, false)) => drop(known.doubts.insert(last, sum)),
            None => {}
        }
        known.header.length = length;
        Ok(())
    }
}
