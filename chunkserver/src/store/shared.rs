//! What all chunks of a store have in common.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use cairn_proto::chunkserver::ChunkStat;
use cairn_proto::error::ChunkError;
use cairn_proto::ids::{ChunkHandle, ClusterId};
use parking_lot::Mutex;

use super::changes::Changes;
use super::damage::DamageLog;
use super::disk::{Disk, is_full};
use super::index::{Entry, Index};
use super::layout::Layout;
use super::names::Directory;
use super::novel::Novel;
use super::space::SpaceGauge;

#[derive(Debug)]
pub struct Shared {
    pub disk: Arc<dyn Disk>,
    pub layout: Layout,
    pub cluster: OnceLock<ClusterId>,
    pub index: Index,
    pub changes: Changes,
    pub damage: DamageLog,
    pub space: SpaceGauge,
    /// Chunks that writes may create.
    pub novel: Novel,
    /// Directories that are known to exist, so that they are made once.
    dirs: Mutex<HashMap<PathBuf, Arc<Directory>>>,
    /// Copies that were begun to be fetched.
    copies: AtomicU64,
}

impl Shared {
    pub fn new(disk: Arc<dyn Disk>, layout: Layout, damage: DamageLog, space: SpaceGauge) -> Self {
        Self {
            disk,
            layout,
            cluster: OnceLock::new(),
            index: Index::default(),
            changes: Changes::default(),
            damage,
            space,
            novel: Novel::default(),
            dirs: Mutex::default(),
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

    /// The directory of a chunk's files, made where it is missing.
    pub fn make_dir(&self, handle: ChunkHandle) -> io::Result<Arc<Directory>> {
        let path = self.layout.dir(handle);
        if let Some(directory) = self.dirs.lock().get(&path) {
            return Ok(directory.clone());
        }
        self.disk.create_dir(&path)?;
        Ok(self.dirs.lock().entry(path.clone()).or_insert_with(|| Arc::new(Directory::new(path))).clone())
    }

    /// A number that no other copy being fetched has.
    pub fn next_copy(&self) -> u64 {
        self.copies.fetch_add(1, Ordering::Relaxed)
    }

    /// Turns down what there is no room for.
    pub fn admit(&self, bytes: u64) -> Result<(), ChunkError> {
        match self.space.admits(bytes) {
            Ok(true) => Ok(()),
            Ok(false) => Err(ChunkError::NoSpace),
            Err(error) => Err(disk_error("ask for free space", None, &error)),
        }
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
