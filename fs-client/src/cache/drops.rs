//! Which answers came too late to be remembered.
//!
//! A lease that ends takes with it what is remembered of its inode, and also what is on its way: an answer that was asked for
//! before, and comes after, describes what was. So questions note when they are asked, on a clock that ticks with each lease that ends.

use std::sync::atomic::{AtomicU64, Ordering};

use cairn_proto::ids::InodeId;

use super::striped::Striped;

/// When something was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked(u64);

/// The leases that have ended.
#[derive(Debug, Default)]
pub struct Drops {
    now: AtomicU64,
    /// The last tick of any of the inodes that share it.
    last: Striped,
    /// The last tick that concerned all.
    last_of_all: AtomicU64,
}

impl Drops {
    /// To be taken before asking.
    pub fn asked(&self) -> Asked {
        Asked(self.now.load(Ordering::SeqCst))
    }

    /// A lease ends. To be told before anything that is remembered under it is dropped.
    pub fn dropped(&self, inode: InodeId) {
        let tick = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.last.of(inode).fetch_max(tick, Ordering::SeqCst);
    }

    /// All leases end.
    pub fn dropped_all(&self) {
        let tick = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.last_of_all.fetch_max(tick, Ordering::SeqCst);
    }

    /// Whether no lease on `inode` has ended since.
    pub fn is_current(&self, inode: InodeId, asked: Asked) -> bool {
        self.last.of(inode).load(Ordering::SeqCst) <= asked.0 && self.last_of_all.load(Ordering::SeqCst) <= asked.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_earlier_questions_are_too_late() {
        let (drops, inode) = (Drops::default(), InodeId(5));
        let before = drops.asked();
        assert!(drops.is_current(inode, before));
        drops.dropped(inode);
        let after = drops.asked();
        assert!(!drops.is_current(inode, before) && drops.is_current(inode, after));
        drops.dropped_all();
        assert!(!drops.is_current(InodeId(6), after) && drops.is_current(inode, drops.asked()));
    }
}
