//! The thread that owns the log.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{EntryId, Log, LogError, VoteFile};

/// Requests that may wait. Each comes from somebody who waits for its end, so there are few.
const QUEUE_LIMIT: usize = 256;

/// Called, on the log's thread, when a request is done: it must not block.
pub type Done = Box<dyn FnOnce(Result<(), LogError>) + Send>;

enum Request {
    Append { entries: Vec<(EntryId, Bytes)>, done: Done },
    Truncate { from: u64, done: Done },
    Purge { upto: EntryId, done: Done },
    SaveVote { vote: Bytes, done: Done },
    EnsureRoom { bytes: u64, done: Done },
}

/// Hands requests to the log's thread, which does them in order and syncs once for all appends that wait.
///
/// Dropped, it waits until the thread has done what was asked of it.
pub struct LogWriter {
    /// `None` only while it is being dropped.
    requests: Option<SyncSender<Request>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Space set aside in the segment that is being written.
    room: AtomicU64,
    /// Last committed entry, for the next record.
    committed: AtomicU64,
    /// Syncs done, for the curious.
    syncs: AtomicU64,
}

impl LogWriter {
    /// Starts the thread.
    pub fn spawn(log: Log, vote: VoteFile) -> io::Result<Self> {
        let (requests, inbox) = sync_channel(QUEUE_LIMIT);
        let room = AtomicU64::new(log.room());
        let committed = AtomicU64::new(log.committed());
        let shared = Arc::new(Shared { room, committed, syncs: AtomicU64::new(0) });
        let worker = Worker { log, vote, shared: Arc::clone(&shared) };
        let thread = std::thread::Builder::new().name("meta-log".into()).spawn(move || worker.run(&inbox))?;
        Ok(Self { requests: Some(requests), thread: Mutex::new(Some(thread)), shared })
    }

    /// Appends entries, which must follow the last ones, and calls `done` when they are on stable storage.
    pub fn append(&self, entries: Vec<(EntryId, Bytes)>, done: Done) {
        self.send(Request::Append { entries, done });
    }

    /// Removes the entries from `from` on.
    pub fn truncate(&self, from: u64, done: Done) {
        self.send(Request::Truncate { from, done });
    }

    /// Removes whole segments up to `upto`.
    pub fn purge(&self, upto: EntryId, done: Done) {
        self.send(Request::Purge { upto, done });
    }

    /// Saves the vote.
    pub fn save_vote(&self, vote: Bytes, done: Done) {
        self.send(Request::SaveVote { vote, done });
    }

    /// Sees to it that `bytes` more can be appended whatever happens to the disk's free space.
    pub fn ensure_room(&self, bytes: u64, done: Done) {
        if self.shared.room.load(Ordering::Acquire) >= bytes {
            return done(Ok(()));
        }
        self.send(Request::EnsureRoom { bytes, done });
    }

    /// Notes what is committed; it goes to disk with the next append.
    pub fn set_committed(&self, index: u64) {
        self.shared.committed.fetch_max(index, Ordering::Relaxed);
    }

    /// The last entry known to be committed.
    pub fn committed(&self) -> u64 {
        self.shared.committed.load(Ordering::Relaxed)
    }

    /// How many times the log was synced since it was opened.
    pub fn syncs(&self) -> u64 {
        self.shared.syncs.load(Ordering::Relaxed)
    }

    fn send(&self, request: Request) {
        let requests = self.requests.as_ref().expect("only taken when dropped");
        if let Err(unsent) = requests.send(request) {
            unsent.0.into_done()(Err(LogError::Stopped("the log's thread has ended".into())));
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogWriter").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Request {
    fn into_done(self) -> Done {
        match self {
            Self::Append { done, .. }
            | Self::Truncate { done, .. }
            | Self::Purge { done, .. }
            | Self::SaveVote { done, .. }
            | Self::EnsureRoom { done, .. } => done,
        }
    }
}

struct Worker {
    log: Log,
    vote: VoteFile,
    shared: Arc<Shared>,
}

impl Worker {
    fn run(mut self, inbox: &Receiver<Request>) {
        while let Ok(first) = inbox.recv() {
            let mut next = Some(first);
            while let Some(request) = next.take() {
                match request {
                    Request::Append { entries, done } => next = self.append_group(entries, done, inbox),
                    Request::Truncate { from, done } => done(self.log.truncate(from)),
                    Request::Purge { upto, done } => done(self.log.purge(upto)),
                    Request::SaveVote { vote, done } => done(self.vote.save(&vote)),
                    Request::EnsureRoom { bytes, done } => done(self.log.ensure_room(bytes)),
                }
                self.shared.room.store(self.log.room(), Ordering::Release);
            }
        }
    }

    /// Appends these entries and those of all appends that wait right behind them, and syncs once. Returns the request
    /// that ended the group.
    fn append_group(
        &mut self,
        mut entries: Vec<(EntryId, Bytes)>,
        done: Done,
        inbox: &Receiver<Request>,
    ) -> Option<Request> {
        let mut group = vec![done];
        let mut other = None;
        while let Ok(request) = inbox.try_recv() {
            match request {
                Request::Append { entries: more, done } => {
                    entries.extend(more);
                    group.push(done);
                }
                request => {
                    other = Some(request);
                    break;
                }
            }
        }
        self.log.set_committed(self.shared.committed.load(Ordering::Relaxed));
        let result = self.log.append(&entries).and_then(|()| self.log.sync());
        self.shared.syncs.fetch_add(1, Ordering::Relaxed);
        self.shared.room.store(self.log.room(), Ordering::Release);
        for done in group {
            done(result.clone());
        }
        other
    }
}
