//! Changes that were done here and never came to the metaserver: who waits for them to be durable is told.
//!
//! As with Linux' `errseq_t` (`lib/errseq.c`), and as [`crate::io`] does for bytes: a loss is told once to every descriptor that was open at
//! the time, and where none of them has asked yet, to the next one that is opened.

use cairn_proto::ids::InodeId;
use lru::LruCache;

/// Inodes of which it is remembered that something was lost: more than wait to be sent at a time can touch.
const REMEMBERED: usize = 64 << 10;

/// Up to which loss somebody has been told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LossCursor(u64);

/// See the module.
#[derive(Debug)]
pub(super) struct Losses {
    /// Times that something was lost.
    count: u64,
    /// Those of them that who syncs the whole mount has been told of.
    told: u64,
    by_inode: LruCache<InodeId, Loss>,
}

/// The last loss of something that touched an inode.
#[derive(Debug)]
struct Loss {
    number: u64,
    /// Somebody has been told.
    seen: bool,
}

impl Default for Losses {
    fn default() -> Self {
        Self { count: 0, told: 0, by_inode: LruCache::unbounded() }
    }
}

impl Losses {
    /// What touched these is lost.
    pub fn record(&mut self, touched: impl IntoIterator<Item = InodeId>) {
        self.count += 1;
        for inode in touched {
            self.by_inode.put(inode, Loss { number: self.count, seen: false });
        }
        while self.by_inode.len() > REMEMBERED {
            self.by_inode.pop_lru();
        }
    }

    /// Times that something was lost: to see whether one was added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// For a file or directory that is opened.
    pub fn cursor(&self, inode: InodeId) -> LossCursor {
        match self.by_inode.peek(&inode) {
            Some(loss) if !loss.seen => LossCursor(loss.number - 1),
            _ => LossCursor(self.count),
        }
    }

    /// Whether something of `inode` was lost since `cursor`: answers so once.
    pub fn take(&mut self, inode: InodeId, cursor: &mut LossCursor) -> bool {
        let Some(loss) = self.by_inode.get_mut(&inode).filter(|loss| loss.number > cursor.0) else { return false };
        *cursor = LossCursor(loss.number);
        loss.seen = true;
        true
    }

    /// Whether anything was lost of which nobody who synced the whole mount has been told.
    pub fn take_any(&mut self) -> bool {
        std::mem::replace(&mut self.told, self.count) < self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: InodeId = InodeId(1);
    const B: InodeId = InodeId(2);

    #[test]
    fn each_descriptor_is_told_once_and_only_of_its_own() {
        let mut losses = Losses::default();
        let (mut one, mut two, mut other) = (losses.cursor(A), losses.cursor(A), losses.cursor(B));
        assert!(!losses.take(A, &mut one));
        losses.record([A]);
        assert!(losses.take(A, &mut one) && !losses.take(A, &mut one));
        assert!(losses.take(A, &mut two) && !losses.take(A, &mut two));
        assert!(!losses.take(B, &mut other));
        losses.record([A, B]);
        assert!(losses.take(A, &mut one) && losses.take(B, &mut other));
    }

    #[test]
    fn what_nobody_was_told_waits_for_the_next_open() {
        let mut losses = Losses::default();
        losses.record([A]);
        losses.record([B]);
        let mut late = losses.cursor(A);
        assert!(losses.take(A, &mut late));
        let mut later = losses.cursor(A);
        assert!(!losses.take(A, &mut later), "it has been told");
    }

    #[test]
    fn who_syncs_everything_is_told_of_everything_once() {
        let mut losses = Losses::default();
        assert!(!losses.take_any());
        losses.record([A]);
        losses.record([]);
        assert_eq!(losses.count(), 2);
        assert!(losses.take_any() && !losses.take_any());
    }
}
