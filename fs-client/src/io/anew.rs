//! Chunks of which no copy is left: all their members lost power before they were ever synced.
//!
//! A mount that still has every byte that was written to such a chunk writes them again. The calls that found it lost are repeated on empty copies;
//! what was acknowledged by the lost ones is noticed to be missing by the next sync, as after any restart (see [`super::acks`]).

use cairn_proto::chunk::CHUNK_SIZE;
use cairn_proto::ids::ChunkIndex;

use super::error::IoError;
use super::file::FileIo;
use super::runs::Parts;
use super::view::gaps;

impl FileIo {
    /// A call to a chunk has failed. Where all copies are lost, and this mount has all that was in them, there are empty ones afterwards, and
    /// the call is worth repeating; else `error` is given back.
    pub(super) async fn make_anew(&self, index: ChunkIndex, error: IoError) -> Result<(), IoError> {
        let held = if error.is_lost_chunk() { self.held(index) } else { 0 };
        if held == 0 {
            return Err(error);
        }
        self.chains.make_anew(index, held).await?;
        self.state.lock().acks.made_anew(index);
        Ok(())
    }

    /// So many bytes from the chunk's start on are here, written and not yet known to be on disks.
    fn held(&self, index: ChunkIndex) -> u32 {
        let state = self.state.lock();
        let start = index.start();
        let chunk = start..(start + CHUNK_SIZE).min(state.size).max(start);
        let mut parts = Parts::new();
        state.written(&chunk, &mut parts);
        let end = gaps(&chunk, &parts).first().map_or(chunk.end, |gap| gap.start);
        (end - start) as u32
    }
}
