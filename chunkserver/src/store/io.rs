//! Operations on the bytes of chunks.

use std::ops::Range;

use cairn_proto::chunk::{BLOCK_SIZE, ChunkId};
use cairn_proto::chunkserver::{BlockTable, ReadReply, ReadRequest, VerifyReport};
use cairn_proto::error::ChunkError;
use cairn_proto::ids::ChunkHandle;

use super::Store;
use super::access::{LockedRange, blocking};
use super::chunk::{ChunkFiles, Piece, ReadAttempt};
use super::table::blocks_of;

/// Reads of up to this many bytes are first tried from the page cache, on the thread that serves the network: less than the
/// time that a hop to another thread takes.
const INLINE_READ_BYTES: u32 = 64 << 10;

impl Store {
    /// Writes a piece into blocks that `range` holds, creating the chunk where there never was one.
    pub async fn write(&self, range: &LockedRange, id: ChunkId, piece: Piece) -> Result<(), ChunkError> {
        self.writing(&range.live, id, move |files| files.write(&piece)).await
    }

    /// [`Self::write`] and [`Self::sync`] with one trip to a blocking thread.
    pub async fn write_and_sync(&self, range: &LockedRange, id: ChunkId, piece: Piece) -> Result<(), ChunkError> {
        let work = move |files: &ChunkFiles| {
            files.write(&piece)?;
            if files.has_stale_entries() {
                return Ok(false);
            }
            files.sync()?;
            Ok(true)
        };
        if !self.writing(&range.live, id, work).await? {
            // Entries are brought up to date while nobody writes.
            self.sync(id).await?;
        }
        Ok(())
    }

    /// Makes a hole in blocks that `range` holds, creating the chunk where there never was one.
    pub async fn zero(&self, range: &LockedRange, id: ChunkId, offset: u32, len: u32) -> Result<(), ChunkError> {
        self.writing(&range.live, id, move |files| files.zero(offset, len)).await
    }

    /// Whole blocks that cover what is asked for, verified.
    pub async fn read(&self, request: ReadRequest) -> Result<ReadReply, ChunkError> {
        let (live, files) = self.for_reading(request.handle).await?;
        if request.len <= INLINE_READ_BYTES
            && let ReadAttempt::Done(reply) = files.read(&request, true)?
        {
            return Ok(reply);
        }
        let attempt = blocking(move || files.read(&request, false)).await?;
        if let ReadAttempt::Done(reply) = attempt {
            return Ok(reply);
        }
        // Either somebody is writing there just now, or the bytes are damaged: once the blocks are ours, we know.
        let blocks = blocks_of(request.offset, request.len as usize);
        let _range = self.lock(request.handle, blocks).await;
        let files = live.files().ok_or(ChunkError::NotFound(request.handle))?;
        blocking(move || match files.read(&request, false)? {
            ReadAttempt::Done(reply) => Ok(reply),
            ReadAttempt::Mismatch { block } => Err(files.note_damage(block)),
            ReadAttempt::NotCached => Err(ChunkError::Disk("a read that may wait did not".into())),
        })
        .await
    }

    pub async fn extents(&self, handle: ChunkHandle) -> Result<Vec<(u32, u32)>, ChunkError> {
        let (_live, files) = self.for_reading(handle).await?;
        blocking(move || files.extents()).await
    }

    /// The sums of all blocks as they are.
    pub async fn block_table(&self, handle: ChunkHandle) -> Result<BlockTable, ChunkError> {
        let (_live, files) = self.for_reading(handle).await?;
        let damaged = self.shared.damage.of(handle);
        Ok(BlockTable { stat: files.stat(), sums: files.sums(), damaged })
    }

    /// Reads and checks every block.
    pub async fn verify(&self, handle: ChunkHandle) -> Result<VerifyReport, ChunkError> {
        let (_live, files) = self.for_reading(handle).await?;
        let mut damaged = Vec::new();
        for piece in self.pieces(handle).await? {
            damaged.extend(self.verify_blocks(handle, piece).await?);
        }
        Ok(files.report(damaged))
    }

    /// What [`Store::verify_blocks`] is to be asked about for a whole chunk.
    pub async fn pieces(&self, handle: ChunkHandle) -> Result<Vec<Range<u32>>, ChunkError> {
        let (_live, files) = self.for_reading(handle).await?;
        blocking(move || files.pieces()).await
    }

    /// Reads and checks some blocks. Answers those that do not match their sums; damage is noted.
    pub async fn verify_blocks(&self, handle: ChunkHandle, blocks: Range<u32>) -> Result<Vec<u32>, ChunkError> {
        let (_live, files) = self.for_reading(handle).await?;
        let reader = files.clone();
        let suspects = blocking(move || reader.mismatches(blocks)).await?;
        let mut wrong = Vec::new();
        for block in suspects {
            let _range = self.lock(handle, block..block + 1).await;
            let reader = files.clone();
            wrong.extend(blocking(move || reader.mismatches(block..block + 1)).await?);
        }
        let damaged: Vec<u32> = wrong.iter().copied().filter(|block| !files.is_in_doubt(*block)).collect();
        self.shared.damage.note_all(handle, &damaged, &self.shared.changes);
        Ok(wrong)
    }

    /// Blocks in doubt after a crash, ascending.
    pub async fn doubts(&self, handle: ChunkHandle) -> Result<Vec<u32>, ChunkError> {
        let (_live, files) = self.for_reading(handle).await?;
        Ok(files.doubts())
    }

    /// A block's bytes as they are, and whether they match their sum.
    pub async fn examine(&self, handle: ChunkHandle, block: u32) -> Result<([u8; BLOCK_SIZE], bool), ChunkError> {
        let (_live, files) = self.for_reading(handle).await?;
        blocking(move || files.examine(block)).await
    }
}
