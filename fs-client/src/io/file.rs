//! One file's contents: what programs wrote and read, what chunkservers and the metaserver know of it.
//!
//! # Layers
//!
//! A byte of a file is, from the top: in a run or a flight ([`super::pieces`], written, not acknowledged), retained
//! ([`super::acks`], acknowledged, not synced), in the block cache, or only at the chunkservers. A reader lays these over each
//! other. Bytes move down only: when a layer lets go of them they are put into the cache, and fetches of their range that are
//! under way (which may have read older bytes) lose their right to be cached or joined. So whoever begins to read after a
//! write has returned finds its bytes in some layer, whatever moves meanwhile.
//!
//! # Locks, in the order in which they are taken
//!
//! 1. `sync_turn`: one sync or hand-back of the file at a time; the next one covers everybody who waits. Held across calls.
//! 2. `gate`: shared by a write while it puts its bytes into the buffer, and by a sync while it calls chunkservers. Exclusive
//!    for a truncate or a hole, from draining the buffer to dropping what was cached: no write is taken in or on its way
//!    meanwhile. Held across calls. Readers never take it.
//! 3. `commit_turn`: one commit at a time, in order. Held across calls.
//! 4. `state`: everything else of the file. Never held across a wait; copies under it are small.
//! 5. The leaves, each for a few instructions: the file's locations, the block cache, the list of files.
//!
//! Memory of the write-back buffer is waited for before any of them. Sending pieces takes none but `state`, so whatever waits
//! for acknowledgements under 1, 2 or 3 gets them.

use std::collections::HashSet;
use std::sync::{Arc, Weak};

use cairn_proto::attr::{Attr, S_ISGID, S_ISUID};
use cairn_proto::chunk::{BLOCK_SIZE, ChunkLocation};
use cairn_proto::ids::{ChunkIndex, InodeId, LogIndex};
use cairn_proto::time::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{Notify, RwLock};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::acks::Acks;
use super::chain::Chains;
use super::changes::Changes;
use super::confirmed::Confirmed;
use super::error::IoError;
use super::error_seq::{ErrorCursor, ErrorSeq};
use super::fetches::Fetches;
use super::locations::Locations;
use super::pieces::Pieces;
use super::read_ahead::Streams;
use super::runs::Parts;
use super::shared::Shared;
use super::stamp::Stamp;
use super::sync::SyncedUntil;

/// Group-execute: setgid without it is not a privilege but mandatory locking, and stays.
const S_IXGRP: u32 = 0o010;

/// The contents of one file, shared by all that have it open on this mount. From [`super::Io::file`].
pub struct FileIo {
    pub(super) inode: InodeId,
    /// For the tasks that work for this file.
    me: Weak<FileIo>,
    pub(super) shared: Arc<Shared>,
    pub(super) locations: Arc<Locations>,
    pub(super) chains: Chains,
    pub(super) sync_turn: tokio::sync::Mutex<()>,
    pub(super) gate: RwLock<()>,
    access: Access,
    /// Cancelled, and replaced, when what is on its way must not arrive: see [`Self::abandon`].
    pub(super) fence: Mutex<CancellationToken>,
    pub(super) commit_turn: tokio::sync::Mutex<()>,
    pub(super) state: Mutex<FileState>,
    /// Some flight has ended.
    pub(super) landed: Notify,
}

/// See the module for the layers in it.
#[derive(Debug)]
pub(super) struct FileState {
    /// Bytes, as programs of this mount see them.
    pub(super) size: u64,
    pub(super) known: KnownAttr,
    pub(super) stamp: Stamp,
    pub(super) pieces: Pieces,
    pub(super) acks: Acks,
    pub(super) changes: Changes,
    /// The changes that a commit is under way for.
    pub(super) committing: Option<Changes>,
    pub(super) confirmed: Confirmed,
    pub(super) synced_until: SyncedUntil,
    pub(super) fetches: Fetches,
    pub(super) streams: Streams,
    pub(super) errors: ErrorSeq,
    pub(super) activity: Activity,
    /// Flights, by where they begin, of which nobody wants to know any more what becomes of them.
    pub(super) fenced: HashSet<u64>,
}

