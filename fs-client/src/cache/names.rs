//! Directory entries by parent and name, the absent ones included.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cairn_proto::ids::InodeId;
use cairn_proto::name::Name;

use super::Valid;
use super::clock::Moment;
use super::lru::ShardedLru;

/// Counters that directories share. More of them make false alarms rarer; a false alarm costs one call.
const EPOCHS: usize = 4096;

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    Inode(InodeId),
    Absent,
}

/// How often this mount has changed a directory, as of some moment: see [`NameCache::epoch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEpoch(u64);

/// Names that were looked up, created, moved or removed.
#[derive(Debug)]
pub struct NameCache {
    entries: ShardedLru<(InodeId, Name), (Named, Moment)>,
    validity: Duration,
    epochs: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl NameCache {
    pub fn new(capacity: usize, validity: Duration) -> Self {
        let epochs = (0..EPOCHS).map(|_| AtomicU64::new(0)).collect();
        Self { entries: ShardedLru::new(capacity), validity, epochs, hasher: RandomState::new() }
    }

    pub fn get(&self, parent: InodeId, name: &Name, now: Moment) -> Option<Valid<Named>> {
        let (named, until) = self.entries.get(&(parent, name.clone()))?;
        let remaining = until.since(now);
        (!remaining.is_zero()).then_some(Valid { value: named, remaining })
    }

    /// To be taken before a directory is asked about. What comes back describes the directory only while its epoch is the
    /// same: a mutation of this mount may have overtaken the answer.
    pub fn epoch(&self, parent: InodeId) -> DirEpoch {
        DirEpoch(self.counter(parent).load(Ordering::Acquire))
    }

    /// Enters the answer to a lookup that was asked at `asked`, when the directory was at `epoch`.
    pub fn learn(&self, parent: InodeId, name: Name, named: Named, asked: Moment, epoch: DirEpoch) {
        if self.epoch(parent) == epoch {
            self.entries.put((parent, name), (named, asked.after(self.validity)));
        }
    }

    /// Enters what a mutation of this mount, sent at `asked`, has made of a name.
    pub fn changed(&self, parent: InodeId, name: Name, named: Named, asked: Moment) {
        self.counter(parent).fetch_add(1, Ordering::AcqRel);
        self.entries.put((parent, name), (named, asked.after(self.validity)));
    }

    /// Nothing is known of a name any more: a mutation of it failed, or its outcome is unknown.
    pub fn forget(&self, parent: InodeId, name: &Name) {
        self.counter(parent).fetch_add(1, Ordering::AcqRel);
        self.entries.remove(&(parent, name.clone()));
    }

    pub fn clear(&self) {
        for counter in &self.epochs {
            counter.fetch_add(1, Ordering::AcqRel);
        }
        self.entries.clear();
    }

    fn counter(&self, parent: InodeId) -> &AtomicU64 {
        &self.epochs[self.hasher.hash_one(parent) as usize & (EPOCHS - 1)]
    }
}
