//! Names that the kernel remembers.
//!
//! Telling the kernel to forget one name waits for the directory's lock, which whoever creates something there holds until the
//! metaserver has answered; two mounts that create in one directory would wait for each other. Telling it to ask again about all names
//! waits for nothing (`FUSE_NOTIFY_INC_EPOCH`, Linux 6.16). So that is done, seldom: a directory that others have changed is not
//! given into the kernel's memory again for a while, and its names are looked up here each time. Older kernels never remember names.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cairn_proto::ids::InodeId;
use parking_lot::Mutex;

/// After a directory's lease has ended, its names are kept from the kernel for so long.
const REST: Duration = Duration::from_secs(5);
/// Directories that are remembered, at most. Beyond that every one counts as remembered by the kernel.
const MAX_DIRS: usize = 64 << 10;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct KernelNames {
    can_forget: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Directories of which the kernel may remember names.
    given: HashSet<InodeId>,
    /// More of them than are remembered.
    more: bool,
    /// When the leases of these ended.
    resting: HashMap<InodeId, Instant>,
}

impl KernelNames {
    /// The kernel can be told to forget names.
    pub fn can_be_forgotten(&self) {
        self.can_forget.store(true, Ordering::Release);
    }

    /// Whether the kernel may remember a name in `dir`; if so, it counts as one that does.
    pub fn give(&self, dir: InodeId) -> bool {
        if !self.can_forget.load(Ordering::Acquire) {
            return false;
        }
        let mut inner = self.inner.lock();
        if inner.resting.get(&dir).is_some_and(|since| since.elapsed() < REST) {
            return false;
        }
        if inner.given.len() < MAX_DIRS {
            inner.given.insert(dir);
        } else {
            inner.more = true;
        }
        true
    }

    /// A name has been moved from one directory into another, and the kernel takes what it remembers of it along. Answers whether it
    /// remembers it where it may not, and so has to forget all names.
    pub fn moved(&self, from: InodeId, to: InodeId) -> bool {
        let mut inner = self.inner.lock();
        let carries = !inner.more && inner.given.contains(&from) && !inner.given.contains(&to);
        if carries {
            inner.given.clear();
        }
        carries
    }

    /// The leases on these end. Answers whether the kernel may remember names in one of them, and so has to forget all names.
    pub fn take(&self, dirs: impl Iterator<Item = InodeId>) -> bool {
        let mut inner = self.inner.lock();
        let mut is_given = false;
        for dir in dirs {
            if inner.given.contains(&dir) || inner.more {
                is_given = true;
                inner.rest(dir);
            }
        }
        if is_given {
            inner.given.clear();
            inner.more = false;
        }
        is_given
    }

    /// All leases end. Answers as [`Self::take`] does.
    pub fn take_all(&self) -> bool {
        let mut inner = self.inner.lock();
        inner.more = false;
        !std::mem::take(&mut inner.given).is_empty()
    }
}

impl Inner {
    fn rest(&mut self, dir: InodeId) {
        if self.resting.len() >= MAX_DIRS {
            self.resting.retain(|_, since| since.elapsed() < REST);
        }
        if self.resting.len() < MAX_DIRS {
            self.resting.insert(dir, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_not_carried_to_where_none_may_be_remembered() {
        let names = KernelNames::default();
        let [a, b, c] = [1, 2, 3].map(InodeId);
        names.can_be_forgotten();
        assert!(names.give(a) && names.give(b));
        assert!(!names.moved(a, b) && !names.moved(a, a), "there it may be remembered, too");
        assert!(!names.moved(c, a), "nothing is remembered of it");
        assert!(names.take([b].into_iter()) && names.give(a));
        assert!(names.moved(a, b), "others change that one");
        assert!(!names.moved(a, b), "all is forgotten");
    }

    #[test]
    fn names_are_forgotten_all_at_once_and_seldom() {
        let names = KernelNames::default();
        let [a, b, c] = [1, 2, 3].map(InodeId);
        assert!(!names.give(a), "an old kernel");
        names.can_be_forgotten();
        assert!(names.give(a) && names.give(b));
        assert!(!names.take([c].into_iter()), "the kernel remembers none of it");
        assert!(names.take([a].into_iter()));
        assert!(!names.give(a), "others change it");
        assert!(!names.take([b].into_iter()), "forgotten along with the others");
        assert!(names.give(b) && names.take_all() && !names.take_all());
    }
}
