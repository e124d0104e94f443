//! Bytes from the chunkservers: where they are, and what is asked again when a location was old or nobody has answered.

use std::ops::Range;

use bytes::Bytes;
use cairn_proto::chunk::{BLOCK_SIZE, CHUNK_SIZE, ChunkLocation};
use cairn_proto::ids::{ChunkIndex, ServerId};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::ask::Round;
use super::attempts::Attempts;
use super::error::{IoError, MetaError};
use super::fetches::{FetchId, Fetched};
use super::file::{FileIo, FileState};
use super::runs::Parts;
use super::view;

impl FileIo {
    /// Fetches `range`, whole blocks of one slot, in a task of its own, which keeps `permit` until it is done.
    pub(super) fn begin_fetch(
        &self,
        state: &mut FileState,
        range: Range<u64>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> watch::Receiver<Fetched> {
        let (id, sender) = state.fetches.begin(range.clone());
        let result = sender.subscribe();
        let file = self.me();
        self.shared.runtime.spawn(async move {
            let fetched = file.fetch(range).await;
            file.end_fetch(id, &fetched);
            sender.send_replace(Some(fetched));
            drop(permit);
        });
        result
    }

    fn end_fetch(&self, id: FetchId, fetched: &Result<Parts, IoError>) {
        let mut state = self.state.lock();
        let current = state.fetches.end(id);
        if let (true, Ok(parts)) = (current, fetched) {
            for (start, data) in parts {
                self.shared.cache.put(self.inode, *start, data.clone());
            }
        }
    }

    async fn fetch(&self, range: Range<u64>) -> Result<Parts, IoError> {
        let index = ChunkIndex::of_offset(range.start).ok_or(IoError::TooLarge(self.inode))?;
        let last = ChunkIndex::of_offset(self.size().saturating_sub(1)).unwrap_or(index);
        let mut attempts = self.shared.read_attempts();
        // A location from the cache may be old: what it cannot do is not believed before the metaserver has been asked again.
        let mut fresh = self.locations.peek(index).is_none();
        loop {
            let location = match self.locations.locate(index, last.max(index)).await {
                Ok(Some(location)) => location,
                Ok(None) => return Ok(pad(range.start, Bytes::new(), range.end)),
                Err(cause) => {
                    self.wait_out(&mut attempts, cause).await?;
                    continue;
                }
            };
            let cut = location.trimmed_at.map_or(CHUNK_SIZE, u64::from);
            let from = range.start - index.start();
            let to = (range.end - index.start()).min(cut.next_multiple_of(BLOCK_SIZE as u64));
            if from >= cut.min(to) {
                return Ok(pad(range.start, Bytes::new(), range.end));
            }
            match self.shared.ask_replicas(&location, from as u32..to as u32).await {
                Round::Data(mut data) => {
                    data.truncate((cut - from) as usize);
                    return Ok(pad(range.start, data, range.end));
                }
                Round::Absent if fresh => return Ok(pad(range.start, Bytes::new(), range.end)),
                Round::Failed { tried, later } if fresh => {
                    let error = self.unreadable(&location, tried);
                    if !later {
                        return Err(error);
                    }
                    attempts.pause(error).await?;
                }
                Round::Absent | Round::Failed { .. } => {}
            }
            self.locations.forget(&location);
            fresh = true;
        }
    }

    pub(super) async fn wait_out(&self, attempts: &mut Attempts, cause: MetaError) -> Result<(), IoError> {
        let transient = cause.is_transient();
        let error = IoError::Meta { inode: self.inode, cause };
        if !transient {
            return Err(error);
        }
        attempts.pause(error).await
    }

    pub(super) fn unreadable(&self, location: &ChunkLocation, tried: Vec<(ServerId, String)>) -> IoError {
        let error =
            IoError::Unreadable { inode: self.inode, index: location.id.index, handle: location.id.handle, tried };
        tracing::error!(%error);
        error
    }
}

/// `data` at `start`, and zeros behind it up to `end`.
fn pad(start: u64, data: Bytes, end: u64) -> Parts {
    let mut parts = Parts::new();
    let zeros_from = start + data.len() as u64;
    if !data.is_empty() {
        parts.push((start, data));
    }
    if zeros_from < end {
        parts.push((zeros_from, view::zeros((end - zeros_from) as usize)));
    }
    parts
}
