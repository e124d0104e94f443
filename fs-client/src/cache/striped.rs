//! Counters that inodes share.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::AtomicU64;

use cairn_proto::ids::InodeId;

/// More of them make false alarms rarer; a false alarm costs one call.
const COUNTERS: usize = 4096;

/// A counter for each inode, which it shares with some others.
#[derive(Debug)]
pub(super) struct Striped {
    counters: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Default for Striped {
    fn default() -> Self {
        let counters = (0..COUNTERS).map(|_| AtomicU64::new(0)).collect();
        Self { counters, hasher: RandomState::new() }
    }
}

impl Striped {
    pub fn of(&self, inode: InodeId) -> &AtomicU64 {
        &self.counters[self.hasher.hash_one(inode) as usize & (COUNTERS - 1)]
    }

    pub fn all(&self) -> impl Iterator<Item = &AtomicU64> {
        self.counters.iter()
    }
}
