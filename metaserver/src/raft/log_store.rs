//! The log as openraft sees it.

use std::fmt::Debug;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{AnyError, LogId, RaftLogReader, RaftTypeConfig, Vote};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::checkpoint::Checkpoints;
use super::entry;
use super::lock::DirLock;
use super::log::{Done, EntryId, LogError, LogReader, LogWriter, VoteFile};
use super::tail::Tail;
use super::types::{Entry, NodeId, StorageError, StorageIOError, TypeConfig};

/// The log, its newest entries in memory, and the vote. Clones are the same log.
#[derive(Debug, Clone)]
pub(super) struct LogStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    writer: LogWriter,
    reader: LogReader,
    vote: VoteFile,
    tail: Mutex<Tail>,
    /// Last entry that is on disk.
    written: Arc<AtomicU64>,
    checkpoints: Arc<Checkpoints>,
    /// For as long as something may write here.
    _lock: Arc<DirLock>,
}

impl LogStore {
    pub(super) fn new(
        writer: LogWriter,
        reader: LogReader,
        vote: VoteFile,
        checkpoints: Arc<Checkpoints>,
        lock: Arc<DirLock>,
    ) -> Self {
        let written = Arc::new(AtomicU64::new(reader.last().index));
        let tail = Mutex::default();
        Self { shared: Arc::new(Shared { writer, reader, vote, tail, written, checkpoints, _lock: lock }) }
    }

    /// Sees to it that `bytes` more can be appended whatever happens to the disk's free space.
    pub(super) async fn ensure_room(&self, bytes: u64) -> Result<(), LogError> {
        finished(|done| self.shared.writer.ensure_room(bytes, done)).await
    }

    pub(super) fn reader(&self) -> &LogReader {
        &self.shared.reader
    }

    /// Times that the log was synced.
    pub(super) fn syncs(&self) -> u64 {
        self.shared.writer.syncs()
    }

    /// The entries of `range` (openraft's indices) that there are.
    async fn entries(&self, range: Range<u64>) -> Result<Vec<Entry>, StorageError> {
        let (mut kept, boundary) = {
            let tail = self.shared.tail.lock();
            let boundary = tail.first().unwrap_or(range.end).min(range.end);
            (tail.get(range.start.max(boundary)..range.end), boundary)
        };
        if range.start >= boundary {
            return Ok(kept);
        }
        let mut entries = self.read_disk(range.start..boundary).await?;
        entries.append(&mut kept);
        Ok(entries)
    }

    async fn read_disk(&self, range: Range<u64>) -> Result<Vec<Entry>, StorageError> {
        let reader = self.shared.reader.clone();
        // One more on disk; see `EntryId::to_raft`.
        let read = move || reader.read(range.start + 1..range.end.saturating_add(1));
        let records =
            tokio::task::spawn_blocking(read).await.map_err(|e| StorageIOError::read_logs(AnyError::new(&e)))?;
        let records = records.map_err(|e| StorageIOError::read_logs(AnyError::new(&e)))?;
        let mut entries = Vec::with_capacity(records.len());
        for record in &records {
            match entry::decode(record) {
                Some(entry) => entries.push(entry),
                None => return Err(undecodable(record.id)),
            }
        }
        Ok(entries)
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last + 1,
            Bound::Excluded(&end) => end,
            Bound::Unbounded => u64::MAX,
        };
        self.entries(start..end).await
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let newest = self.shared.tail.lock().last().map(|entry| entry.log_id);
        let last_log_id = newest.or_else(|| self.shared.reader.last().to_raft());
        Ok(LogState { last_purged_log_id: self.shared.reader.purged().to_raft(), last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<NodeId>) -> Result<(), StorageError> {
        let bytes: Bytes = postcard::to_stdvec(vote).expect("a vote of plain fields always encodes").into();
        let saved = finished(|done| self.shared.writer.save_vote(bytes, done)).await;
        saved.map_err(|e| StorageIOError::write_vote(AnyError::new(&e)).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<NodeId>>, StorageError> {
        let bytes = self.shared.vote.load().map_err(|e| StorageIOError::read_vote(AnyError::new(&e)))?;
        let vote = bytes.map(|bytes| postcard::from_bytes(&bytes)).transpose();
        vote.map_err(|e| StorageIOError::read_vote(AnyError::new(&e)).into())
    }

    async fn save_committed(&mut self, committed: Option<LogId<NodeId>>) -> Result<(), StorageError> {
        if let Some(committed) = committed {
            self.shared.writer.set_committed(EntryId::from_raft(&committed).index);
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId<NodeId>>, StorageError> {
        let purged = self.shared.reader.purged();
        let Some(index) = self.shared.writer.committed().checked_sub(1) else { return Ok(None) };
        if index < purged.index {
            return Ok(purged.to_raft());
        }
        Ok(self.read_disk(index..index + 1).await?.first().map(|entry| entry.log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = <TypeConfig as RaftTypeConfig>::Entry> + Send,
        I::IntoIter: Send,
    {
        let mut records = Vec::new();
        {
            let mut tail = self.shared.tail.lock();
            // Indices on disk are one more than those in the tail: the last one written is the next one here.
            tail.shrink(self.shared.written.load(Ordering::Acquire));
            for entry in entries {
                let (id, payload) = entry::encode(&entry);
                tail.push(entry, payload.len());
                records.push((id, payload));
            }
        }
        let last = records.last().map_or(0, |(id, _)| id.index);
        let written = Arc::clone(&self.shared.written);
        let done: Done = Box::new(move |result| {
            if result.is_ok() {
                written.store(last, Ordering::Release);
            }
            callback.log_io_completed(result.map_err(|error| error.to_io()));
        });
        self.shared.writer.append(records, done);
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId<NodeId>) -> Result<(), StorageError> {
        let from = EntryId::from_raft(&log_id).index;
        self.shared.tail.lock().truncate(log_id.index);
        let truncated = finished(|done| self.shared.writer.truncate(from, done)).await;
        self.shared.written.fetch_min(from - 1, Ordering::AcqRel);
        truncated.map_err(|e| StorageIOError::write_logs(AnyError::new(&e)).into())
    }

    async fn purge(&mut self, log_id: LogId<NodeId>) -> Result<(), StorageError> {
        let upto = EntryId::from_raft(&log_id);
        self.shared.tail.lock().purge(log_id.index);
        if upto.index > self.shared.reader.last().index {
            // The state came from another node.
            let purged = finished(|done| self.shared.writer.purge(upto, done)).await;
            return purged.map_err(|e| StorageIOError::write_logs(AnyError::new(&e)).into());
        }
        // On disk the log reaches back to the older checkpoint, whatever openraft thinks it can do without.
        let Some(floor) = self.shared.checkpoints.log_floor() else { return Ok(()) };
        let purged = finished(|done| self.shared.writer.purge(upto.min(floor), done)).await;
        if let Err(error) = purged {
            tracing::warn!(%error, "log was not shortened, will be tried after the next checkpoint");
        }
        Ok(())
    }
}

/// Waits for a request to the log's thread.
async fn finished(request: impl FnOnce(Done)) -> Result<(), LogError> {
    let (tx, rx) = oneshot::channel();
    request(Box::new(move |result| drop(tx.send(result))));
    rx.await.unwrap_or_else(|_| Err(LogError::Stopped("the log's thread has ended".into())))
}

fn undecodable(id: EntryId) -> StorageError {
    let what = format!("entry {} passes its checksum but is not one that this version knows", id.index);
    StorageIOError::read_log_at_index(id.index - 1, AnyError::error(what)).into()
}
