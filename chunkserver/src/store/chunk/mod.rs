//! One chunk's file, open, and what it says.
//!
//! # What is on disk, and in which order it gets there
//!
//! The file begins with a header ([`super::header`]): two slots that say what the chunk is, and a table with two sums for each
//! block, what it is now and what it was before. Behind it are the chunk's bytes at their offsets, sparse. One file for both: a
//! small write with its sync then costs one flush of the disk, and a new chunk one name and one inode.
//!
//! A chunk is **clean** or **dirty**. Clean: data, table and slot are on stable storage and agree; whoever reads a block that
//! does not match its sum has found damage. Dirty: somebody writes, or died writing. These orders make it so:
//!
//! * **Creating.** The header first (dirty), then data. A file without a byte in it is what a crash left of a creation, and is
//!   removed at the next start.
//! * **First write to a clean chunk.** A slot that says dirty is made durable, and only then is any byte touched. So a clean
//!   chunk never holds bytes that a crash could have mixed.
//! * **Each write.** The table entries `(new sum, old sum)` first, then the data; neither is synced. Killed in between, or
//!   half way through the data, each block still matches one of the two sums: the kernel keeps what was written, and writes
//!   pages whole. So a killed server knows every block of its chunks, and nothing is in doubt.
//! * **Sync.** `fdatasync`, once for a new chunk of the directory. Only then is it acknowledged. After a power
//!   cut, what was synced and not written since is there. A block that was written since may be there as any of its later
//!   selves, or torn; its entry may be that of another time. If it matches one of its two sums it is taken for that; if
//!   not, it is **in doubt**.
//! * **Handing back.** Sync, and after it, by a write of its own, a slot that says clean. One sync for both could bring the
//!   slot to the disk and not the table. The mark itself is not synced: a power cut that takes it leaves a dirty chunk with
//!   every byte in its place, which is reconciled. The next slot takes the place of a mark that was not synced, so that of the
//!   two the one that is surely on disk stays: see [`slot`].
//!
//! A chunk found dirty is scanned when it is first opened after a start, never all of them at the start. A block in doubt
//! answers as damaged, so that readers go elsewhere, until it is written whole, or a reconciliation gets it from a copy
//! that knows better. Where no copy does, the bytes that are there are taken and summed anew: only bytes that were not
//! synced can be in doubt, and of those POSIX promises nothing.
//!
//! A clean chunk whose table does not add up to what its slot says is damaged as a whole: what was cut off of a table reads as
//! holes, and so does what was cut off of the bytes, and they would agree.
//!
//! # In memory
//!
//! [`ChunkFiles`] is what every operation works on, all of them blocking. It does not guard against two writes of the same
//! block, nor against a write beside a change of state: [`super::live`] does.

mod accept;
mod create;
mod durable;
mod open;
mod read;
mod scan;
mod slot;
mod verify;
mod write;
mod zero;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cairn_proto::chunk::{BlockSum, ChunkId};
use cairn_proto::chunkserver::{ChunkStat, ChunkState};
use cairn_proto::error::ChunkError;
use cairn_proto::ids::{ChunkHandle, DiskNumber};
use parking_lot::Mutex;

use super::disk::{DiskFile, Part};
use super::header::Header;
use super::names::Name;
use super::shared::{Shared, disk_error};
use super::table::SumTable;
use super::volume::Volume;

pub use durable::Covered;
pub use open::{ReadHeader, ReadHeaderError, read_header};
pub use read::ReadAttempt;
pub use write::Piece;

/// An open chunk. See the module's text for what is on disk.
#[derive(Debug)]
pub struct ChunkFiles {
    shared: Arc<Shared>,
    volume: Arc<Volume>,
    /// All of it, of which only the header is written by this name.
    file: Arc<dyn DiskFile>,
    data: Part,
    name: Name,
    known: Mutex<Known>,
    /// Counts writes, each before it is acknowledged.
    written: AtomicU64,
    synced: Mutex<Synced>,
    /// A sync failed: the kernel may have dropped bytes that it had taken, and will not say so again.
    failed: AtomicBool,
}

/// What the files say.
#[derive(Debug)]
struct Known {
    /// Sequence number of the newest slot.
    sequence: u64,
    header: Header,
    table: SumTable,
    /// Blocks that match neither of their sums, and what they would sum to as they are.
    doubts: BTreeMap<u32, BlockSum>,
    /// Entries that the file may lag behind on, after a write that failed.
    stale: Option<Range<u32>>,
}

/// What is on stable storage.
#[derive(Debug, Default)]
struct Synced {
    /// Value of the write counter up to which everything is.
    writes: u64,
    /// The file's name is.
    name: bool,
    /// Number of the slot that surely is; `None` for what was created or opened and not synced since.
    slot: Option<u64>,
}

impl ChunkFiles {
    pub fn id(&self) -> ChunkId {
        self.known.lock().header.id
    }

    pub fn handle(&self) -> ChunkHandle {
        self.id().handle
    }

    pub fn stat(&self) -> ChunkStat {
        self.known.lock().stat(self.volume.number)
    }

    pub fn state(&self) -> ChunkState {
        self.known.lock().header.state
    }

    /// The sums of all blocks as they are: of blocks in doubt, what their bytes sum to.
    pub fn sums(&self) -> Vec<BlockSum> {
        let known = self.known.lock();
        let mut table = known.table.clone();
        known.doubts.iter().for_each(|(block, sum)| table.set(*block, *sum));
        table.trimmed()
    }

    /// Blocks in doubt, ascending.
    pub fn doubts(&self) -> Vec<u32> {
        self.known.lock().doubts.keys().copied().collect()
    }

    pub fn is_in_doubt(&self, block: u32) -> bool {
        self.known.lock().doubts.contains_key(&block)
    }

    /// The disk that it is on.
    pub fn volume(&self) -> &Arc<Volume> {
        &self.volume
    }

    /// Whether all that matters is on disk or in the index, so that this can be dropped and opened again.
    pub fn can_close(&self) -> bool {
        !self.volume.works() || self.known.lock().stale.is_none() && !self.failed.load(Ordering::Acquire)
    }

    /// Has the index and the metaservers know of a change.
    fn publish(&self) {
        let known = self.known.lock();
        let (stat, scanned) = (known.stat(self.volume.number), known.doubts.is_empty());
        // Under the lock, so that the index ends with the newest of two stats.
        self.shared.publish(stat, scanned);
    }

    /// Turns changes down after a failed sync: what the files show may not be what the disk has, and they could not be made
    /// durable on top of it. Reading goes on: it is verified.
    fn check_usable(&self) -> Result<(), ChunkError> {
        if self.failed.load(Ordering::Acquire) {
            return Err(ChunkError::Disk(format!("{}: an earlier sync failed, bytes may be lost", self.handle())));
        }
        Ok(())
    }

    fn disk_error(&self, what: &'static str, error: &std::io::Error) -> ChunkError {
        disk_error(what, Some(self.handle()), error)
    }
}

impl Known {
    fn stat(&self, disk: DiskNumber) -> ChunkStat {
        ChunkStat { allocated: self.table.allocated(), ..self.header.stat(disk) }
    }

    /// Remembers that the file's entries of `blocks` are not what they should be.
    fn mark_stale(&mut self, blocks: Range<u32>) {
        self.stale = Some(match self.stale.take() {
            Some(stale) => stale.start.min(blocks.start)..stale.end.max(blocks.end),
            None => blocks,
        });
    }
}
