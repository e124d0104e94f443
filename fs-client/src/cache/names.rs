//! Directory entries by parent and name, the absent ones included.

use std::sync::atomic::{AtomicU64, Ordering};

use cairn_proto::ids::InodeId;
use cairn_proto::name::Name;

use super::drops::{Asked, Drops};
use super::lru::ShardedLru;
use super::striped::Striped;

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

/// One lease on a directory, from when it was granted to its end. No other has the same number.
type Term = u64;

/// Names that were looked up, created, moved or removed under leases on their directories.
#[derive(Debug)]
pub struct NameCache {
    entries: ShardedLru<(InodeId, Name), (Named, Term)>,
    /// The directories that this mount has leases on. What was entered under an earlier one does not count.
    dirs: ShardedLru<InodeId, Term>,
    terms: AtomicU64,
    epochs: Striped,
}

impl NameCache {
    pub fn new(capacity: usize) -> Self {
        let dirs = ShardedLru::new(capacity / NAMES_PER_DIR);
        let entries = ShardedLru::new(capacity);
        Self { entries, dirs, terms: AtomicU64::new(0), epochs: Striped::default() }
    }

    pub fn get(&self, parent: InodeId, name: &Name) -> Option<Named> {
        let term = self.dirs.get(&parent)?;
        let (named, of) = self.entries.get(&(parent, name.clone()))?;
        (of == term).then_some(named)
    }

    /// To be taken before a directory is asked about. What comes back describes the directory only while its epoch is the
    /// same: a mutation of this mount may have overtaken the answer.
    pub fn epoch(&self, parent: InodeId) -> DirEpoch {
        DirEpoch(self.epochs.of(parent).load(Ordering::Acquire))
    }

    /// This mount has a lease on a directory, by the answer to something asked at `asked`.
    pub fn leased(&self, dir: InodeId, asked: Asked, drops: &Drops) {
        self.dirs.with(&dir, |dirs| {
            // Under the lock under which leases end.
            if drops.is_current(dir, asked) && !dirs.contains(&dir) {
                dirs.put(dir, self.terms.fetch_add(1, Ordering::Relaxed));
            }
        });
    }

    /// Whether this mount has a lease on a directory.
    pub fn is_leased(&self, dir: InodeId) -> bool {
        self.dirs.with(&dir, |dirs| dirs.contains(&dir))
    }

    /// Enters the answer to a lookup that was asked at `asked`, when the directory was at `epoch`.
    pub fn learn(&self, parent: InodeId, name: Name, named: Named, asked: Asked, epoch: DirEpoch, drops: &Drops) {
        if self.epoch(parent) == epoch {
            self.enter(parent, name, named, asked, drops);
        }
    }

    /// Enters what a mutation of this mount, sent at `asked`, has made of a name.
    pub fn changed(&self, parent: InodeId, name: Name, named: Named, asked: Asked, drops: &Drops) {
        self.epochs.of(parent).fetch_add(1, Ordering::AcqRel);
        self.enter(parent, name, named, asked, drops);
    }

    /// Nothing is known of a name any more: a mutation of it failed, or its outcome is unknown.
    pub fn forget(&self, parent: InodeId, name: &Name) {
        self.epochs.of(parent).fetch_add(1, Ordering::AcqRel);
        self.entries.remove(&(parent, name.clone()));
    }

    /// The lease on a directory ends.
    pub fn forget_dir(&self, dir: InodeId) {
        self.dirs.remove(&dir);
    }

    pub fn clear(&self) {
        for counter in self.epochs.all() {
            counter.fetch_add(1, Ordering::AcqRel);
        }
        self.dirs.clear();
        self.entries.clear();
    }

    fn enter(&self, parent: InodeId, name: Name, named: Named, asked: Asked, drops: &Drops) {
        let term = self.dirs.with(&parent, |dirs| {
            let term = dirs.get(&parent).copied();
            term.filter(|_| drops.is_current(parent, asked))
        });
        match term {
            Some(term) => self.entries.put((parent, name), (named, term)),
            None => drop(self.entries.remove(&(parent, name))),
        }
    }
}
