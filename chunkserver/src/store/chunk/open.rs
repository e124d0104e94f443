//! Opening the file of a chunk that there is.

use std::io;
use std::sync::Arc;

use cairn_proto::chunk::{BLOCKS_PER_CHUNK, CHUNK_SIZE};
use cairn_proto::chunkserver::ChunkState;
use cairn_proto::error::ChunkError;
use cairn_proto::ids::ChunkHandle;
use parking_lot::Mutex;

use super::{ChunkFiles, Known, Synced};
use crate::store::disk::{DiskFile, OpenMode, Part};
use crate::store::header::{
    DATA_OFFSET, ENTRY_BYTES, Entry, FIRST_READ_BYTES, HeaderError, Slots, TABLE_OFFSET, decode_entries, decode_slots,
};
use crate::store::shared::{Shared, disk_error};
use crate::store::table::block_count;

/// A header that was read.
#[derive(Debug)]
pub struct ReadHeader {
    pub slots: Slots,
    pub entries: Vec<Entry>,
}

/// Why a header could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadHeaderError {
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Content(#[from] HeaderError),
}

/// Reads the slots, and as much of the table as there can be of sums that matter.
///
/// Of a clean chunk those of its blocks: behind them all are holes. Of a dirty one all: a crash may have left entries of blocks that
/// were never written.
pub fn read_header(file: &dyn DiskFile, table: impl FnOnce(&Slots) -> bool) -> Result<ReadHeader, ReadHeaderError> {
    let mut bytes = vec![0; FIRST_READ_BYTES];
    let got = file.read_at(&mut bytes, 0)?;
    bytes.truncate(got);
    let slots = decode_slots(&bytes)?;
    if !table(&slots) {
        return Ok(ReadHeader { slots, entries: Vec::new() });
    }
    let blocks = match slots.header.state {
        ChunkState::Clean => block_count(slots.header.length) as usize,
        ChunkState::Dirty => BLOCKS_PER_CHUNK,
    };
    let len = TABLE_OFFSET + blocks * ENTRY_BYTES;
    if got == FIRST_READ_BYTES && len > got {
        bytes.resize(len, 0);
        let more = file.read_at(&mut bytes[got..], got as u64)?;
        bytes.truncate(got + more);
    }
    let entries = decode_entries(bytes.get(TABLE_OFFSET..).unwrap_or_default()).collect();
    Ok(ReadHeader { slots, entries })
}

impl ChunkFiles {
    /// Opens a chunk that the index knows. One that an earlier run left dirty is scanned: see [`super::scan`].
    pub fn open(shared: &Arc<Shared>, handle: ChunkHandle) -> Result<Self, ChunkError> {
        let entry = shared.index.get(handle).ok_or(ChunkError::NotFound(handle))?;
        let fail = |error: &io::Error| disk_error("open a chunk", Some(handle), error);
        let volume = shared.volumes.get(entry.stat.disk).ok_or(ChunkError::NotFound(handle))?;
        let directory = volume.make_dir(handle).map_err(|e| fail(&e))?;
        let file = match volume.disk.open(&volume.layout.chunk(handle), OpenMode::Existing) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(shared.lost(handle)),
            Err(error) => return Err(fail(&error)),
        };
        let file: Arc<dyn DiskFile> = file.into();
        // Missing data of a dirty chunk was never synced; that of a clean one reads as holes, which its sums contradict.
        let data = Part::new(file.clone(), DATA_OFFSET);
        let ReadHeader { slots, entries } = read_header(&*file, |_| true).map_err(|error| {
            tracing::error!(chunk = handle.0, %error, "a header cannot be read any more");
            let damaged = shared.damage.note(handle, 0, &shared.changes);
            match error {
                ReadHeaderError::Io(error) => ChunkError::Disk(format!("{handle}: {error}")),
                ReadHeaderError::Content(_) => damaged,
            }
        })?;
        let mut header = slots.header;
        if header.state == ChunkState::Dirty {
            header.length = data.length().map_err(|e| fail(&e))?.min(CHUNK_SIZE) as u32;
        }
        let known = Known {
            sequence: slots.sequence,
            header,
            table: entries.iter().map(|entry| entry.sum).collect(),
            doubts: Default::default(),
            stale: None,
        };
        if header.state == ChunkState::Clean && known.table.allocated() != header.allocated {
            // What is missing of a table reads as holes, and so does what is missing of a file: they would agree.
            tracing::error!(chunk = handle.0, "the table of a clean chunk is not whole");
            return Err(shared.damage.note(handle, 0, &shared.changes));
        }
        let files = Self {
            shared: shared.clone(),
            volume: volume.clone(),
            file,
            data,
            name: directory.enter(),
            known: Mutex::new(known),
            written: 1.into(),
            // Of a dirty chunk nobody knows what reached the disk.
            synced: Mutex::new(match header.state {
                ChunkState::Dirty => Synced::default(),
                ChunkState::Clean => Synced { writes: 1, name: true, slot: None },
            }),
            failed: false.into(),
        };
        if header.state == ChunkState::Dirty && !entry.scanned {
            files.scan(&entries).map_err(|e| fail(&e))?;
        }
        files.publish();
        Ok(files)
    }
}
