//! A transaction: a write set over what can be read below it.
//!
//! A transaction reads its own writes and changes nothing until its [`WriteSet`] is taken out and committed. As it is
//! itself [`Read`], transactions nest: an operation that may be rejected half way runs in a nested one, which is
//! [absorbed](Txn::absorb) when it succeeds and dropped when it does not.

use std::iter::Peekable;

use bytes::Bytes;

use super::meta::is_reserved;
use super::{Pair, Read, Scan, StoreError, WriteSet, scan};

/// A write set over a [`Read`]; see the module.
pub struct Txn<'a> {
    base: &'a dyn Read,
    writes: WriteSet,
}

impl<'a> Txn<'a> {
    pub fn new(base: &'a dyn Read) -> Self {
        Self { base, writes: WriteSet::default() }
    }

    /// A transaction over this one: it sees what this one wrote.
    pub fn nested(&self) -> Txn<'_> {
        Txn::new(self)
    }

    /// The value of `key`, own writes included.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self.writes.get(key) {
            Some(written) => Ok(written.clone()),
            None => self.base.get(key),
        }
    }

    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        let key = key.into();
        debug_assert!(!is_reserved(&key), "key {key:?} belongs to the keyspace");
        self.writes.put(key, value.into());
    }

    pub fn delete(&mut self, key: impl Into<Bytes>) {
        let key = key.into();
        debug_assert!(!is_reserved(&key), "key {key:?} belongs to the keyspace");
        self.writes.delete(key);
    }

    /// Iterates over `start..end` in order, own writes included. Lazy: what is not read costs nothing.
    pub fn scan(&self, start: &[u8], end: &[u8]) -> Merge<'_> {
        Merge { base: scan(self.base, start, end).peekable(), own: self.writes.range(start, end).peekable() }
    }

    /// Lays the writes of a [nested](Txn::nested) transaction over this one.
    pub fn absorb(&mut self, writes: WriteSet) {
        self.writes.absorb(writes);
    }

    /// What was written, to be committed or absorbed.
    pub fn into_writes(self) -> WriteSet {
        self.writes
    }

    /// Number of keys written so far.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

impl Read for Txn<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Txn::get(self, key)
    }

    fn scan_page(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        let mut own = self.writes.range(start, end).peekable();
        if own.peek().is_none() {
            return self.base.scan_page(start, end, limit);
        }
        self.scan(start, end).take(limit).collect()
    }
}

impl std::fmt::Debug for Txn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Txn").field("writes", &self.writes).finish_non_exhaustive()
    }
}

/// A scan of a transaction: two ordered streams, of which its own writes win; see [`Txn::scan`].
#[derive(Debug)]
pub struct Merge<'a> {
    base: Peekable<Scan<'a>>,
    own: Peekable<std::collections::btree_map::Range<'a, Bytes, Option<Bytes>>>,
}

impl Iterator for Merge<'_> {
    type Item = Result<Pair, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let own_is_next = match (self.base.peek(), self.own.peek()) {
                (Some(Err(_)), _) | (Some(_), None) => false,
                (None, _) => true,
                (Some(Ok((base_key, _))), Some((own_key, _))) if *own_key == base_key => {
                    self.base.next();
                    true
                }
                (Some(Ok((base_key, _))), Some((own_key, _))) => *own_key < base_key,
            };
            if !own_is_next {
                return self.base.next();
            }
            if let (key, Some(value)) = self.own.next()? {
                return Some(Ok((key.clone(), value.clone())));
            }
        }
    }
}
