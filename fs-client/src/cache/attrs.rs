//! Attributes by inode.

use std::time::Duration;

use cairn_proto::attr::Attr;
use cairn_proto::ids::InodeId;

use super::Valid;
use super::clock::Moment;
use super::lru::ShardedLru;

/// The newest attributes known of each inode.
///
/// Replies overtake each other on their way; [`Attr::changed_at`] says which one is newer, so an older one never replaces it.
#[derive(Debug)]
pub struct AttrCache {
    entries: ShardedLru<InodeId, Known>,
    validity: Duration,
}

#[derive(Clone, Debug)]
struct Known {
    attr: Attr,
    until: Moment,
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
    pub fn new(capacity: usize, validity: Duration) -> Self {
        Self { entries: ShardedLru::new(capacity), validity }
    }

    /// Attributes that may still be believed at `now`.
    pub fn get(&self, inode: InodeId, now: Moment) -> Option<Valid<Attr>> {
        self.entries.with(&inode, |shard| {
            let known = shard.get(&inode)?;
            let remaining = known.until.since(now);
            (!remaining.is_zero()).then(|| Valid { value: known.attr.clone(), remaining })
        })
    }

    /// The newest attributes seen, however long ago.
    pub fn last_seen(&self, inode: InodeId) -> Option<Attr> {
        self.entries.with(&inode, |shard| shard.peek(&inode).map(|known| known.attr.clone()))
    }

    /// Enters what the metaserver answered to something asked at `asked`.
    pub fn learn(&self, attr: &Attr, asked: Moment) -> Learned {
        let until = asked.after(self.validity);
        self.entries.with(&attr.inode, |shard| match shard.get_mut(&attr.inode) {
            Some(known) if known.attr.changed_at > attr.changed_at => Learned::Outdated,
            Some(known) => {
                let until = known.until.max(until);
                *known = Known { attr: attr.clone(), until };
                Learned::Newest
            }
            None => {
                shard.put(attr.inode, Known { attr: attr.clone(), until });
                Learned::Newest
            }
        })
    }

    /// No longer to be believed, though still the newest seen.
    pub fn doubt(&self, inode: InodeId) {
        self.entries.with(&inode, |shard| {
            if let Some(known) = shard.peek_mut(&inode) {
                known.until = Moment::default();
            }
        });
    }

    pub fn clear(&self) {
        self.entries.clear();
    }
}
