//! Copies that nobody is supposed to hold and that were [left](super::strays::Verdict::Leave): looked at again, as what spoke for leaving
//! them passes without any word of theirs.
//!
//! A server reports a copy once. Where the chunk's members are suspect just then, or its members are being changed, the copy stays, and when
//! the members are well again nothing else would bring it up.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use cairn_proto::ids::{ChunkHandle, ServerId};
use cairn_runtime::worker::{WorkError, WorkState, Worker};
use parking_lot::Mutex;

use super::{Cluster, strays};

/// Copies looked at in one unit of work.
const PAGE_COPIES: usize = 1024;
/// Between two passes.
const PAUSE: Duration = Duration::from_secs(5);

/// A copy, by where it is.
pub type Place = (ServerId, ChunkHandle);

/// At most one entry for each copy that servers reported.
#[derive(Debug, Default)]
pub struct Left {
    copies: Mutex<BTreeSet<Place>>,
}

impl Left {
    pub fn remember(&self, server: ServerId, handle: ChunkHandle) {
        self.copies.lock().insert((server, handle));
    }

    pub fn forget(&self, server: ServerId, handle: ChunkHandle) {
        self.copies.lock().remove(&(server, handle));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.copies.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.copies.lock().is_empty()
    }

    /// The next ones behind `after`, in order.
    fn page(&self, after: Option<Place>, limit: usize) -> Vec<Place> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.copies.lock().range((start, Bound::Unbounded)).take(limit).copied().collect()
    }
}

/// The worker that looks.
#[derive(Debug)]
pub struct LeftWorker {
    cluster: Arc<Cluster>,
    after: Option<Place>,
}

impl LeftWorker {
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, after: None }
    }
}

impl Worker for LeftWorker {
    fn name(&self) -> String {
        "strays".to_owned()
    }

    /// Its cost is in copies looked at.
    async fn work(&mut self) -> Result<WorkState, WorkError> {
        let page = self.cluster.left.page(self.after, PAGE_COPIES);
        for &(server, handle) in &page {
            match self.cluster.registry.member(server, handle, self.cluster.now()).copy {
                Some(copy) => strays::judge_reported(&self.cluster, server, handle, copy).map(drop)?,
                None => self.cluster.left.forget(server, handle),
            }
        }
        self.after = page.last().copied();
        if page.len() < PAGE_COPIES {
            self.after = None;
            return Ok(WorkState::Wait(PAUSE));
        }
        Ok(WorkState::Busy { cost: page.len() as u64 })
    }

    fn detail(&self) -> Option<String> {
        Some(format!("{} copies of no use are kept until all is well with their chunks", self.cluster.left.len()))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn pages_go_on_where_the_last_one_ended() {
        let left = Left::default();
        let place = |server, handle| (ServerId(Uuid::from_u128(server)), ChunkHandle(handle));
        let all = [place(1, 7), place(1, 9), place(2, 1)];
        all.iter().for_each(|&(server, handle)| left.remember(server, handle));
        assert_eq!(left.page(None, 2), all[..2]);
        assert_eq!(left.page(Some(all[1]), 2), all[2..]);
        left.forget(all[2].0, all[2].1);
        assert_eq!(left.page(Some(all[1]), 2), []);
    }
}
