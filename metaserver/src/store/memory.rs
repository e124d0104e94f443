//! An engine without a disk, for tests and simulation.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use parking_lot::RwLock;

use super::{Pair, Read, Store, StoreError, WriteSet};

/// A `BTreeMap` behind a lock.
#[derive(Debug, Default)]
pub struct MemoryStore {
    pairs: RwLock<BTreeMap<Bytes, Bytes>>,
}

impl Read for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.pairs.read().get(key).cloned())
    }

    fn scan_page(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        let pairs = self.pairs.read();
        let range = pairs.range::<[u8], _>((Bound::Included(start), Bound::Excluded(end.max(start))));
        Ok(range.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

impl Store for MemoryStore {
    fn write(&self, writes: &WriteSet) -> Result<(), StoreError> {
        let mut pairs = self.pairs.write();
        for (key, value) in writes.iter() {
            match value {
                Some(value) => pairs.insert(key.clone(), value.clone()),
                None => pairs.remove(key),
            };
        }
        Ok(())
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.pairs.write().clear();
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn size(&self) -> Result<u64, StoreError> {
        Ok(self.pairs.read().iter().map(|(key, value)| (key.len() + value.len()) as u64).sum())
    }
}
