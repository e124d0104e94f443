//! Making things durable: sync, and handing a chunk back.

use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering;

use cairn_proto::error::ChunkError;

use super::{ChunkFiles, Synced};
use crate::failpoint::{AFTER_SYNC, crash_point};
use crate::store::disk::{PartialWrite, Task, all_at_once, write_all_at};
use crate::store::header::{Entry, encode_entries, entry_offset};

/// What a sync covers.
#[derive(Clone, Copy, Debug)]
pub struct Covered {
    writes: u64,
    slot: u64,
}

impl ChunkFiles {
    /// All writes that have returned are on stable storage, with their sums, when this returns.
    ///
    /// Fails where blocks are in doubt: they may have been acknowledged as something else. Several at once share their
    /// `fdatasync`s.
    pub fn sync(&self) -> Result<(), ChunkError> {
        let mut synced = self.synced.lock();
        let covered = self.begin_sync()?;
        let (bytes, name) = (synced.writes < covered.writes, !synced.name);
        self.sync_file(bytes, name).map_err(|e| self.sync_failed(&e))?;
        synced.name = true;
        if bytes {
            synced.cover(covered);
        }
        crash_point(AFTER_SYNC);
        Ok(())
    }

    /// What a sync that begins now is going to cover. Fails where none may be said to have succeeded.
    pub fn begin_sync(&self) -> Result<Covered, ChunkError> {
        self.check_usable()?;
        self.check_no_doubts()?;
        Ok(Covered { writes: self.written.load(Ordering::Acquire), slot: self.known.lock().sequence })
    }

    /// Makes the chunk clean after a sync of the whole file system that began after `covered` was taken. Nobody has written
    /// meanwhile.
    pub fn hand_back_synced(&self, covered: Covered) -> Result<(), ChunkError> {
        let mut synced = self.synced.lock();
        // Another sync may have been told meanwhile what this one would be told otherwise.
        self.check_usable()?;
        self.file.check_written().map_err(|e| self.sync_failed(&e))?;
        synced.name = true;
        synced.cover(covered);
        drop(synced);
        self.mark_clean()
    }

    /// Syncs the file, and for a new chunk the directory, at the same time: one commit of the file system's journal serves both.
    fn sync_file(&self, bytes: bool, name: bool) -> io::Result<()> {
        let mut tasks: Vec<Task> = Vec::new();
        if bytes {
            let file = self.file.clone();
            tasks.push(Box::new(move || file.sync_data()));
        }
        if name && !self.name.is_durable() {
            let (disk, name) = (self.volume.disk.clone(), self.name.clone());
            tasks.push(Box::new(move || name.sync(&*disk)));
        }
        all_at_once(tasks)
    }

    /// Syncs, and then makes the chunk clean. Nobody may write meanwhile.
    pub fn hand_back(&self) -> Result<(), ChunkError> {
        self.flush_stale_entries()?;
        self.sync()?;
        self.mark_clean()
    }

    /// Whether entries on disk lag behind, so that a sync must have them written first.
    pub fn has_stale_entries(&self) -> bool {
        self.known.lock().stale.is_some()
    }

    /// Writes the entries that the file may lag behind on. Nobody may write meanwhile.
    pub fn flush_stale_entries(&self) -> Result<(), ChunkError> {
        self.flush_stale().map_err(|e| self.disk_error("write sums", &e.error))
    }

    pub(super) fn flush_stale(&self) -> Result<(), PartialWrite> {
        let Some(blocks) = self.known.lock().stale.clone() else { return Ok(()) };
        let entries: Vec<Entry> = {
            let known = self.known.lock();
            let entry = |block| known.table.get(block);
            blocks.clone().map(|block| Entry { sum: entry(block), previous: entry(block) }).collect()
        };
        self.write_entries(&blocks, &entries)?;
        self.known.lock().stale = None;
        self.written.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    pub(super) fn write_entries(&self, blocks: &Range<u32>, entries: &[Entry]) -> Result<(), PartialWrite> {
        debug_assert_eq!(blocks.len(), entries.len());
        write_all_at(&*self.file, &encode_entries(entries.iter().copied()), entry_offset(blocks.start))
    }

    /// The first block in doubt, as an error.
    pub(super) fn check_no_doubts(&self) -> Result<(), ChunkError> {
        let known = self.known.lock();
        match known.doubts.first_key_value() {
            Some((block, _)) => Err(ChunkError::DamagedOnDisk { handle: known.header.id.handle, block: *block }),
            None => Ok(()),
        }
    }

    /// After a failed sync the kernel forgets which pages it could not write. So this chunk is never said to be synced again
    /// by this process; the next start scans it.
    pub(super) fn sync_failed(&self, error: &io::Error) -> ChunkError {
        self.failed.store(true, Ordering::Release);
        self.shared.changes.damaged(self.handle(), 0);
        tracing::error!(chunk = self.handle().0, %error, "a sync failed: this copy is given up");
        ChunkError::Disk(format!("{}: a sync failed: {error}", self.handle()))
    }
}

impl Synced {
    /// The file was synced.
    fn cover(&mut self, covered: Covered) {
        self.writes = self.writes.max(covered.writes);
        self.slot = Some(covered.slot);
    }
}
