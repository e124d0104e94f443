//! The chunk store: chunks in the data directories of a server, what is known of them, and every operation on them.
//!
//! [`Store`] is its face, asynchronous and safe to use from many tasks at once. From the bottom up: [`disk`] is where bytes
//! become durable; [`layout`], [`header`] and [`chunk`] say what is on disk, in which order it gets there, and why in that
//! order; [`live`] keeps operations on one chunk apart; [`load`] reads the headers at start. [`data_dir`] says whose
//! directories they are.
//!
//! A chunk is on one disk, which is a [`volume`]; [`volumes`] says which one a new chunk goes to. Each fails by itself ([`health`], [`failing`]).
//!
//! Nothing here knows of other servers: see [`crate::replication`].

mod access;
pub mod changes;
mod chunk;
mod damage;
pub mod data_dir;
pub mod disk;
mod failing;
mod hand_back;
mod header;
mod health;
mod incoming;
mod index;
mod io;
mod layout;
mod live;
mod load;
mod names;
mod novel;
mod probe;
mod range_lock;
pub(crate) mod seal;
mod shared;
mod space;
mod state;
mod table;
mod volume;
mod volumes;

#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::sync::Arc;

use cairn_proto::chunkserver::ChunkStat;
use cairn_proto::cluster::Space;
use cairn_proto::disk::DiskStatus;
use cairn_proto::error::ChunkError;
use cairn_proto::ids::{ChunkHandle, ClusterId, DiskNumber, ServerId};

pub use access::{LockedRange, check_same_version};
use changes::Feed;
pub use chunk::Piece;
use damage::DamageLog;
#[cfg(test)]
pub use header::DATA_OFFSET;
pub use incoming::Incoming;
pub use layout::Layout;
use live::LiveChunks;
pub use load::{LoadError, LoadReport};
use shared::Shared;
pub use table::blocks_of;
pub use volume::Place;
use volume::Volume;
use volumes::Volumes;

/// What a store allows itself.
#[derive(Clone, Copy, Debug)]
pub struct StoreLimits {
    /// Bytes of the file system that chunks never get.
    pub reserve_bytes: u64,
    /// Chunks kept open at most, a file each.
    pub open_chunks: NonZeroUsize,
}

/// The chunks of one server, on all of its disks. Clones share them.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
    live: Arc<LiveChunks>,
}

impl Store {
    /// Reads all headers; blocks for as long as that takes. `cluster` is what the directories belong to, if anything yet.
    pub fn open(
        places: Vec<Place>,
        server: ServerId,
        cluster: Option<ClusterId>,
        limits: StoreLimits,
    ) -> Result<(Self, LoadReport), LoadError> {
        let numbers = (0..=u8::MAX).map(DiskNumber);
        let volumes = numbers.zip(places).map(|(number, place)| Volume::new(number, place, limits.reserve_bytes));
        let shared = Shared::new(Volumes::new(volumes.collect()), DamageLog::new(server));
        if let Some(cluster) = cluster {
            let _ = shared.cluster.set(cluster);
        }
        let report = load::load(&shared)?;
        let store = Self { shared: Arc::new(shared), live: Arc::new(LiveChunks::new(limits.open_chunks)) };
        Ok((store, report))
    }

    /// Chunks made from now on belong to `cluster`. Until then there are none to be made. All chunks from `next` on are given out after
    /// this; only the first call's counts.
    pub fn join(&self, cluster: ClusterId, next: ChunkHandle) {
        let _ = self.shared.cluster.set(cluster);
        self.shared.novel.begin(next);
    }

    /// What changes from now on.
    pub fn subscribe(&self) -> Arc<Feed> {
        self.shared.changes.subscribe()
    }

    /// Up to `most` changes of a feed.
    pub fn take_changes(&self, feed: &Feed, most: usize) -> Vec<cairn_proto::cluster::ChunkChange> {
        feed.take(most, &self.shared.index)
    }

    /// All chunks, in no order.
    pub fn all(&self) -> Vec<ChunkStat> {
        self.shared.index.all()
    }

    /// All chunks, for a report after which `feed` tells of what changes, and of all damage.
    pub fn begin_report(&self, feed: &Feed) -> Vec<ChunkStat> {
        feed.restart(self.shared.damage.all());
        self.all()
    }

    /// The chunks behind `after` in the order of their handles, `most` at most, and the bytes of all behind it.
    pub fn chunks_after(&self, after: ChunkHandle, most: usize) -> (Vec<ChunkHandle>, u64) {
        self.shared.index.after(after, most)
    }

    pub fn chunk_count(&self) -> usize {
        self.shared.index.len()
    }

    pub fn stat(&self, handle: ChunkHandle) -> Result<ChunkStat, ChunkError> {
        self.shared.index.stat(handle).ok_or(ChunkError::NotFound(handle))
    }

    /// Of all disks that work.
    pub fn space(&self) -> Space {
        self.shared.volumes.space(&self.shared.index)
    }

    /// Of all disks, by their numbers.
    pub fn disks(&self) -> Vec<DiskStatus> {
        self.shared.volumes.statuses(&self.shared.index)
    }

    /// A copy that cannot be opened or read at all is a damaged one.
    pub fn note_unreadable(&self, handle: ChunkHandle) {
        self.shared.damage.note_all(handle, &[0], &self.shared.changes);
    }

    /// Damaged blocks found since the start.
    pub fn damaged_blocks(&self) -> u64 {
        self.shared.damage.found()
    }
}
