//! What changed since a metaserver last heard: one feed for each of them.
//!
//! A feed remembers which chunks changed, not how: what is sent is how they are when it is sent. So however often a chunk
//! changes between two heartbeats, it is one change.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use cairn_proto::cluster::ChunkChange;
use cairn_proto::ids::ChunkHandle;
use parking_lot::{Mutex, RwLock};

use super::index::Index;

/// Damaged blocks that wait to be reported to one metaserver at most; further ones are found again by their next reader.
const MAX_DAMAGED_WAITING: usize = 65_536;

/// All feeds.
#[derive(Debug, Default)]
pub struct Changes {
    feeds: RwLock<Vec<Arc<Feed>>>,
}

/// What one metaserver has not been told.
#[derive(Debug, Default)]
pub struct Feed {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    touched: HashSet<ChunkHandle>,
    damaged: VecDeque<(ChunkHandle, u32)>,
}

impl Changes {
    /// A feed of what changes from now on.
    pub fn subscribe(&self) -> Arc<Feed> {
        let feed = Arc::new(Feed::default());
        self.feeds.write().push(feed.clone());
        feed
    }

    pub fn touch(&self, handle: ChunkHandle) {
        for feed in self.feeds.read().iter() {
            feed.waiting.lock().touched.insert(handle);
        }
    }

    pub fn touch_all(&self, handles: &HashSet<ChunkHandle>) {
        for feed in self.feeds.read().iter() {
            feed.waiting.lock().touched.extend(handles);
        }
    }

    pub fn damaged(&self, handle: ChunkHandle, block: u32) {
        for feed in self.feeds.read().iter() {
            let mut waiting = feed.waiting.lock();
            if waiting.damaged.len() < MAX_DAMAGED_WAITING {
                waiting.damaged.push_back((handle, block));
            }
        }
    }
}

impl Feed {
    /// Forgets what has changed so far, because a full report follows. Of damage, which that says nothing of, all is told anew.
    pub fn restart(&self, damaged: Vec<(ChunkHandle, u32)>) {
        *self.waiting.lock() = Waiting { touched: HashSet::new(), damaged: damaged.into() };
    }

    /// Takes up to `most` changes out. They are gone from here: whoever takes them sends them until they are answered.
    pub fn take(&self, most: usize, index: &Index) -> Vec<ChunkChange> {
        let mut waiting = self.waiting.lock();
        let touched: Vec<ChunkHandle> = waiting.touched.iter().take(most).copied().collect();
        for handle in &touched {
            waiting.touched.remove(handle);
        }
        let room = (most - touched.len()).min(waiting.damaged.len());
        let damaged: Vec<_> = waiting.damaged.drain(..room).collect();
        drop(waiting);
        let now = |handle| index.stat(handle).map_or(ChunkChange::Removed(handle), ChunkChange::Now);
        let damaged = damaged.into_iter().map(|(handle, block)| ChunkChange::Damaged { handle, block });
        touched.into_iter().map(now).chain(damaged).collect()
    }
}

#[cfg(test)]
mod tests {
    use cairn_proto::chunk::ChunkId;
    use cairn_proto::chunkserver::{ChunkStat, ChunkState};
    use cairn_proto::ids::{ChunkIndex, ChunkVersion, DiskNumber, InodeId};

    use super::super::index::Entry;
    use super::*;

    fn stat(handle: u64, length: u32) -> ChunkStat {
        let handle = ChunkHandle(handle);
        let id = ChunkId { handle, version: ChunkVersion::FIRST, inode: InodeId(9), index: ChunkIndex(0) };
        ChunkStat { id, state: ChunkState::Dirty, length, allocated: 4096, disk: DiskNumber(0) }
    }

    #[test]
    fn a_chunk_that_changes_often_is_sent_once_as_it_is_last() {
        let (changes, index) = (Changes::default(), Index::default());
        let feed = changes.subscribe();
        for length in [10, 20, 30] {
            assert!(index.put(Entry { stat: stat(1, length), scanned: true }));
            changes.touch(ChunkHandle(1));
        }
        assert!(!index.put(Entry { stat: stat(1, 30), scanned: true }));
        changes.touch(ChunkHandle(2));
        changes.damaged(ChunkHandle(1), 7);
        let mut taken = feed.take(10, &index);
        taken.sort_by_key(|change| format!("{change:?}"));
        let damaged = ChunkChange::Damaged { handle: ChunkHandle(1), block: 7 };
        assert_eq!(taken, [damaged, ChunkChange::Now(stat(1, 30)), ChunkChange::Removed(ChunkHandle(2))]);
        assert_eq!(feed.take(10, &index), []);
        assert_eq!(index.used_on(DiskNumber(0)).bytes, 4096);
    }

    #[test]
    fn feeds_are_independent_and_limited() {
        let (changes, index) = (Changes::default(), Index::default());
        let (a, b) = (changes.subscribe(), changes.subscribe());
        (0..5).for_each(|n| changes.touch(ChunkHandle(n)));
        assert_eq!(a.take(3, &index).len(), 3);
        assert_eq!(a.take(3, &index).len(), 2);
        assert_eq!(b.take(9, &index).len(), 5);
        changes.touch(ChunkHandle(1));
        b.restart(vec![(ChunkHandle(7), 1)]);
        assert_eq!(a.take(9, &index).len(), 1);
        assert_eq!(b.take(9, &index), [ChunkChange::Damaged { handle: ChunkHandle(7), block: 1 }]);
    }
}
