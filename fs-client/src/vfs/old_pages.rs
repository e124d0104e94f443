//! Files of which the kernel may have pages from before this mount lost its lease on them, and which it is still to be told to drop.
//!
//! The kernel is told by a notification, which waits for reads and writes that have some of the pages. Where that must not be waited for, the
//! file is kept here until it is done: whoever opens it has the kernel drop its pages first, and none can be seen but by opening it.

use std::collections::HashMap;

use cairn_proto::ids::InodeId;
use parking_lot::Mutex;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct OldPages {
    /// How often each was added.
    inodes: Mutex<HashMap<InodeId, u32>>,
}

impl OldPages {
    pub fn add(&self, inodes: impl IntoIterator<Item = InodeId>) {
        let mut all = self.inodes.lock();
        inodes.into_iter().for_each(|inode| *all.entry(inode).or_default() += 1);
    }

    /// Takes back as many [`Self::add`]s.
    pub fn remove(&self, inodes: impl IntoIterator<Item = InodeId>) {
        let mut all = self.inodes.lock();
        for inode in inodes {
            if let Some(count) = all.get_mut(&inode) {
                *count -= 1;
                if *count == 0 {
                    all.remove(&inode);
                }
            }
        }
    }

    pub fn contain(&self, inode: InodeId) -> bool {
        self.inodes.lock().contains_key(&inode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_until_removed_as_often_as_added() {
        let old = OldPages::default();
        let [a, b] = [1, 2].map(InodeId);
        old.add([a, b]);
        old.add([a]);
        old.remove([a, b]);
        assert!(old.contain(a) && !old.contain(b));
        old.remove([a]);
        old.remove([a]);
        assert!(!old.contain(a));
    }
}
