//! File contents read (or written and acknowledged) before: what the chunkservers hold, as far as this client knows.
//!
//! A run is cached as it was fetched, so a random reader caches the blocks it asked for and a sequential one whole megabytes.
//! Runs are evicted by slot ([`SLOT_BYTES`] of a file), the least recently used first. Nobody marks anything valid or not:
//! whoever learns that bytes have changed cuts them out (see [`super::file`] for when).

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use bytes::Bytes;
use cairn_proto::ids::InodeId;
use lru::LruCache;
use parking_lot::Mutex;

use super::pieces::SLOT_BYTES;
use super::runs::{Parts, Runs};

/// What a slot costs besides its bytes.
const SLOT_CHARGE_BYTES: usize = 512;

/// What a run costs besides its bytes.
const RUN_CHARGE_BYTES: usize = 128;

/// The cache of all files of a mount.
#[derive(Debug)]
pub(super) struct BlockCache {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    slots: LruCache<(InodeId, u64), Slot>,
    /// The slots of each file, by number.
    files: HashMap<InodeId, BTreeSet<u64>>,
    charged: usize,
}

#[derive(Debug, Default)]
struct Slot {
    runs: Runs<()>,
    charge: usize,
}

impl BlockCache {
    /// At most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        let inner = Inner { slots: LruCache::unbounded(), files: HashMap::new(), charged: 0 };
        Self { limit, inner: Mutex::new(inner) }
    }

    /// Bytes in use.
    pub(super) fn charged(&self) -> usize {
        self.inner.lock().charged
    }

    /// Appends what is cached of `range` to `parts`.
    pub(super) fn parts(&self, inode: InodeId, range: &Range<u64>, parts: &mut Parts) {
        let mut inner = self.inner.lock();
        for slot in slots_of(range) {
            if let Some(slot) = inner.slots.get(&(inode, slot)) {
                slot.runs.parts(range, parts);
            }
        }
    }

    /// What is cached at `start` is now `data`, which lies within one slot.
    pub(super) fn put(&self, inode: InodeId, start: u64, data: Bytes) {
        if data.is_empty() {
            return;
        }
        let number = start / SLOT_BYTES;
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let slot = inner.slots.get_or_insert_mut((inode, number), || {
            inner.files.entry(inode).or_default().insert(number);
            Slot::default()
        });
        slot.runs.put(start, data, ());
        let charge = slot.cost();
        inner.charged += charge;
        inner.charged -= std::mem::replace(&mut slot.charge, charge);
        while inner.charged > self.limit {
            let Some(((inode, number), slot)) = inner.slots.pop_lru() else { break };
            inner.forget(inode, number, &slot);
        }
    }

    /// Forgets `range`.
    pub(super) fn cut(&self, inode: InodeId, range: Range<u64>) {
        let mut inner = self.inner.lock();
        let Some(known) = inner.files.get(&inode) else { return };
        let numbers = range.start / SLOT_BYTES..=range.end.saturating_sub(1) / SLOT_BYTES;
        if numbers.is_empty() {
            return;
        }
        let touched: Vec<u64> = known.range(numbers).copied().collect();
        for number in touched {
            let Some(slot) = inner.slots.peek_mut(&(inode, number)) else { continue };
            slot.runs.cut(range.clone());
            let charge = slot.cost();
            let before = std::mem::replace(&mut slot.charge, charge);
            let empty = slot.runs.is_empty();
            inner.charged = inner.charged + charge - before;
            if empty && let Some(slot) = inner.slots.pop(&(inode, number)) {
                inner.forget(inode, number, &slot);
            }
        }
    }

    /// Forgets a file.
    pub(super) fn remove(&self, inode: InodeId) {
        self.cut(inode, 0..u64::MAX);
    }
}

impl Inner {
    fn forget(&mut self, inode: InodeId, number: u64, slot: &Slot) {
        self.charged -= slot.charge;
        if let Some(numbers) = self.files.get_mut(&inode) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.files.remove(&inode);
            }
        }
    }
}

impl Slot {
    fn cost(&self) -> usize {
        SLOT_CHARGE_BYTES + self.runs.len() * RUN_CHARGE_BYTES + self.runs.bytes()
    }
}

fn slots_of(range: &Range<u64>) -> Range<u64> {
    range.start / SLOT_BYTES..range.end.div_ceil(SLOT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: InodeId = InodeId(7);

    fn cached(cache: &BlockCache, inode: InodeId, range: Range<u64>) -> usize {
        let mut parts = Parts::new();
        cache.parts(inode, &range, &mut parts);
        parts.iter().map(|(_, data)| data.len()).sum()
    }

    #[test]
    fn evicts_what_was_not_used_for_longest() {
        let cache = BlockCache::new(3 * 5000);
        for slot in 0..3 {
            cache.put(FILE, slot * SLOT_BYTES, Bytes::from(vec![1; 4096]));
        }
        assert_eq!(cached(&cache, FILE, 0..4096), 4096);
        cache.put(FILE, 3 * SLOT_BYTES, Bytes::from(vec![1; 4096]));
        assert_eq!(cached(&cache, FILE, 0..4096), 4096);
        assert_eq!(cached(&cache, FILE, SLOT_BYTES..SLOT_BYTES + 4096), 0, "the oldest is gone");
        assert!(cache.charged() <= 3 * 5000);
    }

    #[test]
    fn cuts_and_removes() {
        let cache = BlockCache::new(1 << 30);
        for slot in 0..4 {
            cache.put(FILE, slot * SLOT_BYTES, Bytes::from(vec![1; MAX]));
        }
        cache.put(InodeId(8), 0, Bytes::from(vec![1; 100]));
        cache.cut(FILE, SLOT_BYTES + 10..3 * SLOT_BYTES + 10);
        assert_eq!(cached(&cache, FILE, 0..4 * SLOT_BYTES), 2 * MAX, "10 bytes at one end, all but 10 at the other");
        cache.remove(FILE);
        assert_eq!(cached(&cache, FILE, 0..4 * SLOT_BYTES), 0);
        assert_eq!(cached(&cache, InodeId(8), 0..4096), 100);
        cache.remove(InodeId(8));
        assert_eq!(cache.charged(), 0);
    }

    const MAX: usize = SLOT_BYTES as usize;
}
