//! Writing: into the buffer, from there to the chunkservers, several pieces at a time.

use std::sync::Arc;

use bytes::Bytes;
use cairn_proto::attr::MAX_FILE_SIZE;
use cairn_proto::chunk::{CHUNK_SIZE, MAX_PIECE_BYTES};
use cairn_proto::ids::ChunkIndex;
use cairn_proto::meta::ChunkExtent;
use cairn_proto::time::Timestamp;
use tokio::time::Instant;

use super::chain::Done;
use super::changes::Reach;
use super::error::IoError;
use super::file::{FileIo, FileState};
use super::pieces::{Flight, Pieces, WriteSeq};
use super::stamp::TICK;
use super::sync::SyncAlong;
use crate::failpoint::{AFTER_PIECE, crash_point};

/// Where a write goes.
#[derive(Clone, Copy, Debug)]
enum Target {
    At(u64),
    /// Wherever the file ends by then.
    End,
}

impl FileIo {
    /// Writes at `offset`. Returns once the bytes are in the buffer: later reads of this mount see them; [`Self::flush`] makes
    /// others see them, [`Self::sync`] makes them durable. Waits while the buffer is full.
    ///
    /// `kill`: setuid and setgid are cleared along with it.
    pub async fn write(&self, offset: u64, data: Bytes, mtime: Timestamp, kill: bool) -> Result<(), IoError> {
        self.put(Target::At(offset), data, mtime, kill).await.map(|_| ())
    }

    /// Writes at the end of the file, wherever that is by then, and answers where that was.
    pub async fn append(&self, data: Bytes, mtime: Timestamp, kill: bool) -> Result<u64, IoError> {
        self.put(Target::End, data, mtime, kill).await
    }

    async fn put(&self, target: Target, data: Bytes, mtime: Timestamp, kill: bool) -> Result<u64, IoError> {
        if self.shared.is_closed() {
            return Err(IoError::Closed);
        }
        if data.is_empty() {
            return Ok(match target {
                Target::At(offset) => offset,
                Target::End => self.size(),
            });
        }
        let budget = &self.shared.write_back;
        let most = Pieces::most_charge(data.len());
        let reservation = match budget.try_reserve(most) {
            Some(reservation) => reservation,
            None => {
                self.shared.launch_all_files();
                self.in_time(budget.reserve(most)).await?
            }
        };
        let gate = self.gate.read().await;
        let offset = {
            let mut state = self.state.lock();
            let offset = match target {
                Target::At(offset) => offset,
                Target::End => state.size,
            };
            let end = offset.checked_add(data.len() as u64).filter(|end| *end <= MAX_FILE_SIZE);
            let end = end.ok_or(IoError::TooLarge(self.inode))?;
            let before = state.pieces.charged();
            state.pieces.write(offset, data);
            reservation.settle(before, state.pieces.charged());
            state.size = state.size.max(end);
            let mtime = state.stamp.of_write(mtime, state.known.mtime);
            state.changes.wrote(mtime, kill);
            let now = Instant::now();
            state.activity.last_write = now;
            state.activity.dirty_since.get_or_insert(now);
            self.activate(&mut state);
            offset
        };
        drop(gate);
        self.launch();
        Ok(offset)
    }

    /// Returns when everything written before is acknowledged by all replicas and known to the metaserver: everybody sees it.
    pub async fn flush(&self) -> Result<(), IoError> {
        let errors = self.state.lock().errors.count();
        self.drain().await?;
        self.commit(Reach::LastAcknowledged).await?;
        self.error_since(errors)
    }

    /// Returns when everything written before is acknowledged, or recorded as failed. Answers the last write in it. The error: for as
    /// long as there is patience, nothing was.
    pub(super) async fn drain(&self) -> Result<WriteSeq, IoError> {
        let target = self.state.lock().push();
        self.launch();
        loop {
            let landed = self.landed.notified();
            tokio::pin!(landed);
            landed.as_mut().enable();
            if self.state.lock().pieces.oldest().is_none_or(|oldest| oldest > target) {
                return Ok(target);
            }
            self.in_time(landed).await?;
        }
    }

    /// Waits for others to take what was written, as long as there is patience.
    async fn in_time<T>(&self, wait: impl Future<Output = T>) -> Result<T, IoError> {
        match self.shared.config.write_patience {
            None => Ok(wait.await),
            Some(waited) => {
                let not_taken = |_| IoError::NotTaken { inode: self.inode, waited };
                tokio::time::timeout(waited, wait).await.map_err(not_taken)
            }
        }
    }

    /// The last error recorded after the first `before`.
    pub(super) fn error_since(&self, before: u64) -> Result<(), IoError> {
        let state = self.state.lock();
        match state.errors.last() {
            Some(error) if state.errors.count() > before => Err(error.clone()),
            Some(_) | None => Ok(()),
        }
    }

