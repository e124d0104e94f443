//! Bytes from the chunkservers: from one replica or another, checked against their sums.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use cairn_proto::chunk::{BLOCK_SIZE, BlockSum, CHUNK_SIZE, ChunkLocation, Replica};
use cairn_proto::chunkserver::{ReadReply, ReadRequest};
use cairn_proto::error::ChunkError;
use cairn_proto::ids::{ChunkIndex, ChunkVersion, ServerId};
use cairn_proto::meta::BadReplica;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::attempts::Attempts;
use super::error::{CallError, IoError, MetaError};
use super::fetches::{FetchId, Fetched};
use super::file::{FileIo, FileState};
use super::runs::Parts;
use super::view;

/// What asking the replicas of a chunk has brought.
enum Round {
    Data(Bytes),
    /// No server has the chunk, and none ought to.
    Absent,
    Failed {
        tried: Vec<(ServerId, String)>,
        /// Some replica may answer later.
        later: bool,
    },
}

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
            match self.ask_replicas(&location, from as u32..to as u32).await {
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

    async fn ask_replicas(&self, location: &Arc<ChunkLocation>, range: Range<u32>) -> Round {
        let request = ReadRequest {
            handle: location.id.handle,
            at_least: ChunkVersion::FIRST,
            offset: range.start,
            len: range.end - range.start,
        };
        let mut tried = Vec::new();
        let mut later = false;
        let mut cut_off: Vec<Bytes> = Vec::new();
        for replica in self.shared.replicas.order(location, range.start) {
            let answer = self.shared.transport.read(&replica.endpoint, request).await;
            let error = match answer.and_then(|reply| verify(location, &request, reply)) {
                Ok(data) => {
                    self.shared.replicas.answered(replica.server);
                    let Err(error) = check_whole(location, &request, &data) else { return Round::Data(data) };
                    cut_off.push(data);
                    error
                }
                Err(error) => error,
            };
            if location.length == 0 && matches!(error, CallError::Chunk(ChunkError::NotFound(_))) {
                return Round::Absent;
            }
            later |= self.complain(location, replica, &error);
            tried.push((replica.server, error.to_string()));
        }
        // Where all say so it is no fault of one of them: what was never synced is gone with the power of all.
        let longest = cut_off.iter().max_by_key(|data| data.len());
        match longest {
            Some(data) if cut_off.len() == location.replicas.len() => Round::Data(data.clone()),
            _ => Round::Failed { tried, later },
        }
    }

    /// Logs and reports what is wrong with a replica. Answers whether it may be right later.
    pub(super) fn complain(&self, location: &Arc<ChunkLocation>, replica: &Replica, error: &CallError) -> bool {
        let (what, later) = match error {
            CallError::Chunk(ChunkError::NotFound(_)) => (BadReplica::Missing, false),
            CallError::Chunk(ChunkError::VersionStale { .. }) => (BadReplica::Stale, true),
            CallError::Chunk(ChunkError::Stopping) | CallError::Transport { .. } => (BadReplica::Unreachable, true),
            CallError::Chunk(_) | CallError::Protocol(_) => (BadReplica::Damaged, false),
        };
        let (server, chunk) = (replica.server, location.id.handle);
        // A server that is away is told of once, not once per read.
        if self.shared.replicas.failed(server) || what != BadReplica::Unreachable {
            tracing::warn!(%server, %chunk, inode = %self.inode, ?what, %error, "a replica could not be read: trying another");
            let meta = self.shared.meta.clone();
            self.shared.runtime.spawn(async move { meta.report_bad_replica(chunk, server, what).await });
        }
        later
    }

    pub(super) fn unreadable(&self, location: &ChunkLocation, tried: Vec<(ServerId, String)>) -> IoError {
        let error =
            IoError::Unreadable { inode: self.inode, index: location.id.index, handle: location.id.handle, tried };
        tracing::error!(%error);
        error
    }
}

/// End to end: the bytes are those that their writer has summed.
fn verify(location: &ChunkLocation, request: &ReadRequest, reply: ReadReply) -> Result<Bytes, CallError> {
    let data = reply.data.0;
    if reply.offset != request.offset || data.len() > request.len as usize {
        return Err(CallError::Protocol("answered a read of another range"));
    }
    let blocks = data.chunks(BLOCK_SIZE);
    if reply.sums.len() != blocks.len() {
        return Err(CallError::Protocol("answered a read without a sum for each block"));
    }
    let first = reply.offset / BLOCK_SIZE as u32;
    match blocks.zip(&reply.sums).position(|(block, sum)| BlockSum::of(block) != *sum) {
        None => Ok(data),
        Some(block) => {
            let block = first + block as u32;
            Err(CallError::Chunk(ChunkError::DamagedOnDisk { handle: location.id.handle, block }))
        }
    }
}

/// What was written is there, on every member: a copy that ends before it has lost it, and it must not be taken for a hole.
fn check_whole(location: &ChunkLocation, request: &ReadRequest, data: &Bytes) -> Result<(), CallError> {
    let end = request.offset + data.len() as u32;
    if end >= location.length.min(request.offset + request.len) {
        return Ok(());
    }
    let block = end / BLOCK_SIZE as u32;
    Err(CallError::Chunk(ChunkError::DamagedOnDisk { handle: location.id.handle, block }))
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
