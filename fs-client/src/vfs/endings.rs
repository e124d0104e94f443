//! Leases that end at this moment.
//!
//! While one does, the kernel's pages of the file are dropped, which waits for reads and writes that hold some of them; and nobody is granted
//! a new lease before that is done. So whoever may hold pages must not wait for a lease then. Reads are let in without one: until
//! the lease has ended nothing changes. Writes are sent at once, instead of waiting for their turn in the buffer.

use std::collections::HashMap;

use cairn_proto::ids::InodeId;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Endings {
    /// How often each.
    inodes: Mutex<HashMap<InodeId, u32>>,
    begun: Notify,
}

/// While it lives, the lease on the inode ends.
#[derive(Debug)]
pub(super) struct Ending<'a> {
    endings: &'a Endings,
    inode: InodeId,
}

impl Endings {
    pub fn begin(&self, inode: InodeId) -> Ending<'_> {
        *self.inodes.lock().entry(inode).or_default() += 1;
        self.begun.notify_waiters();
        Ending { endings: self, inode }
    }

    /// Does something before the end, if the lease on `inode` is ending: whoever ends it sees that afterwards.
    pub fn during<T>(&self, inode: InodeId, something: impl FnOnce() -> T) -> Option<T> {
        let inodes = self.inodes.lock();
        inodes.contains_key(&inode).then(something)
    }

    fn contain(&self, inode: InodeId) -> bool {
        self.inodes.lock().contains_key(&inode)
    }

    /// Returns when, or if, the lease on `inode` is ending.
    pub async fn of(&self, inode: InodeId) {
        loop {
            let begun = self.begun.notified();
            tokio::pin!(begun);
            begun.as_mut().enable();
            if self.contain(inode) {
                return;
            }
            begun.await;
        }
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut inodes = self.endings.inodes.lock();
        if let Some(count) = inodes.get_mut(&self.inode) {
            *count -= 1;
            if *count == 0 {
                inodes.remove(&self.inode);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn seen_from_begin_to_end() {
        let endings = Endings::default();
        let inode = InodeId(5);
        assert!(!endings.contain(inode));
        let (first, ()) = tokio::join!(async { endings.begin(inode) }, endings.of(inode));
        let second = endings.begin(inode);
        assert_eq!(endings.during(inode, || 7), Some(7));
        drop(first);
        assert!(endings.contain(inode) && !endings.contain(InodeId(6)));
        drop(second);
        assert!(!endings.contain(inode) && endings.during(inode, || ()).is_none());
    }
}
