//! Which contents of a file this mount, and the kernel above it, may have cached.
//!
//! The kernel drops the pages of a file when told to, or when the file is opened and the open does not say "keep". This is
//! where it is decided: a file whose modification time and size moved without this mount's doing has new contents.

use cairn_proto::attr::Attr;
use cairn_proto::ids::{InodeId, LogIndex};
use cairn_proto::time::Timestamp;

use super::lru::ShardedLru;

/// Contents last seen, by inode.
#[derive(Debug)]
pub struct Contents {
    entries: ShardedLru<InodeId, Version>,
}

#[derive(Clone, Copy, Debug)]
struct Version {
    changed_at: LogIndex,
    mtime: Timestamp,
    size: u64,
}

/// What an answer of the metaserver says of a file's contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The same as this mount knows.
    None,
    /// Nothing was known.
    FirstSeen,
    /// Somebody else has written.
    Changed,
}

impl Contents {
    pub fn new(capacity: usize) -> Self {
        Self { entries: ShardedLru::new(capacity) }
    }

    /// This mount has changed the file; `attr` came back.
    pub fn wrote(&self, attr: &Attr) {
        self.entries.with(&attr.inode, |shard| {
            let known = shard.get_or_insert_mut(attr.inode, || Version::of(attr));
            if known.changed_at <= attr.changed_at {
                *known = Version::of(attr);
            }
        });
    }

    /// The metaserver says that the file is like `attr`.
    pub fn saw(&self, attr: &Attr) -> Change {
        self.entries.with(&attr.inode, |shard| {
            let Some(known) = shard.get_mut(&attr.inode) else {
                shard.put(attr.inode, Version::of(attr));
                return Change::FirstSeen;
            };
            if attr.changed_at <= known.changed_at {
                return Change::None;
            }
            let same = (known.mtime, known.size) == (attr.mtime, attr.size);
            *known = Version::of(attr);
            if same { Change::None } else { Change::Changed }
        })
    }

    /// What is cached of the file is not to be trusted.
    pub fn forget(&self, inode: InodeId) {
        self.entries.remove(&inode);
    }

    /// Whether anything is known of the file.
    pub fn knows(&self, inode: InodeId) -> bool {
        self.entries.with(&inode, |shard| shard.contains(&inode))
    }
}

impl Version {
    fn of(attr: &Attr) -> Self {
        Self { changed_at: attr.changed_at, mtime: attr.mtime, size: attr.size }
    }
}
