//! Extended attributes by inode and name, the absent ones included.
//!
//! The kernel asks for ACLs and file capabilities far more often than there are any.

use std::collections::HashMap;
use std::sync::Arc;

use cairn_proto::ids::{InodeId, LogIndex};
use cairn_proto::name::Name;

use super::lru::ShardedLru;

/// Longest value that is remembered, in bytes: enough for any sensible ACL.
const MAX_VALUE_BYTES: usize = 4096;
/// Values remembered of one inode.
const MAX_VALUES: usize = 16;

/// A value, or that there is none.
pub type XattrValue = Option<Arc<[u8]>>;

/// Values as of a version of their inode. They carry no validity of their own: whoever holds believable attributes with the
/// same `changed_at` may believe them too.
#[derive(Debug)]
pub struct XattrCache {
    entries: ShardedLru<InodeId, Known>,
}

#[derive(Debug)]
struct Known {
    as_of: LogIndex,
    values: HashMap<Name, XattrValue>,
}

impl XattrCache {
    /// Room for the attributes of `capacity` inodes.
    pub fn new(capacity: usize) -> Self {
        Self { entries: ShardedLru::new(capacity) }
    }

    /// The outer `Option`: whether it is known.
    pub fn get(&self, inode: InodeId, name: &Name, as_of: LogIndex) -> Option<XattrValue> {
        self.entries
            .with(&inode, |shard| shard.get(&inode).filter(|known| known.as_of == as_of)?.values.get(name).cloned())
    }

    /// Enters a value that was asked for when the inode was known to be at `as_of` or newer.
    pub fn learn(&self, inode: InodeId, name: Name, value: XattrValue, as_of: LogIndex) {
        if value.as_ref().is_some_and(|value| value.len() > MAX_VALUE_BYTES) {
            return;
        }
        self.entries.with(&inode, |shard| {
            let known = shard.get_or_insert_mut(inode, || Known { as_of, values: HashMap::new() });
            if known.as_of < as_of || known.values.len() >= MAX_VALUES {
                *known = Known { as_of, values: HashMap::new() };
            }
            if known.as_of == as_of {
                known.values.insert(name, value);
            }
        });
    }

    pub fn clear(&self) {
        self.entries.clear();
    }
}
