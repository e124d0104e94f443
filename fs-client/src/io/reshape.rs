//! Truncating a file and making holes in it: what must not cross with writes.

use cairn_proto::attr::Attr;
use cairn_proto::chunk::CHUNK_SIZE;
use cairn_proto::ids::ChunkIndex;
use cairn_proto::meta::ChunkExtent;
use cairn_proto::time::Timestamp;
use tokio::time::Instant;

use super::chain::Done;
use super::changes::Reach;
use super::error::IoError;
use super::file::{FileIo, KnownAttr};

/// Drops what is cached behind `from` even where the truncate is given up on its way: it may have been done.
struct Doubt<'a> {
    file: &'a FileIo,
    from: u64,
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        self.file.invalidate(&mut self.file.state.lock(), self.from);
    }
}

impl FileIo {
    /// Runs `set` (the metaserver's part of a truncate or an extension to `size`) between the writes before and those after it,
    /// and takes over the size that it answers.
    pub async fn truncate_with<F, E>(&self, size: u64, set: F) -> Result<Attr, E>
    where
        F: Future<Output = Result<Attr, E>>,
        E: From<IoError>,
    {
        let _gate = self.gate.write().await;
        self.drain().await?;
        // Errors of earlier writes are recorded, and no reason not to truncate. An unreachable metaserver refuses `set` too.
        let _ = self.commit(Reach::LastAcknowledged).await;
        let from = size.min(self.size());
        let doubt = Doubt { file: self, from };
        let attr = set.await?;
        let mut state = self.state.lock();
        state.acks.truncate(attr.size);
        state.changes.truncate(attr.size);
        state.known = KnownAttr::of(&attr);
        state.size = attr.size.max(state.pieces.end().unwrap_or(0));
        // Before anybody can read by the new size.
        self.invalidate(&mut state, from);
        drop(state);
        std::mem::forget(doubt);
        Ok(attr)
    }

    /// Makes `[offset, offset + len)` a hole, as far as the file reaches.
    pub async fn zero(&self, offset: u64, len: u64) -> Result<(), IoError> {
        let _gate = self.gate.write().await;
        let errors = self.state.lock().errors.count();
        self.drain().await?;
        self.error_since(errors)?;
        let end = offset.saturating_add(len).min(self.size());
        let mut result = Ok(());
        let mut at = offset;
        while at < end && result.is_ok() {
            let Some(index) = ChunkIndex::of_offset(at) else { break };
            let chunk_end = (index.start() + CHUNK_SIZE).min(end);
            let (start, len) = ((at - index.start()) as u32, (chunk_end - at) as u32);
            result = self.chains.zero(index, start, len).await.map(|done| {
                if let Some(done) = done {
                    self.zeroed(index, at, chunk_end, &done);
                }
            });
            at = chunk_end;
        }
        if offset < end {
            let mut state = self.state.lock();
            state.acks.cut(offset..end);
            state.fetches.disown(&(offset..end));
            self.shared.cache.cut(self.inode, offset..end);
        }
        result
    }

    fn zeroed(&self, index: ChunkIndex, start: u64, end: u64, done: &Done) {
        let mut state = self.state.lock();
        let id = done.location.id;
        state.acks.zeroed(index, id.handle, start..end, &done.ack);
        let length = done.location.length;
        let extent = ChunkExtent { index, handle: id.handle, length, allocated: done.ack.allocated };
        state.pieces.count_change();
        state.changes.wrote(Timestamp::now(), false);
        state.changes.zeroed(extent);
        state.activity.last_write = Instant::now();
        self.activate(&mut state);
    }
}
