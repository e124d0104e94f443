//! `fsync`: acknowledged bytes become durable, and that they did is checked; and handing chunks back.

use cairn_proto::chunk::CHUNK_SIZE;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, ServerId};
use futures::StreamExt;
use tokio::time::Instant;

use super::acks::{Mark, Outcome, ToSync};
use super::chain::Done;
use super::changes::Reach;
use super::error::IoError;
use super::file::{FileIo, FileState};
use super::pieces::WriteSeq;
use super::runs::Parts;
use crate::failpoint::{AFTER_SYNC, BEFORE_HAND_BACK, crash_point};

/// Chunks of one file that are synced at a time.
const CHUNKS_AT_A_TIME: usize = 16;

/// How often what a restarted chunkserver lost is written again within one sync: kernels do not restart faster than that.
const MAX_ROUNDS: u32 = 8;

/// What the chunkservers are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Settle {
    Sync,
    /// As a sync, and nobody is writing the chunk any more.
    HandBack,
}

/// Which metadata a sync waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Metadata {
    All,
    /// What it takes to find the bytes again: `fdatasync`.
    ToFindBytes,
}

/// A sync that goes along with a piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct SyncAlong {
    pub(super) covers: Mark,
    /// Since when a commit of the piece's time has been under way, if it is.
    pub(super) announced: Option<Instant>,
}

/// What the members of a chain have lost of what they had acknowledged, and what helps.
enum Loss {
    None,
    /// It is in the buffer again.
    WriteAgain(Vec<ServerId>),
    /// The other members have it.
    LeaveOut(Vec<ServerId>),
    Final(ServerId),
}

/// Up to which write a file is on stable storage.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SyncedUntil {
    all: WriteSeq,
    bytes: WriteSeq,
}

impl SyncedUntil {
    fn of(self, metadata: Metadata) -> WriteSeq {
        match metadata {
            Metadata::All => self.all,
            Metadata::ToFindBytes => self.bytes,
        }
    }

    fn reached(&mut self, metadata: Metadata, write: WriteSeq) {
        self.bytes = self.bytes.max(write);
        if metadata == Metadata::All {
            self.all = self.all.max(write);
        }
    }
}

impl FileIo {
    /// `fsync`. Returns when every byte written before is on stable storage of every current replica, and the metadata at the
    /// metaserver's.
    ///
    /// Many who call this at once are served by one round.
    pub async fn sync(&self) -> Result<(), IoError> {
        self.sync_with(Metadata::All).await
    }

    /// `fdatasync`: as [`Self::sync`], but the modification time may stay behind.
    pub async fn sync_data(&self) -> Result<(), IoError> {
        self.sync_with(Metadata::ToFindBytes).await
    }

    async fn sync_with(&self, metadata: Metadata) -> Result<(), IoError> {
        let (target, errors) = {
            let state = self.state.lock();
            (state.pieces.last_seq(), state.errors.count())
        };
        let _turn = self.sync_turn.lock().await;
        {
            let state = self.state.lock();
            let served = state.synced_until.of(metadata) >= target;
            let idle = !state.is_dirty() && !state.acks.has_unsynced();
            if (served || idle) && state.errors.count() == errors {
                return Ok(());
            }
        }
        let synced = self.settle(Settle::Sync, metadata).await?;
        crash_point(AFTER_SYNC);
        self.state.lock().synced_until.reached(metadata, synced);
        self.error_since(errors)
    }

