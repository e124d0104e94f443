//! sled as an engine.

use std::path::Path;

use bytes::Bytes;

use super::{Damage, Pair, Read, Store, StoreError, WriteSet};

/// A sled database, one tree of it.
#[derive(Debug)]
pub struct SledStore {
    db: sled::Db,
}

impl SledStore {
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let db = sled::Config::new().path(dir).open().map_err(|e| Damage::Unopenable(e.to_string()))?;
        Ok(Self { db })
    }
}

impl Read for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let value = self.db.get(key).map_err(|e| error("reading", e))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan_page(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        let mut page = Vec::new();
        for pair in self.db.range(start..end.max(start)).take(limit) {
            let (key, value) = pair.map_err(|e| error("scanning", e))?;
            page.push((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)));
        }
        Ok(page)
    }
}

impl Store for SledStore {
    fn write(&self, writes: &WriteSet) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for (key, value) in writes.iter() {
            match value {
                Some(value) => batch.insert(&key[..], &value[..]),
                None => batch.remove(&key[..]),
            }
        }
        self.db.apply_batch(batch).map_err(|e| error("writing", e))
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.db.clear().map_err(|e| error("clearing", e))
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.db.flush().map(drop).map_err(|e| error("flushing", e))
    }

    fn size(&self) -> Result<u64, StoreError> {
        self.db.size_on_disk().map_err(|e| error("measuring", e))
    }
}

fn error(action: &'static str, error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(source) => StoreError::from_io(action, source),
        other => Damage::Unopenable(other.to_string()).into(),
    }
}
