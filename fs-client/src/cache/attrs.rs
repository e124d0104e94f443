//! Attributes by inode.

use cairn_proto::attr::Attr;
use cairn_proto::ids::InodeId;
use cairn_proto::time::Timestamp;
use parking_lot::Mutex;

use super::drops::{Asked, Drops};
use super::lru::ShardedLru;

/// The newest attributes known of each inode.
///
/// Replies overtake each other on their way; [`Attr::changed_at`] says which one is newer, so an older one never replaces it. They
/// are to be believed for as long as this mount has a lease on the inode.
#[derive(Debug)]
pub struct AttrCache {
    entries: ShardedLru<InodeId, Known>,
    /// Inodes that had to go, with leases on them that nobody needs any more.
    spare: Mutex<Vec<InodeId>>,
}

#[derive(Clone, Debug)]
struct Known {
    attr: Attr,
    is_leased: bool,
}

/// What [`AttrCache::learn`] made of attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// They are the newest now.
    Newest,
    /// Something newer was known.
    Outdated,
}

impl AttrCache {
    pub fn new(capacity: usize) -> Self {
        Self { entries: ShardedLru::new(capacity), spare: Mutex::default() }
    }

    /// Attributes that are right.
    pub fn get(&self, inode: InodeId) -> Option<Attr> {
        self.entries
            .with(&inode, |shard| shard.get(&inode).filter(|known| known.is_leased).map(|known| known.attr.clone()))
    }

    /// Whether this mount has a lease on the inode.
    pub fn is_leased(&self, inode: InodeId) -> bool {
        self.entries.with(&inode, |shard| shard.peek(&inode).is_some_and(|known| known.is_leased))
    }

    /// The newest attributes seen, however long ago.
    pub fn last_seen(&self, inode: InodeId) -> Option<Attr> {
        self.entries.with(&inode, |shard| shard.peek(&inode).map(|known| known.attr.clone()))
    }

    /// Enters what the metaserver answered to something asked at `asked`. `leased`: it came with a lease. Without one they are
    /// believed where this mount has one already.
    pub fn learn(&self, attr: &Attr, leased: bool, asked: Asked, drops: &Drops) -> Learned {
        let inode = attr.inode;
        let (learned, gone) = self.entries.with(&inode, |shard| {
            // Under the lock under which leases end.
            let leased = leased && drops.is_current(inode, asked);
            if let Some(known) = shard.get_mut(&inode) {
                known.is_leased |= leased;
                if known.attr.changed_at > attr.changed_at {
                    return (Learned::Outdated, None);
                }
                known.attr = attr.clone();
                return (Learned::Newest, None);
            }
            (Learned::Newest, shard.push(inode, Known { attr: attr.clone(), is_leased: leased }))
        });
        if let Some((gone, Known { is_leased: true, .. })) = gone {
            self.spare.lock().push(gone);
        }
        learned
    }

    /// A later access time, which nobody else need be told of.
    pub fn touched(&self, inode: InodeId, atime: Timestamp) {
        self.entries.with(&inode, |shard| {
            if let Some(known) = shard.peek_mut(&inode) {
                known.attr.atime = known.attr.atime.max(atime);
            }
        });
    }

    /// No longer to be believed, though still the newest seen.
    pub fn doubt(&self, inode: InodeId) {
        self.entries.with(&inode, |shard| {
            if let Some(known) = shard.peek_mut(&inode) {
                known.is_leased = false;
            }
        });
    }

    /// No longer to be believed, any of them. Answers which ones were, and those that had to go and have leases still.
    pub fn doubt_all(&self) -> Vec<InodeId> {
        let mut doubted = std::mem::take(&mut *self.spare.lock());
        self.entries.for_each_mut(|&inode, known| {
            if std::mem::take(&mut known.is_leased) {
                doubted.push(inode);
            }
        });
        doubted
    }

    /// Inodes that are not remembered any more and have leases still, at most `most` of them.
    pub fn take_spare(&self, most: usize) -> Vec<InodeId> {
        let mut spare = self.spare.lock();
        let rest = spare.len().saturating_sub(most);
        spare.split_off(rest)
    }
}
