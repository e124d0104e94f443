//! What chunks there are, in memory: read from the headers at start, kept up to date by every change.

use std::collections::HashMap;

use cairn_proto::chunkserver::ChunkStat;
use cairn_proto::ids::ChunkHandle;
use parking_lot::Mutex;

/// All chunks of the store.
#[derive(Debug, Default)]
pub struct Index {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<ChunkHandle, Entry>,
    /// Bytes of all chunks' allocated blocks.
    used: u64,
}

/// One chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    pub stat: ChunkStat,
    /// Data and table are known to agree as far as a check at opening could tell. Not so for a chunk that an earlier run
    /// left dirty, until it has been opened and scanned and nothing in it was in doubt.
    pub scanned: bool,
}

impl Index {
    pub fn get(&self, handle: ChunkHandle) -> Option<Entry> {
        self.inner.lock().entries.get(&handle).copied()
    }

    pub fn stat(&self, handle: ChunkHandle) -> Option<ChunkStat> {
        self.get(handle).map(|entry| entry.stat)
    }

    /// Stores an entry. Says whether the chunk is new or its stat another than before.
    pub fn put(&self, entry: Entry) -> bool {
        let mut inner = self.inner.lock();
        let before = inner.entries.insert(entry.stat.id.handle, entry);
        inner.used -= before.map_or(0, |before| u64::from(before.stat.allocated));
        inner.used += u64::from(entry.stat.allocated);
        before.is_none_or(|before| before.stat != entry.stat)
    }

    pub fn remove(&self, handle: ChunkHandle) -> Option<Entry> {
        let mut inner = self.inner.lock();
        let entry = inner.entries.remove(&handle)?;
        inner.used -= u64::from(entry.stat.allocated);
        Some(entry)
    }

    pub fn all(&self) -> Vec<ChunkStat> {
        self.inner.lock().entries.values().map(|entry| entry.stat).collect()
    }

    /// The chunks behind `after` in the order of their handles, `most` at most, and the bytes in blocks of all behind it.
    pub fn after(&self, after: ChunkHandle, most: usize) -> (Vec<ChunkHandle>, u64) {
        let inner = self.inner.lock();
        let behind = || inner.entries.iter().filter(|(handle, _)| **handle > after);
        let bytes = behind().map(|(_, entry)| u64::from(entry.stat.allocated)).sum();
        let mut handles: Vec<ChunkHandle> = behind().map(|(handle, _)| *handle).collect();
        drop(inner);
        if handles.len() > most {
            handles.select_nth_unstable(most);
            handles.truncate(most);
        }
        handles.sort_unstable();
        (handles, bytes)
    }

    pub fn len(&self) -> usize {
        self.inner.lock().entries.len()
    }

    /// Bytes taken by chunks' data.
    pub fn used(&self) -> u64 {
        self.inner.lock().used
    }
}
