//! `SEEK_DATA` and `SEEK_HOLE`: where chunkservers hold blocks and where they do not.

use std::ops::Range;

use cairn_proto::chunk::CHUNK_SIZE;
use cairn_proto::error::ChunkError;
use cairn_proto::ids::ChunkIndex;

use super::error::{CallError, IoError};
use super::file::FileIo;

impl FileIo {
    /// The first byte at or after `offset` that is data. `None`: only a hole follows, or nothing.
    pub async fn seek_data(&self, offset: u64) -> Result<Option<u64>, IoError> {
        self.flush().await?;
        let mut at = offset;
        while at < self.size() {
            let Some(index) = ChunkIndex::of_offset(at) else { break };
            let data = self.data_ranges(index).await?;
            if let Some(range) = data.iter().find(|range| range.end > at) {
                let found = range.start.max(at);
                return Ok((found < self.size()).then_some(found));
            }
            let Some(next) = self.chunk_after(index).await? else { break };
            at = next.start();
        }
        Ok(None)
    }

    /// The next chunk that the file has: holes may be as large as files.
    async fn chunk_after(&self, index: ChunkIndex) -> Result<Option<ChunkIndex>, IoError> {
        let mut attempts = self.shared.read_attempts();
        let Some(first) = index.0.checked_add(1).map(ChunkIndex) else { return Ok(None) };
        loop {
            match self.shared.meta.locate(self.inode, first, u32::MAX - first.0).await {
                Ok(found) => return Ok(found.iter().map(|location| location.id.index).min()),
                Err(cause) => self.wait_out(&mut attempts, cause).await?,
            }
        }
    }

    /// The first byte at or after `offset` that is in a hole; the end of the file counts as one.
    pub async fn seek_hole(&self, offset: u64) -> Result<u64, IoError> {
        self.flush().await?;
        let mut at = offset;
        while at < self.size() {
            let Some(index) = ChunkIndex::of_offset(at) else { break };
            let chunk_end = index.start() + CHUNK_SIZE;
            for range in self.data_ranges(index).await? {
                if range.start <= at && range.end > at {
                    at = range.end;
                }
            }
            if at < chunk_end {
                break;
            }
        }
        Ok(at.min(self.size()).max(offset.min(self.size())))
    }

    /// The ranges of the file that hold data in one chunk, ascending.
    async fn data_ranges(&self, index: ChunkIndex) -> Result<Vec<Range<u64>>, IoError> {
        let mut attempts = self.shared.read_attempts();
        let last = ChunkIndex::of_offset(self.size().saturating_sub(1)).unwrap_or(index);
        loop {
            let location = match self.locations.locate(index, last.max(index)).await {
                Ok(Some(location)) => location,
                Ok(None) => return Ok(Vec::new()),
                Err(cause) => {
                    self.wait_out(&mut attempts, cause).await?;
                    continue;
                }
            };
            let cut = location.trimmed_at.map_or(CHUNK_SIZE, u64::from);
            let mut tried = Vec::new();
            let mut order = self.shared.replicas.order(&location);
            while let Some(member) = order.take_next() {
                let replica = &location.replicas[member];
                let began = self.shared.replicas.now();
                match self.shared.transport.extents(&replica.endpoint, location.id.handle).await {
                    Ok(extents) => return Ok(in_file(index, cut, &extents)),
                    Err(CallError::Chunk(ChunkError::NotFound(_))) if location.length == 0 => return Ok(Vec::new()),
                    Err(error) => {
                        self.shared.complain(&location, replica, &error, began);
                        tried.push((replica.server, error.to_string()));
                    }
                }
            }
            attempts.pause(self.unreadable(&location, tried)).await?;
            self.locations.forget(&location);
        }
    }
}

/// Ranges of a chunk as ranges of its file, cut off at `cut` in the chunk.
fn in_file(index: ChunkIndex, cut: u64, extents: &[(u32, u32)]) -> Vec<Range<u64>> {
    extents
        .iter()
        .map(|(at, len)| u64::from(*at)..(u64::from(*at) + u64::from(*len)).min(cut))
        .filter(|range| range.start < range.end)
        .map(|range| index.start() + range.start..index.start() + range.end)
        .collect()
}
