//! Chunks that are in use: the one place where their operations meet, and the limit on open files.
//!
//! Per chunk there are two locks, always taken in this order:
//!
//! 1. [`RangeLocks`], held by a write over its blocks until the rest of the chain has answered;
//! 2. the gate, held shared by a write while it touches the disk here, and alone by whatever changes state, version or
//!    the files themselves. So raising the version waits for writes in progress, and those that come later see it.
//!
//! Readers take neither: see [`super::chunk::ChunkFiles::read`].

use std::num::NonZeroUsize;
use std::sync::Arc;

use cairn_proto::ids::{ChunkHandle, DiskNumber};
use lru::LruCache;
use parking_lot::{Mutex, RwLock};

use super::chunk::ChunkFiles;
use super::range_lock::RangeLocks;

/// Chunks looked at for one that can be closed, when there are too many.
const EVICTION_TRIES: usize = 16;

/// A chunk somebody asked for lately, whether it exists or not.
#[derive(Debug)]
pub struct LiveChunk {
    pub handle: ChunkHandle,
    pub ranges: RangeLocks,
    /// Guards `files` against change, not against use.
    pub gate: Arc<tokio::sync::RwLock<()>>,
    files: RwLock<Option<Arc<ChunkFiles>>>,
}

impl LiveChunk {
    fn new(handle: ChunkHandle) -> Self {
        Self { handle, ranges: RangeLocks::default(), gate: Arc::default(), files: RwLock::default() }
    }

    /// The open files, where they are open. Those on a disk that has failed are as good as closed.
    pub fn files(&self) -> Option<Arc<ChunkFiles>> {
        self.files.read().clone().filter(|files| files.volume().works())
    }

    /// For holders of the gate alone.
    pub fn set_files(&self, files: Option<Arc<ChunkFiles>>) {
        *self.files.write() = files;
    }

    fn can_close(&self) -> bool {
        self.files.read().as_ref().is_none_or(|files| files.can_close())
    }
}

/// The chunks in use, the least recently used ones closed when there are too many.
#[derive(Debug)]
pub struct LiveChunks {
    chunks: Mutex<LruCache<ChunkHandle, Arc<LiveChunk>>>,
    capacity: usize,
}

impl LiveChunks {
    /// Keeps up to `capacity` chunks open, more only while all of them are being used at once.
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self { chunks: Mutex::new(LruCache::unbounded()), capacity: capacity.get() }
    }

    /// A chunk's place. There is one for each handle at a time: it stays as long as somebody holds it.
    pub fn get(&self, handle: ChunkHandle) -> Arc<LiveChunk> {
        let mut chunks = self.chunks.lock();
        if let Some(live) = chunks.get(&handle) {
            return live.clone();
        }
        let live = Arc::new(LiveChunk::new(handle));
        chunks.put(handle, live.clone());
        let closed = if chunks.len() > self.capacity { evict(&mut chunks) } else { None };
        drop(chunks);
        // Closing files takes a while; nobody needs to wait for it.
        drop(closed);
        live
    }

    /// Closes what is open on a disk that has failed.
    pub fn close_on(&self, disk: DiskNumber) {
        let all: Vec<Arc<LiveChunk>> = self.chunks.lock().iter().map(|(_, live)| live.clone()).collect();
        for live in all {
            // Whoever installs files meanwhile has got them from another disk.
            let mut files = live.files.write();
            let closed = files.take_if(|files| files.volume().number == disk);
            drop(files);
            drop(closed);
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.chunks.lock().len()
    }
}

/// Takes the least recently used chunk out that nobody holds. Under the lock nobody can begin to.
fn evict(chunks: &mut LruCache<ChunkHandle, Arc<LiveChunk>>) -> Option<Arc<LiveChunk>> {
    let handle = chunks.iter().rev().take(EVICTION_TRIES).find(|(_, live)| is_idle(live)).map(|(handle, _)| *handle)?;
    chunks.pop(&handle)
}

fn is_idle(live: &Arc<LiveChunk>) -> bool {
    Arc::strong_count(live) == 1 && live.can_close()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_and_held_ones_stay() {
        let live = LiveChunks::new(NonZeroUsize::new(2).unwrap());
        let held = live.get(ChunkHandle(1));
        live.get(ChunkHandle(2));
        live.get(ChunkHandle(3));
        assert_eq!(live.len(), 2, "2 was idle");
        assert!(Arc::ptr_eq(&held, &live.get(ChunkHandle(1))));
        let also = live.get(ChunkHandle(3));
        let third = live.get(ChunkHandle(4));
        assert_eq!(live.len(), 3, "over the limit, since all are held");
        drop((held, also, third));
        live.get(ChunkHandle(5));
        assert_eq!(live.len(), 3, "one goes for one that comes");
    }
}
