//! Writing a slot: state, version, length.
//!
//! Nobody may write to the chunk meanwhile: see [`super::super::live`].

use cairn_proto::chunkserver::ChunkState;
use cairn_proto::error::ChunkError;
use cairn_proto::ids::ChunkVersion;

use super::ChunkFiles;
use crate::failpoint::{AFTER_HEADER_DIRTY, crash_point};
use crate::store::disk::write_all_at;
use crate::store::header::{Header, encode_slot};

impl ChunkFiles {
    /// Makes the chunk ready for writers of `version`: dirty, and of that version if its own is lower. Durable on return.
    pub fn admit_writers(&self, version: ChunkVersion) -> Result<(), ChunkError> {
        self.check_usable()?;
        self.change(|header| {
            header.state = ChunkState::Dirty;
            header.id.version = header.id.version.max(version);
        })?;
        crash_point(AFTER_HEADER_DIRTY);
        Ok(())
    }

    /// Raises the version, durably. A higher one stays.
    pub fn raise_version(&self, version: ChunkVersion) -> Result<(), ChunkError> {
        self.change(|header| header.id.version = header.id.version.max(version))
    }

    /// Says that the chunk is clean. Everything in it has been synced before.
    pub(super) fn mark_clean(&self) -> Result<(), ChunkError> {
        self.change(|header| header.state = ChunkState::Clean)
    }

    /// Writes the header as `edit` makes it into the next slot, and syncs it, unless it stays the same.
    fn change(&self, edit: impl FnOnce(&mut Header)) -> Result<(), ChunkError> {
        let known = self.known.lock();
        let mut header = known.header;
        edit(&mut header);
        if header == known.header {
            return Ok(());
        }
        header.allocated = known.table.allocated();
        let sequence = known.sequence + 1;
        // Readers take this lock for a moment on the threads that serve the network: not across a sync.
        drop(known);
        let (offset, slot) =
            encode_slot(sequence, &header).map_err(|e| ChunkError::Disk(format!("cannot encode a header: {e}")))?;
        write_all_at(&*self.header, &slot, offset).map_err(|e| self.disk_error("write a header", &e.error))?;
        self.header.sync_data().map_err(|e| self.sync_failed(&e))?;
        let mut known = self.known.lock();
        known.sequence = sequence;
        known.header = header;
        drop(known);
        self.publish();
        Ok(())
    }
}
