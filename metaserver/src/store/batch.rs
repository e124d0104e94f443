//! A set of writes, one per key.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

/// Writes to be applied together: a value for a put, `None` for a delete. The last write of a key wins.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct WriteSet {
    writes: BTreeMap<Bytes, Option<Bytes>>,
}

impl WriteSet {
    pub fn put(&mut self, key: Bytes, value: Bytes) {
        self.writes.insert(key, Some(value));
    }

    pub fn delete(&mut self, key: Bytes) {
        self.writes.insert(key, None);
    }

    /// What this set says of `key`: nothing (`None`), that it is deleted (`Some(None)`), or its value.
    pub fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        self.writes.get(key)
    }

    /// The writes in order of key.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Option<Bytes>)> {
        self.writes.iter()
    }

    /// The writes of `start..end` in order of key.
    pub fn range(&self, start: &[u8], end: &[u8]) -> std::collections::btree_map::Range<'_, Bytes, Option<Bytes>> {
        // An inverted range is an empty one; BTreeMap::range would panic.
        let end = end.max(start);
        self.writes.range::<[u8], _>((Bound::Included(start), Bound::Excluded(end)))
    }

    /// Lays `later` over this set.
    pub fn absorb(&mut self, later: WriteSet) {
        if self.writes.is_empty() {
            *self = later;
        } else {
            self.writes.extend(later.writes);
        }
    }

    pub fn len(&self) -> usize {
        self.writes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.writes.iter().map(|(k, v)| k.len() + v.as_ref().map_or(0, Bytes::len)).sum()
    }
}
