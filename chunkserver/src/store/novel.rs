//! Which chunks a write may create: those that cannot have been here before.
//!
//! A chunk is created by its first write, which nobody announces. So a write to a chunk that is not here is one of two things: the
//! first one; or a later one, and the chunk was lost (its file was removed or put aside while the server was down, or under it). The
//! second must not make a new chunk: it would have this write's bytes and holes for all that was acknowledged before, its sums would be
//! right, and as a member's copy it would be read, copied and built upon.
//!
//! Handles are given out in ascending order and never again. So whatever was given out after this process had registered it cannot have
//! lost; everything else it may have. Of those the metaserver knows whether they were ever written.

use std::sync::atomic::{AtomicU64, Ordering};

use cairn_proto::ids::ChunkHandle;

/// Handles from this one on are new here. Before the first registration none are.
#[derive(Debug)]
pub struct Novel(AtomicU64);

impl Default for Novel {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl Novel {
    /// What is given out from `next` on was not before this process began. Only the first call counts: what was given out since may be
    /// here already.
    pub fn begin(&self, next: ChunkHandle) {
        let _ = self.0.compare_exchange(u64::MAX, next.0, Ordering::AcqRel, Ordering::Acquire);
    }

    /// A chunk that was here is not any more. With it all older ones are out of the question: one number is all that is kept.
    pub fn lost(&self, handle: ChunkHandle) {
        self.0.fetch_max(handle.0.saturating_add(1), Ordering::AcqRel);
    }

    /// Whether the chunk cannot have been here.
    pub fn contains(&self, handle: ChunkHandle) -> bool {
        handle.0 >= self.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_given_out_since_and_was_not_lost() {
        let novel = Novel::default();
        let are = |handles: [u64; 4]| handles.map(|handle| novel.contains(ChunkHandle(handle)));
        assert_eq!(are([1, 9, 10, 11]), [false; 4]);
        novel.begin(ChunkHandle(10));
        assert_eq!(are([1, 9, 10, 11]), [false, false, true, true]);
        novel.begin(ChunkHandle(11));
        assert_eq!(are([1, 9, 10, 11]), [false, false, true, true], "10 may have been written since");
        novel.lost(ChunkHandle(3));
        assert_eq!(are([1, 9, 10, 11]), [false, false, true, true]);
        novel.lost(ChunkHandle(10));
        assert_eq!(are([1, 9, 10, 11]), [false, false, false, true]);
    }
}