    /// Hands back every chunk that this file's writes have made dirty, syncing it. Answers whether all went well; what did not
    /// is done again later.
    pub(super) async fn hand_back_all(&self) -> bool {
        let _turn = self.sync_turn.lock().await;
        // What could not be made good is not handed back: first see whether all is well.
        let careful = self.state.lock().acks.is_incomplete();
        let synced = if careful { self.settle(Settle::Sync, Metadata::All).await } else { Ok(0) };
        let handed_back = match synced {
            Ok(_) => self.settle(Settle::HandBack, Metadata::All).await,
            Err(error) => Err(error),
        };
        match handed_back {
            Ok(_) => true,
            Err(error) if error.is_gone() => {
                // Nobody can look at what was written any more but those who have it open and lost their session: they are told.
                tracing::debug!(inode = %self.inode, "removed by another client");
                self.state.lock().errors.record(error);
                self.discard();
                true
            }
            Err(error) => {
                tracing::warn!(inode = %self.inode, %error, "chunks could not be handed back; they stay dirty for now");
                false
            }
        }
    }

    /// Rounds of draining, committing and settling, until nothing has been lost in between. Answers the last write in it.
    async fn settle(&self, how: Settle, metadata: Metadata) -> Result<WriteSeq, IoError> {
        let mut rounds = 0;
        loop {
            rounds += 1;
            let target = match how {
                Settle::Sync => self.drain_and_sync(metadata).await?,
                Settle::HandBack => self.drain().await?,
            };
            let (committed, settled) = tokio::join!(self.commit_for(metadata), self.settle_chunks(how));
            committed?;
            match settled? {
                None => return Ok(target),
                Some(loss) if rounds >= MAX_ROUNDS => return Err(loss),
                Some(_) => {}
            }
        }
    }

    /// [`Self::drain`]. Where all that is to be sent is one piece in the place of other bytes, as after most writes of databases, the
    /// chunk is synced by the same call, and the time of the write is committed meanwhile. (A file that grows is committed once its
    /// bytes are acknowledged: then that can go on while they are synced.)
    async fn drain_and_sync(&self, metadata: Metadata) -> Result<WriteSeq, IoError> {
        if !self.send_and_sync(metadata) {
            return self.drain().await;
        }
        let commits = metadata == Metadata::All;
        // Nothing happens where nothing was announced.
        let commit = async { if commits { self.commit(Reach::LastAcknowledged).await } else { Ok(()) } };
        let (target, committed) = tokio::join!(self.drain(), commit);
        committed.and(target)
    }

    /// Answers whether it has found a piece to do that with.
    fn send_and_sync(&self, metadata: Metadata) -> bool {
        let mut state = self.state.lock();
        state.push();
        let size = state.known.size;
        if state.pieces.end().is_none_or(|end| end > size) {
            return false;
        }
        let Some(flight) = state.pieces.take_off_alone() else { return false };
        // In the tick of the last one the metaserver has its time already.
        let announces = metadata == Metadata::All && !state.times_are_known();
        if announces {
            state.changes.announce(flight.start + flight.data.len() as u64);
        }
        let sync = SyncAlong { covers: state.acks.mark(), announced: announces.then(Instant::now) };
        self.shared.runtime.spawn(self.me().fly(flight, Some(sync)));
        true
    }

    async fn commit_for(&self, metadata: Metadata) -> Result<(), IoError> {
        if metadata == Metadata::ToFindBytes && self.state.lock().metadata_is_enough() {
            return Ok(());
        }
        self.commit(Reach::LastAcknowledged).await
    }

    /// Settles the chunks that need it. Answers a loss of bytes that are being written again.
    async fn settle_chunks(&self, how: Settle) -> Result<Option<IoError>, IoError> {
        // A truncate would take chunks away under our feet.
        let _gate = self.gate.read().await;
        let to_sync = {
            let mut state = self.state.lock();
            match how {
                Settle::Sync => state.acks.begin_sync(),
                Settle::HandBack => state.acks.begin_hand_back(),
            }
        };
        let mut settling = Vec::with_capacity(to_sync.chunks.len());
        for (index, handle) in to_sync.chunks.iter().copied() {
            settling.push(self.settle_chunk(how, &to_sync, index, handle));
        }
        let results: Vec<_> = futures::stream::iter(settling).buffer_unordered(CHUNKS_AT_A_TIME).collect().await;
        let losses: Result<Vec<Option<IoError>>, IoError> = results.into_iter().collect();
        Ok(losses?.into_iter().flatten().next())
    }

