//! Which inodes this client holds open, and giving them back.
//!
//! The metaserver counts opens; this client releases an inode when its last local open is over, as often as it may have
//! been counted. Releases travel in batches, behind everyone's back.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use cairn_proto::ids::InodeId;
use cairn_proto::meta::MAX_RELEASE;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// How long a release may wait for others to go with it.
pub(super) const RELEASE_DELAY: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
pub(super) struct Opens {
    state: Mutex<State>,
    /// There is something to release.
    due: Notify,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<InodeId, Hold>,
    /// Those of which the metaserver has not been told.
    untold: HashSet<InodeId>,
    /// With repetitions.
    to_release: Vec<InodeId>,
}

#[derive(Debug, Default)]
struct Hold {
    /// Opens of this client that are not closed.
    local: u32,
    /// Opens that the metaserver may have counted: a repeated call counts for each attempt, as nobody knows.
    counted: u32,
}

impl Opens {
    /// An open, or an attempt at one, leaves for the metaserver.
    pub fn attempted(&self, inode: InodeId) {
        let mut state = self.state.lock();
        state.held.entry(inode).or_default().counted += 1;
        state.untold.remove(&inode);
    }

    /// It came back: the file is open.
    pub fn opened(&self, inode: InodeId) {
        let mut state = self.state.lock();
        let hold = state.held.entry(inode).or_default();
        hold.local += 1;
        if hold.counted == 0 {
            state.untold.insert(inode);
        }
    }

    /// An open is over, or did not come about.
    pub fn closed(&self, inode: InodeId, was_open: bool) {
        let mut state = self.state.lock();
        let Some(hold) = state.held.get_mut(&inode) else { return };
        if was_open {
            hold.local = hold.local.saturating_sub(1);
        }
        if hold.local == 0 {
            let times = hold.counted as usize;
            state.held.remove(&inode);
            state.untold.remove(&inode);
            state.to_release.extend(std::iter::repeat_n(inode, times));
            drop(state);
            self.due.notify_one();
        }
    }

    /// The metaserver is about to be told that a file is open. Where it still is, this answers true, and nothing is released before
    /// [`Self::closed`].
    pub fn hold(&self, inode: InodeId) -> bool {
        let mut state = self.state.lock();
        let Some(hold) = state.held.get_mut(&inode).filter(|hold| hold.local > 0) else { return false };
        hold.local += 1;
        true
    }

    /// The open files of which the metaserver has not been told.
    pub fn untold(&self) -> Vec<InodeId> {
        self.state.lock().untold.iter().copied().collect()
    }

    /// The inodes held open, each as often as it may have been counted: for a session that is taken up again. It tells of all.
    pub fn held(&self) -> Vec<InodeId> {
        let mut state = self.state.lock();
        for inode in std::mem::take(&mut state.untold) {
            if let Some(hold) = state.held.get_mut(&inode) {
                hold.counted = 1;
            }
        }
        state.held.iter().flat_map(|(&inode, hold)| std::iter::repeat_n(inode, hold.counted as usize)).collect()
    }

    /// Waits until there is something to release.
    pub async fn due(&self) {
        self.due.notified().await;
    }

    /// The next batch of releases.
    pub fn take_batch(&self) -> Vec<InodeId> {
        let mut state = self.state.lock();
        let count = state.to_release.len().min(MAX_RELEASE);
        state.to_release.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_after_the_last_close_as_often_as_counted() {
        let (opens, inode) = (Opens::default(), InodeId(5));
        for _ in 0..2 {
            opens.attempted(inode);
            opens.opened(inode);
        }
        opens.attempted(inode); // a repeated attempt of the second
        assert_eq!(opens.held(), [inode; 3]);
        opens.closed(inode, true);
        assert!(opens.take_batch().is_empty());
        opens.closed(inode, true);
        assert_eq!(opens.take_batch(), [inode; 3]);
        assert!(opens.held().is_empty());
    }

    #[test]
    fn a_failed_open_is_released_too() {
        let (opens, inode) = (Opens::default(), InodeId(5));
        opens.attempted(inode);
        opens.closed(inode, false);
        assert_eq!(opens.take_batch(), [inode]);
    }
}