/// The metaserver's last word on the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownAttr {
    pub(super) size: u64,
    pub(super) mtime: Timestamp,
    pub(super) changed_at: LogIndex,
}

/// What background work goes by.
#[derive(Debug)]
pub(super) struct Activity {
    /// Among the files that background work looks after.
    pub(super) active: bool,
    /// Background work on this file is under way.
    pub(super) busy: bool,
    /// Not before this: it failed a moment ago.
    pub(super) not_before: Option<Instant>,
    pub(super) last_write: Instant,
    /// The oldest write that nothing has been pushed for.
    pub(super) dirty_since: Option<Instant>,
    /// Removed while nobody had it open: nothing of it matters any more.
    pub(super) discarded: bool,
    /// Removed, or about to be, from a directory that keeps what is removed from it.
    kept: bool,
}

impl FileIo {
    /// `chunks`: those that are known already.
    pub(super) fn new(attr: &Attr, shared: Arc<Shared>, chunks: &[ChunkLocation]) -> Arc<Self> {
        let locations = Arc::new(Locations::new(attr.inode, shared.meta.clone(), shared.config.locations_per_file));
        locations.learn(chunks);
        let state = FileState {
            size: attr.size,
            known: KnownAttr::of(attr),
            stamp: Stamp::default(),
            pieces: Pieces::default(),
            acks: Acks::new(shared.retained.clone()),
            changes: Changes::default(),
            committing: None,
            confirmed: Confirmed::default(),
            synced_until: SyncedUntil::default(),
            fetches: Fetches::default(),
            streams: Streams::new(shared.config.read_ahead_bytes),
            errors: ErrorSeq::default(),
            activity: Activity {
                active: false,
                busy: false,
                not_before: None,
                last_write: Instant::now(),
                dirty_since: None,
                discarded: false,
                kept: false,
            },
            fenced: HashSet::new(),
        };
        Arc::new_cyclic(|me| Self {
            inode: attr.inode,
            me: me.clone(),
            chains: Chains::new(attr.inode, shared.clone(), locations.clone()),
            locations,
            shared,
            sync_turn: tokio::sync::Mutex::default(),
            gate: RwLock::default(),
            access: Access::default(),
            fence: Mutex::default(),
            commit_turn: tokio::sync::Mutex::default(),
            state: Mutex::new(state),
            landed: Notify::new(),
        })
    }

    pub fn inode(&self) -> InodeId {
        self.inode
    }

    /// Bytes, written ones that nobody else sees yet included.
    pub fn size(&self) -> u64 {
        self.state.lock().size
    }

    /// Something was written that the metaserver does not know yet, so its attributes are not the file's.
    pub fn is_dirty(&self) -> bool {
        self.state.lock().is_dirty()
    }

    /// Something was written that is not on stable storage, or that the metaserver does not know yet.
    pub(super) fn is_unsaved(&self) -> bool {
        let state = self.state.lock();
        state.is_dirty() || state.acks.has_unsynced()
    }

    /// Corrects the metaserver's attributes by what was written here since.
    pub fn overlay(&self, attr: &mut Attr) {
        let mut state = self.state.lock();
        state.stamp.seen();
        if !state.is_dirty() {
            return;
        }
        attr.size = state.size;
        if let Some(mtime) = state.mtime() {
            attr.mtime = mtime;
            attr.ctime = attr.ctime.max(mtime);
        }
        if state.kills_suid_sgid() {
            attr.mode &= !S_ISUID;
            if attr.mode & S_IXGRP != 0 {
                attr.mode &= !S_ISGID;
            }
        }
        // A guess, but never too much, and never nothing where there is something: `st_blocks == 0` means a hole to tar.
        let most = attr.size.next_multiple_of(BLOCK_SIZE as u64);
        let more = state.uncommitted_bytes().next_multiple_of(BLOCK_SIZE as u64);
        attr.allocated = (attr.allocated + more).min(most.max(attr.allocated));
    }

