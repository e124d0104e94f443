//! What all chunks of a store have in common.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use cairn_proto::chunkserver::ChunkStat;
use cairn_proto::error::ChunkError;
use cairn_proto::ids::{ChunkHandle, ClusterId};

use super::changes::Changes;
use super::damage::DamageLog;
use super::disk::is_full;
use super::index::{Entry, Index};
use super::novel::Novel;
use super::volume::Volume;
use super::volumes::Volumes;

#[derive(Debug)]
pub struct Shared {
    pub volumes: Volumes,
    pub cluster: OnceLock<ClusterId>,
    pub index: Index,
    pub changes: Changes,
    pub damage: DamageLog,
    /// Chunks that writes may create.
    pub novel: Novel,
    /// Copies that were begun to be fetched.
    copies: AtomicU64,
}

impl Shared {
    pub fn new(volumes: Volumes, damage: DamageLog) -> Self {
        Self {
            volumes,
            cluster: OnceLock::new(),
            index: Index::default(),
            changes: Changes::default(),
            damage,
            novel: Novel::default(),
            copies: AtomicU64::new(0),
        }
    }

    /// Enters a chunk as it is now, and has it reported if that is news.
    pub fn publish(&self, stat: ChunkStat, scanned: bool) {
        if self.index.put(Entry { stat, scanned }) {
            self.changes.touch(stat.id.handle);
        }
    }

    /// A chunk that was here is gone, and nobody asked for that. What is known of it goes, and the metaservers are told.
    pub fn lost(&self, handle: ChunkHandle) -> ChunkError {
        // First: or else a write in between could make it anew.
        self.novel.lost(handle);
        self.index.remove(handle);
        self.damage.forget(handle);
        self.changes.touch(handle);
        tracing::error!(chunk = handle.0, "the file of a chunk is gone");
        ChunkError::NotFound(handle)
    }

    /// A number that no other copy being fetched has.
    pub fn next_copy(&self) -> u64 {
        self.copies.fetch_add(1, Ordering::Relaxed)
    }

    /// The disk that a chunk is on.
    pub fn volume_of(&self, handle: ChunkHandle) -> Option<&Arc<Volume>> {
        self.volumes.get(self.index.stat(handle)?.disk)
    }
}

/// What to answer when the disk fails. Logged here, where it is known what was tried; a full disk is no failure.
pub fn disk_error(what: &'static str, handle: Option<ChunkHandle>, error: &io::Error) -> ChunkError {
    if is_full(error) {
        return ChunkError::NoSpace;
    }
    match handle {
        Some(handle) => {
            tracing::error!(chunk = handle.0, %error, "cannot {what}");
            ChunkError::Disk(format!("{handle}: cannot {what}: {error}"))
        }
        None => {
            tracing::error!(%error, "cannot {what}");
            ChunkError::Disk(format!("cannot {what}: {error}"))
        }
    }
}
