//! Reading, always with the sums, always verified.

use std::ops::Range;

use bytes::Bytes;
use cairn_proto::chunk::{BLOCK_SIZE, BlockSum};
use cairn_proto::chunkserver::{ReadReply, ReadRequest};
use cairn_proto::error::ChunkError;
use cairn_proto::transport::Payload;

use super::ChunkFiles;
use crate::store::disk::DiskFile;
use crate::store::table::{block_count, blocks_of};

/// What came of reading.
#[derive(Debug)]
pub enum ReadAttempt {
    Done(ReadReply),
    /// The kernel has not got all of it in memory, and the caller did not want to wait.
    NotCached,
    /// A block does not match its sum: somebody is writing it just now, or it is damaged.
    Mismatch {
        block: u32,
    },
}

/// Where the bytes of a read are, at the moment when it began.
struct Wanted {
    offset: u32,
    /// Bytes, to the end of a block or of the chunk.
    len: usize,
    sums: Vec<BlockSum>,
}

impl ChunkFiles {
    /// Reads without locks: sums first, then the bytes. A write in between shows as a mismatch.
    pub fn read(&self, request: &ReadRequest, only_cached: bool) -> Result<ReadAttempt, ChunkError> {
        let Wanted { offset, len, sums } = self.wanted(request)?;
        let mut bytes = vec![0; len];
        let got = if only_cached {
            match self.data.read_cached_at(&mut bytes, u64::from(offset)) {
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(ReadAttempt::NotCached),
                Ok(got) if got < len => return Ok(ReadAttempt::NotCached),
                got => got,
            }
        } else {
            self.data.read_at(&mut bytes, u64::from(offset))
        };
        // Where the file is shorter than the chunk, the zeros that stand in for it must answer to the sums like any bytes.
        got.map_err(|e| self.disk_error("read", &e))?;
        let wrong = bytes.chunks(BLOCK_SIZE).zip(&sums).position(|(block, sum)| BlockSum::of(block) != *sum);
        Ok(match wrong {
            Some(n) => ReadAttempt::Mismatch { block: offset / BLOCK_SIZE as u32 + n as u32 },
            None => ReadAttempt::Done(ReadReply { offset, sums, data: Payload(Bytes::from(bytes)) }),
        })
    }

    fn wanted(&self, request: &ReadRequest) -> Result<Wanted, ChunkError> {
        let known = self.known.lock();
        let have = known.header.id.version;
        if have < request.at_least {
            return Err(ChunkError::VersionStale { handle: request.handle, asked: request.at_least, have });
        }
        let asked = blocks_of(request.offset, request.len as usize);
        let blocks = asked.start..asked.end.min(block_count(known.header.length));
        let offset = asked.start * BLOCK_SIZE as u32;
        if blocks.is_empty() {
            return Ok(Wanted { offset, len: 0, sums: Vec::new() });
        }
        if let Some((block, _)) = known.doubts.range(blocks.clone()).next() {
            return Err(ChunkError::DamagedOnDisk { handle: request.handle, block: *block });
        }
        let end = (blocks.end * BLOCK_SIZE as u32).min(known.header.length);
        Ok(Wanted { offset, len: (end - offset) as usize, sums: known.table.slice(blocks) })
    }

    /// Notes that a block is damaged, and returns the error.
    pub fn note_damage(&self, block: u32) -> ChunkError {
        self.shared.damage.note(self.handle(), block, &self.shared.changes)
    }

    /// Block-aligned `(offset, length)` ranges that may hold data, ascending, merged.
    ///
    /// As the file system knows them, not by sums: data whose sum happens to be a hole's is not lost.
    pub fn extents(&self) -> Result<Vec<(u32, u32)>, ChunkError> {
        let length = self.known.lock().header.length;
        let ranges = self.data.data_ranges().map_err(|e| self.disk_error("look for holes", &e))?;
        let mut extents: Vec<Range<u32>> = Vec::new();
        for (offset, len) in ranges {
            let blocks = blocks_of(offset.min(u64::from(length)) as u32, len as usize);
            let blocks = blocks.start..blocks.end.min(block_count(length));
            match extents.last_mut() {
                _ if blocks.is_empty() => {}
                Some(last) if last.end >= blocks.start => last.end = last.end.max(blocks.end),
                Some(_) | None => extents.push(blocks),
            }
        }
        let block = BLOCK_SIZE as u32;
        Ok(extents.into_iter().map(|blocks| (blocks.start * block, (blocks.end - blocks.start) * block)).collect())
    }
}