    /// What a newly opened file keeps, to be told the errors of background writes by [`Self::take_error`].
    pub fn error_cursor(&self) -> ErrorCursor {
        self.state.lock().errors.cursor()
    }

    /// An error of a background write that the holder of `cursor` has not been told: to be asked at `write`, `fsync` and
    /// `close`. After a [`Self::flush`] or [`Self::sync`] ask this first: an error that they return for bytes that are lost is
    /// recorded here too.
    pub fn take_error(&self, cursor: &mut ErrorCursor) -> Option<IoError> {
        self.state.lock().errors.take(cursor)
    }

    /// The lease on the file, and who makes use of it.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Others are about to look at the file.
    pub fn looked_at(&self) {
        self.state.lock().stamp.seen();
    }

    /// Nothing that the chunkservers hold is remembered any more: others are about to change it.
    pub fn forget_cached(&self) {
        self.invalidate(&mut self.state.lock(), 0);
    }

    /// The file is like `attr`. What is cached stays unless somebody else has written meanwhile. Older news than what is known is ignored.
    pub fn seen(&self, attr: &Attr) {
        let mut state = self.state.lock();
        if attr.changed_at <= state.known.changed_at {
            return;
        }
        let is_ours = state.committing.as_ref().is_some_and(|batch| batch.mtime() == Some(attr.mtime));
        if (attr.size, attr.mtime) == (state.known.size, state.known.mtime) {
            state.known = KnownAttr::of(attr);
        } else if !is_ours {
            // Our own commit may show here before its answer does.
            self.take_over(&mut state, attr);
        }
    }

    /// This mount itself has set the modification time, and `attr` is the answer: it is no change of the contents, and a later
    /// commit of earlier writes must not undo it.
    pub fn times_set(&self, attr: &Attr) {
        let mut state = self.state.lock();
        state.stamp.seen();
        state.changes.set_mtime(attr.mtime);
        if let Some(committing) = &mut state.committing {
            committing.set_mtime(attr.mtime);
        }
        state.confirm_times(attr);
    }

    /// What [`Self::times_set`] was told before the metaserver knew has come to be there: `attr` is its answer.
    pub fn times_confirmed(&self, attr: &Attr) {
        self.state.lock().confirm_times(attr);
    }

    /// Where chunks are, said without being asked.
    pub fn located(&self, chunks: &[ChunkLocation]) {
        self.locations.learn(chunks);
    }

    fn take_over(&self, state: &mut FileState, attr: &Attr) {
        state.known = KnownAttr::of(attr);
        state.stamp.seen();
        state.size = state.least_size();
        state.acks.forget_retained();
        self.invalidate(state, 0);
    }

    /// The file is about to be removed from a directory that keeps what is removed: all that was written to it is still sent. To be said
    /// before, as whoever closes it meanwhile finds it removed, and [discards](Self::discard) it.
    pub fn keep(&self) {
        self.state.lock().activity.kept = true;
    }

    /// The file was removed and nobody has it open: what is not sent never will be, unless it is to be [kept](Self::keep).
    pub fn discard(&self) {
        if !self.state.lock().activity.kept {
            self.discard_for_good();
        }
    }

    /// The metaserver does not know the file any more.
    pub(super) fn discard_for_good(&self) {
        let mut state = self.state.lock();
        let before = state.pieces.charged();
        state.pieces.discard_runs();
        self.shared.write_back.give_back(before - state.pieces.charged());
        state.acks.discard();
        state.changes = Changes::default();
        state.activity.discarded = true;
        self.invalidate(&mut state, 0);
        self.landed.notify_waiters();
    }

    /// Somebody has it open again: it was restored from the trash, or is read there.
    pub(super) fn reopened(&self) {
        self.state.lock().activity.discarded = false;
    }

