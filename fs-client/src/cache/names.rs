//! Directory entries by parent and name, the absent ones included.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cairn_proto::attr::Attr;
use cairn_proto::ids::InodeId;
use cairn_proto::meta::ChangedDir;
use cairn_proto::name::Name;

use super::Valid;
use super::clock::Moment;
use super::dirs::{DirCache, Unchanged};
use super::lru::ShardedLru;

/// Counters that directories share. More of them make false alarms rarer; a false alarm costs one call.
const EPOCHS: usize = 4096;

/// There is room to remember one directory for so many names.
const NAMES_PER_DIR: usize = 8;

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    Inode(InodeId),
    Absent,
}

/// How often this mount has changed a directory, as of some moment: see [`NameCache::epoch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEpoch(u64);

/// Names that were looked up, created, moved or removed, with the moment when that was asked for.
#[derive(Debug)]
pub struct NameCache {
    entries: ShardedLru<(InodeId, Name), (Named, Moment)>,
    /// Where nobody else changes anything names stay right.
    dirs: DirCache,
    validity: Duration,
    epochs: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl NameCache {
    pub fn new(capacity: usize, validity: Duration) -> Self {
        let epochs = (0..EPOCHS).map(|_| AtomicU64::new(0)).collect();
        let dirs = DirCache::new(capacity / NAMES_PER_DIR, validity);
        Self { entries: ShardedLru::new(capacity), dirs, validity, epochs, hasher: RandomState::new() }
    }

    pub fn get(&self, parent: InodeId, name: &Name, now: Moment) -> Option<Valid<Named>> {
        let dir = self.dirs.get(parent, now);
        let Some((named, asked)) = self.entries.get(&(parent, name.clone())) else {
            let complete = dir.filter(|dir| dir.complete)?;
            return Some(Valid { value: Named::Absent, remaining: complete.remaining });
        };
        let own = asked.after(self.validity).since(now);
        let remaining = dir.filter(|dir| asked >= dir.since).map_or(own, |dir| own.max(dir.remaining));
        (!remaining.is_zero()).then_some(Valid { value: named, remaining })
    }

    /// What is known of a directory that nobody else has changed.
    pub fn dir(&self, inode: InodeId, now: Moment) -> Option<Unchanged> {
        self.dirs.get(inode, now)
    }

    /// A directory that this mount has made.
    pub fn made_dir(&self, attr: &Attr, asked: Moment, now: Moment) {
        self.dirs.made(attr, asked, now);
    }

    /// A directory as an answer to what was asked at `asked` shows it.
    pub fn saw_dir(&self, attr: &Attr, asked: Moment, now: Moment) {
        self.dirs.saw(attr, asked, now);
    }

    /// A directory of which this mount has changed names; these have been entered by [`Self::changed`].
    pub fn changed_dir(&self, dir: &ChangedDir, asked: Moment) {
        self.dirs.changed(dir, asked);
    }

    /// To be taken before a directory is asked about. What comes back describes the directory only while its epoch is the
    /// same: a mutation of this mount may have overtaken the answer.
    pub fn epoch(&self, parent: InodeId) -> DirEpoch {
        DirEpoch(self.counter(parent).load(Ordering::Acquire))
    }

    /// Enters the answer to a lookup that was asked at `asked`, when the directory was at `epoch`.
    pub fn learn(&self, parent: InodeId, name: Name, named: Named, asked: Moment, epoch: DirEpoch) {
        if self.epoch(parent) == epoch {
            self.enter(parent, name, named, asked);
        }
    }

    /// Enters what a mutation of this mount, sent at `asked`, has made of a name.
    pub fn changed(&self, parent: InodeId, name: Name, named: Named, asked: Moment) {
        self.counter(parent).fetch_add(1, Ordering::AcqRel);
        self.enter(parent, name, named, asked);
    }

    /// Nothing is known of a name any more: a mutation of it failed, or its outcome is unknown.
    pub fn forget(&self, parent: InodeId, name: &Name) {
        self.counter(parent).fetch_add(1, Ordering::AcqRel);
        self.entries.remove(&(parent, name.clone()));
        self.dirs.forget(parent);
    }

    /// Others are about to change the directory: what is not known to be there may be soon.
    pub fn forget_dir(&self, dir: InodeId) {
        self.dirs.forget(dir);
    }

    pub fn clear(&self) {
        for counter in &self.epochs {
            counter.fetch_add(1, Ordering::AcqRel);
        }
        self.entries.clear();
        self.dirs.clear();
    }

    fn enter(&self, parent: InodeId, name: Name, named: Named, asked: Moment) {
        let gone = self.entries.push((parent, name.clone()), (named, asked));
        if let Some(((other, gone), _)) = gone
            && (other, &gone) != (parent, &name)
        {
            self.dirs.lost_a_name(other);
        }
    }

    fn counter(&self, parent: InodeId) -> &AtomicU64 {
        &self.epochs[self.hasher.hash_one(parent) as usize & (EPOCHS - 1)]
    }
}
