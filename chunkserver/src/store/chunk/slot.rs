//! Writing a slot: state, version, length.
//!
//! A slot that tears must leave one behind that counts. So the slot that the disk is known to have is never written over: the
//! next one goes into the other place, over a mark that was not synced where there is one.
//!
//! Nobody may write to the chunk meanwhile: see [`super::super::live`].

use cairn_proto::chunkserver::ChunkState;
use cairn_proto::error::ChunkError;
use cairn_proto::ids::ChunkVersion;

use super::ChunkFiles;
use crate::failpoint::{AFTER_HEADER_DIRTY, BEFORE_CLEAN, crash_point};
use crate::store::disk::write_all_at;
use crate::store::header::{Header, encode_slot};

/// When a slot has to be on stable storage.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Due {
    /// Before anything else is done to the chunk.
    Now,
    /// Whenever the kernel gets to it.
    Sometime,
}

impl ChunkFiles {
    /// Makes the chunk ready for writers of `version`: dirty, and of that version if its own is lower. Durable on return.
    pub fn admit_writers(&self, version: ChunkVersion) -> Result<(), ChunkError> {
        self.check_usable()?;
        self.change(Due::Now, |header| {
            header.state = ChunkState::Dirty;
            header.id.version = header.id.version.max(version);
        })?;
        crash_point(AFTER_HEADER_DIRTY);
        Ok(())
    }

    /// Raises the version, durably. A higher one stays.
    pub fn raise_version(&self, version: ChunkVersion) -> Result<(), ChunkError> {
        self.change(Due::Now, |header| header.id.version = header.id.version.max(version))
    }

    /// Says that the chunk is clean. Everything in it has been synced before.
    ///
    /// The mark itself is not synced: without it the chunk is dirty, which it may always be.
    pub(super) fn mark_clean(&self) -> Result<(), ChunkError> {
        crash_point(BEFORE_CLEAN);
        self.change(Due::Sometime, |header| header.state = ChunkState::Clean)
    }

    /// Writes the header as `edit` makes it into the next slot, unless it stays the same.
    fn change(&self, due: Due, edit: impl FnOnce(&mut Header)) -> Result<(), ChunkError> {
        let known = self.known.lock();
        let (mut header, newest) = (known.header, known.sequence);
        edit(&mut header);
        if header == known.header {
            return Ok(());
        }
        header.allocated = known.table.allocated();
        // Readers take this lock for a moment on the threads that serve the network: not across a sync.
        drop(known);
        let sequence = self.next_sequence(newest)?;
        let (offset, slot) =
            encode_slot(sequence, &header).map_err(|e| ChunkError::Disk(format!("cannot encode a header: {e}")))?;
        write_all_at(&*self.file, &slot, offset).map_err(|e| self.disk_error("write a header", &e.error))?;
        if due == Due::Now {
            self.sync_slot(sequence)?;
        }
        let mut known = self.known.lock();
        known.sequence = sequence;
        known.header = header;
        drop(known);
        self.publish();
        Ok(())
    }

    /// The number of the slot to write after `newest`, and with it its place.
    fn next_sequence(&self, newest: u64) -> Result<u64, ChunkError> {
        let on_disk = self.synced.lock().slot;
        match on_disk {
            Some(slot) if slot == newest => Ok(newest + 1),
            // The newest is a mark that was not synced. The one on disk says the same, apart from "clean".
            Some(_) => Ok(newest + 2),
            // As an earlier user of the files left it. It may say more than the other one, and has to stay.
            None => {
                self.sync_slot(newest)?;
                Ok(newest + 1)
            }
        }
    }

    /// Makes the newest slot durable, which is numbered `sequence`.
    fn sync_slot(&self, sequence: u64) -> Result<(), ChunkError> {
        self.file.sync_data().map_err(|e| self.sync_failed(&e))?;
        self.synced.lock().slot = Some(sequence);
        Ok(())
    }
}
