//! What to do when stored bytes do not match their sum: log it once, count it, tell the metaservers.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use cairn_proto::error::ChunkError;
use cairn_proto::ids::{ChunkHandle, ServerId};
use parking_lot::Mutex;

use super::changes::Changes;

/// Damaged blocks that are remembered so as to log each once, at most.
const MAX_REMEMBERED: usize = 65_536;

/// The damaged blocks of this server.
#[derive(Debug)]
pub struct DamageLog {
    server: ServerId,
    known: Mutex<HashSet<(ChunkHandle, u32)>>,
    found: AtomicU64,
}

impl DamageLog {
    pub fn new(server: ServerId) -> Self {
        Self { server, known: Mutex::default(), found: AtomicU64::new(0) }
    }

    /// Notes a block that was found damaged, and returns the error for whoever asked for it.
    pub fn note(&self, handle: ChunkHandle, block: u32, changes: &Changes) -> ChunkError {
        self.note_all(handle, &[block], changes);
        ChunkError::DamagedOnDisk { handle, block }
    }

    /// Notes blocks of a chunk that were found damaged together: one line for all of them that are news.
    pub fn note_all(&self, handle: ChunkHandle, blocks: &[u32], changes: &Changes) {
        let mut known = self.known.lock();
        let mut is_news = |block: &&u32| known.len() < MAX_REMEMBERED && known.insert((handle, **block));
        let new: Vec<u32> = blocks.iter().filter(&mut is_news).copied().collect();
        drop(known);
        let Some(block) = new.first() else { return };
        self.found.fetch_add(new.len() as u64, Ordering::Relaxed);
        tracing::error!(server = %self.server, chunk = handle.0, block, blocks = new.len(), "a block is damaged on disk");
        new.iter().for_each(|block| changes.damaged(handle, *block));
    }

    /// Damaged blocks of a chunk, ascending.
    pub fn of(&self, handle: ChunkHandle) -> Vec<u32> {
        let mut blocks: Vec<u32> =
            self.known.lock().iter().filter(|(chunk, _)| *chunk == handle).map(|(_, block)| *block).collect();
        blocks.sort_unstable();
        blocks
    }

    /// All damaged blocks that were not made good.
    pub fn all(&self) -> Vec<(ChunkHandle, u32)> {
        self.known.lock().iter().copied().collect()
    }

    /// Forgets blocks that were written anew.
    pub fn overwritten(&self, handle: ChunkHandle, blocks: Range<u32>) {
        let mut known = self.known.lock();
        if !known.is_empty() {
            known.retain(|(chunk, block)| *chunk != handle || !blocks.contains(block));
        }
    }

    /// Forgets what was noted of a chunk that is gone or replaced.
    pub fn forget(&self, handle: ChunkHandle) {
        self.known.lock().retain(|(chunk, _)| *chunk != handle);
    }

    /// The same of many.
    pub fn forget_all(&self, handles: &HashSet<ChunkHandle>) {
        self.known.lock().retain(|(chunk, _)| !handles.contains(chunk));
    }

    /// Damaged blocks found since the start.
    pub fn found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }
}
