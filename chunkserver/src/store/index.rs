//! What chunks there are, in memory: read from the headers at start, kept up to date by every change.

use std::collections::{HashMap, HashSet};

use cairn_proto::chunkserver::ChunkStat;
use cairn_proto::ids::{ChunkHandle, DiskNumber};
use parking_lot::Mutex;

/// All chunks of the store.
#[derive(Debug, Default)]
pub struct Index {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<ChunkHandle, Entry>,
    /// By number; there are none behind the last one that ever had a chunk.
    disks: Vec<OnDisk>,
}

/// What is on one disk.
#[derive(Clone, Copy, Debug, Default)]
struct OnDisk {
    used: Use,
    /// It has failed: nothing is entered any more.
    closed: bool,
}

/// Chunks, and bytes of their allocated blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Use {
    pub chunks: usize,
    pub bytes: u64,
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

    /// Stores an entry, unless its disk has failed. Says whether the chunk is new or its stat another than before.
    pub fn put(&self, entry: Entry) -> bool {
        let mut inner = self.inner.lock();
        if inner.disk(entry.stat.disk).closed {
            return false;
        }
        inner.put(entry).is_none_or(|before| before.stat != entry.stat)
    }

    /// Stores an entry of a chunk that was found on a disk, unless there is one from another disk that counts more. Answers the one that does
    /// not count.
    pub fn found(&self, entry: Entry, counts_more: impl FnOnce(&ChunkStat) -> bool) -> Option<ChunkStat> {
        let mut inner = self.inner.lock();
        match inner.entries.get(&entry.stat.id.handle).map(|there| there.stat) {
            Some(there) if counts_more(&there) => Some(entry.stat),
            there => {
                inner.put(entry);
                there
            }
        }
    }

    pub fn remove(&self, handle: ChunkHandle) -> Option<Entry> {
        self.inner.lock().remove(handle)
    }

    pub fn clear(&self) {
        *self.inner.lock() = Inner::default();
    }

    /// Nothing is entered any more of what is on a disk. Answers the highest handle there.
    pub fn close(&self, disk: DiskNumber) -> Option<ChunkHandle> {
        let mut inner = self.inner.lock();
        inner.disk(disk).closed = true;
        inner.entries.values().filter(|entry| entry.stat.disk == disk).map(|entry| entry.stat.id.handle).max()
    }

    /// Removes all that is on a disk.
    pub fn remove_all(&self, disk: DiskNumber) -> HashSet<ChunkHandle> {
        let mut inner = self.inner.lock();
        let here = inner.entries.values().filter(|entry| entry.stat.disk == disk);
        let handles: HashSet<ChunkHandle> = here.map(|entry| entry.stat.id.handle).collect();
        for handle in &handles {
            inner.remove(*handle);
        }
        handles
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

    pub fn used_on(&self, disk: DiskNumber) -> Use {
        self.inner.lock().disks.get(usize::from(disk.0)).map_or_else(Use::default, |disk| disk.used)
    }
}

impl Inner {
    fn disk(&mut self, number: DiskNumber) -> &mut OnDisk {
        let number = usize::from(number.0);
        if number >= self.disks.len() {
            self.disks.resize(number + 1, OnDisk::default());
        }
        &mut self.disks[number]
    }

    /// Returns what was there before.
    fn put(&mut self, entry: Entry) -> Option<Entry> {
        let before = self.remove(entry.stat.id.handle);
        let used = &mut self.disk(entry.stat.disk).used;
        used.chunks += 1;
        used.bytes += u64::from(entry.stat.allocated);
        self.entries.insert(entry.stat.id.handle, entry);
        before
    }

    fn remove(&mut self, handle: ChunkHandle) -> Option<Entry> {
        let entry = self.entries.remove(&handle)?;
        let used = &mut self.disk(entry.stat.disk).used;
        used.chunks -= 1;
        used.bytes -= u64::from(entry.stat.allocated);
        Some(entry)
    }
}