    /// Sends as much as the limits allow of what is to be sent: where memory is short, of everything, whole pieces first.
    pub(super) fn launch(&self) {
        let config = &self.shared.config;
        let flights: Vec<Flight> = {
            let mut state = self.state.lock();
            if self.shared.write_back.is_tight() && state.pieces.is_at_rest() {
                state.push();
            }
            let pieces = &mut state.pieces;
            std::iter::from_fn(|| pieces.take_off(config.pieces_in_flight, config.bytes_in_flight)).collect()
        };
        for flight in flights {
            let file = self.me();
            self.shared.runtime.spawn(file.fly(flight, None));
        }
    }

    pub(super) async fn fly(self: Arc<Self>, flight: Flight, sync: Option<SyncAlong>) {
        let Flight { start, data, .. } = flight;
        self.look_ahead(start, data.len());
        let fence = self.fence.lock().clone();
        let send = async {
            self.shared.meta.may_send().await;
            let index = ChunkIndex::of_offset(start).ok_or(IoError::TooLarge(self.inode))?;
            loop {
                match self.chains.write(start, data.clone(), sync.is_some()).await {
                    Ok(done) => return Ok(done),
                    Err(error) => self.make_anew(index, error).await?,
                }
            }
        };
        let sent = fence.run_until_cancelled(send).await;
        let outcome = sent.unwrap_or(Err(IoError::Fenced(self.inode)));
        self.land(start, outcome, sync);
        self.launch();
    }

    fn land(&self, start: u64, outcome: Result<Done, IoError>, sync: Option<SyncAlong>) {
        {
            let mut state = self.state.lock();
            let before = state.pieces.charged();
            let flight = state.pieces.land(start);
            self.shared.write_back.give_back(before - state.pieces.charged());
            let is_fenced = state.fenced.remove(&start);
            if !state.activity.discarded && !is_fenced {
                match outcome {
                    Ok(done) => {
                        crash_point(AFTER_PIECE);
                        self.acknowledged(&mut state, &flight, &done, sync);
                    }
                    Err(error) => self.failed(&mut state, &flight, error),
                }
            }
        }
        self.landed.notify_waiters();
    }

    fn acknowledged(&self, state: &mut FileState, flight: &Flight, done: &Done, sync: Option<SyncAlong>) {
        let id = done.location.id;
        let end = flight.start + flight.data.len() as u64;
        let length = (end - id.index.start()) as u32;
        let extent = ChunkExtent { index: id.index, handle: id.handle, length, allocated: done.ack.allocated };
        let grows = length > done.location.length || end > state.known.size;
        if grows || !state.confirmed.covers(&extent) {
            state.changes.acknowledged(extent, end, flight.data.len() as u64, grows);
        } else {
            state.changes.announce(end);
        }
        // The time may be seen before the bytes by a tick, in which two writes have the same one.
        if sync.is_some_and(|sync| sync.announced.is_some_and(|at| at.elapsed() > TICK)) {
            state.changes.announced_too_early();
        }
        state.forget_times(Some(state.known.mtime));
        let data = flight.data.clone();
        let dropped = match sync {
            None => state.acks.wrote(id.index, id.handle, flight.start, data, &done.ack),
            Some(sync) => state.acks.wrote_and_synced(id.index, id.handle, flight.start, data, &done.ack, sync.covers),
        };
        self.let_go(state, dropped);
    }

    /// The bytes are gone, as on a local disk that failed: the error says so, to each open file once.
    fn failed(&self, state: &mut FileState, flight: &Flight, error: IoError) {
        let (offset, bytes) = (flight.start, flight.data.len());
        if error.is_gone() {
            tracing::info!(inode = %self.inode, offset, bytes, "bytes were written to a file that is gone");
        } else {
            tracing::error!(inode = %self.inode, offset, bytes, %error, "written bytes are lost");
        }
        let range = flight.start..flight.start + flight.data.len() as u64;
        state.fetches.disown(&range);
        self.shared.cache.cut(self.inode, range);
        if let Some(index) = ChunkIndex::of_offset(flight.start) {
            state.acks.diverged(index);
        }
        state.errors.record(error);
        state.size = state.least_size();
    }

    /// A writer that has filled half of the file's last chunk will want the next one.
    fn look_ahead(&self, start: u64, len: usize) {
        let Some(index) = ChunkIndex::of_offset(start) else { return };
        let next = ChunkIndex(index.0.saturating_add(1));
        let is_middle = start % CHUNK_SIZE == CHUNK_SIZE / 2 && len == MAX_PIECE_BYTES;
        if is_middle && self.size() <= next.start() {
            let file = self.me();
            self.shared.runtime.spawn(async move { file.chains.allocate_ahead(next).await });
        }
    }
}

impl FileState {
    /// Everything in the buffer is to be sent.
    pub(super) fn push(&mut self) -> WriteSeq {
        self.activity.dirty_since = None;
        self.pieces.push_all()
    }
}