    async fn settle_chunk(
        &self,
        how: Settle,
        to_sync: &ToSync,
        index: ChunkIndex,
        handle: ChunkHandle,
    ) -> Result<Option<IoError>, IoError> {
        let done = self.ask_to_settle(how, index, handle).await;
        let lost = |server| IoError::LostUnsynced { inode: self.inode, index, handle, server };
        match self.take_in(to_sync, index, done)? {
            Loss::None => Ok(None),
            Loss::WriteAgain(servers) => {
                tracing::warn!(?servers, chunk = %handle, inode = %self.inode,
                    "chunkservers restarted before acknowledged bytes were synced: writing them again");
                Ok(servers.first().copied().map(lost))
            }
            Loss::LeaveOut(servers) => {
                tracing::warn!(?servers, chunk = %handle, inode = %self.inode,
                    "chunkservers restarted before acknowledged bytes were synced: going on without them");
                self.chains.leave_out(index, handle, &servers).await?;
                Ok(servers.first().copied().map(lost))
            }
            Loss::Final(server) => {
                let error = lost(server);
                tracing::error!(%error);
                self.state.lock().errors.record(error.clone());
                Err(error)
            }
        }
    }

    async fn ask_to_settle(
        &self,
        how: Settle,
        index: ChunkIndex,
        handle: ChunkHandle,
    ) -> Result<Option<Done>, IoError> {
        loop {
            let settled = match how {
                Settle::Sync => self.chains.sync(index, handle).await,
                Settle::HandBack => {
                    crash_point(BEFORE_HAND_BACK);
                    self.chains.hand_back(index, handle).await
                }
            };
            match settled {
                Ok(done) => return Ok(done),
                Err(error) => self.make_anew(index, error).await?,
            }
        }
    }

    fn take_in(
        &self,
        to_sync: &ToSync,
        index: ChunkIndex,
        done: Result<Option<Done>, IoError>,
    ) -> Result<Loss, IoError> {
        let mut state = self.state.lock();
        let done = match done {
            Ok(done) => done,
            Err(error) if error.is_lost_chunk() => {
                state.acks.lost(index);
                self.not_there(&mut state, index);
                state.errors.record(error.clone());
                return Err(error);
            }
            Err(error) => {
                state.acks.not_synced(index);
                return Err(error);
            }
        };
        match state.acks.synced(to_sync, index, done.as_ref().map(|done| &done.ack)) {
            Outcome::Safe(parts) => {
                self.let_go(&mut state, parts);
                Ok(Loss::None)
            }
            Outcome::WriteAgain(servers, parts) => {
                // Under the same lock: they must not be missing from all layers, nor come after newer ones.
                self.write_again(&mut state, parts);
                Ok(Loss::WriteAgain(servers))
            }
            Outcome::LeaveOut(servers) => Ok(Loss::LeaveOut(servers)),
            Outcome::Lost(server) => {
                self.not_there(&mut state, index);
                Ok(Loss::Final(server))
            }
        }
    }

    /// What is remembered of a chunk is not what its copies have.
    fn not_there(&self, state: &mut FileState, index: ChunkIndex) {
        let chunk = index.start()..index.start() + CHUNK_SIZE;
        state.fetches.disown(&chunk);
        self.shared.cache.cut(self.inode, chunk);
    }

    /// The next [`Self::drain`] sends them.
    fn write_again(&self, state: &mut FileState, parts: Parts) {
        let before = state.pieces.charged();
        for (start, data) in parts {
            state.pieces.put_under(start, &data);
        }
        self.shared.write_back.take(state.pieces.charged().saturating_sub(before));
        self.activate(state);
    }
}

impl FileState {
    /// The metaserver knows enough to find every acknowledged byte.
    fn metadata_is_enough(&self) -> bool {
        !self.changes.grows() && self.committing.as_ref().is_none_or(|batch| !batch.grows())
    }
}