    /// The session in which it was written is gone, and others may have the file now: what was not sent and committed must not
    /// be any more. Those who wrote it are told.
    pub fn abandon(&self) {
        let mut state = self.state.lock();
        std::mem::take(&mut *self.fence.lock()).cancel();
        state.fenced = state.pieces.flights().collect();
        let before = state.pieces.charged();
        state.pieces.discard_runs();
        self.shared.write_back.give_back(before - state.pieces.charged());
        state.acks.discard();
        (state.changes, state.committing) = (Changes::default(), None);
        state.errors.record(IoError::Fenced(self.inode));
        state.size = state.known.size;
        self.invalidate(&mut state, 0);
        self.landed.notify_waiters();
    }

    /// Cached bytes and locations from `from` on are not to be used any more.
    pub(super) fn invalidate(&self, state: &mut FileState, from: u64) {
        state.fetches.disown(&(from..u64::MAX));
        self.shared.cache.cut(self.inode, from..u64::MAX);
        if let Some(first) = ChunkIndex::of_offset(from) {
            self.locations.forget_from(first);
            state.confirmed.forget_from(first);
        }
    }

    /// Acknowledged bytes leave the layers above the cache: from now on the chunkservers' word counts, and it is this.
    pub(super) fn let_go(&self, state: &mut FileState, parts: Parts) {
        for (start, data) in parts {
            state.fetches.disown(&(start..start + data.len() as u64));
            self.shared.cache.put(self.inode, start, data);
        }
    }

    /// A reference for a task.
    pub(super) fn me(&self) -> Arc<FileIo> {
        self.me.upgrade().expect("whoever calls holds a reference")
    }

    /// Background work looks after the file until nothing is left to do.
    pub(super) fn activate(&self, state: &mut FileState) {
        if !state.activity.active {
            state.activity.active = true;
            self.shared.files.activate(self.me());
        }
    }
}

impl FileState {
    /// Newer attributes in which this mount has changed no more than times.
    fn confirm_times(&mut self, attr: &Attr) {
        if attr.changed_at > self.known.changed_at && attr.size == self.known.size {
            self.known = KnownAttr::of(attr);
        }
    }

    pub(super) fn is_dirty(&self) -> bool {
        !self.pieces.is_empty() || self.changes.is_due() || self.committing.is_some()
    }

    /// The smallest size that agrees with the metaserver and with what was written here.
    pub(super) fn least_size(&self) -> u64 {
        let committing = self.committing.as_ref().map_or(0, Changes::size);
        self.known.size.max(self.changes.size()).max(committing).max(self.pieces.end().unwrap_or(0))
    }

    /// A time that is `committed` need not be committed again, once nothing that was written is on its way any more.
    pub(super) fn forget_times(&mut self, committed: Option<Timestamp>) {
        if let Some(mtime) = committed
            && self.pieces.is_empty()
        {
            self.changes.committed(mtime, self.known.size);
        }
    }

    /// The metaserver has the time of the last write, and is to be told nothing else.
    pub(super) fn times_are_known(&self) -> bool {
        self.changes.is_nothing_but_time(self.known.mtime, self.known.size) && self.committing.is_none()
    }

    fn mtime(&self) -> Option<Timestamp> {
        self.changes.mtime().or_else(|| self.committing.as_ref().and_then(Changes::mtime))
    }

    fn kills_suid_sgid(&self) -> bool {
        self.changes.kills_suid_sgid() || self.committing.as_ref().is_some_and(Changes::kills_suid_sgid)
    }

    fn uncommitted_bytes(&self) -> u64 {
        let committing = self.committing.as_ref().map_or(0, Changes::bytes);
        self.pieces.charged() as u64 + self.changes.bytes() + committing
    }
}

impl KnownAttr {
    pub(super) fn of(attr: &Attr) -> Self {
        Self { size: attr.size, mtime: attr.mtime, changed_at: attr.changed_at }
    }
}

impl Drop for FileIo {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        // Nothing is left here unless the mount was torn down.
        self.shared.write_back.give_back(state.pieces.charged());
        if self.shared.files.gone(self.inode) {
            self.shared.cache.remove(self.inode);
        }
    }
}

impl std::fmt::Debug for FileIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileIo").field("inode", &self.inode).finish_non_exhaustive()
    }
}
