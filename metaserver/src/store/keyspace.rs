//! One engine, and the order in which it is read and written.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};

use super::cache::ReadCache;
use super::image::{Image, Shadow};
use super::meta::{TAG_HEAD, TAG_TAIL};
use super::{Damage, Digest, Meta, Pair, Read, Scan, Store, StoreError, WriteSet, scan};

/// Bytes that are loaded between flushes: what an engine may have to hold in memory.
const LOAD_FLUSH_BYTES: usize = 64 * 1024 * 1024;

/// The state that commands are applied to: an engine, one writer at a time, and readers who see whole commits only.
///
/// Every commit carries the [`Meta`] record in its batch. A reader takes a [`View`]: for as long as it lives, commits
/// wait, so it must be short (a few lookups, a page of a directory).
pub struct Keyspace {
    /// Held by whoever changes the state, from before the old values are read until the new ones are in.
    changing: Mutex<()>,
    /// Held shared by views, exclusively while a batch goes in.
    gate: RwLock<()>,
    /// Held for a moment only: whoever holds a view may ask for it.
    meta: Mutex<Meta>,
    /// Of the image that is being read at the moment, if any.
    pub(super) shadow: Mutex<Option<Shadow>>,
    /// Filled by views and commits only, which exclude each other: it never holds what the engine no longer does.
    cache: ReadCache,
    store: Box<dyn Store>,
}

impl Keyspace {
    /// Takes over an engine. Reads its record, and fails with [`Damage::TornBatch`] where the two copies of it differ.
    ///
    /// `cache_bytes` limits what is kept of recent reads and writes.
    pub fn open(store: impl Store, cache_bytes: usize) -> Result<Arc<Self>, StoreError> {
        let meta = Mutex::new(Meta::load(&store)?);
        let cache = ReadCache::new(cache_bytes);
        Ok(Arc::new(Self {
            changing: Mutex::new(()),
            gate: RwLock::new(()),
            meta,
            shadow: Mutex::new(None),
            cache,
            store: Box::new(store),
        }))
    }

    /// A consistent look at the state; see the type. A thread has one at a time: a second one would wait for a commit that
    /// waits for the first.
    pub fn view(&self) -> View<'_> {
        View { store: &*self.store, cache: &self.cache, _gate: self.gate.read() }
    }

    /// How far the log is applied, in the raft module's words; empty where nothing ever was.
    pub fn applied(&self) -> Bytes {
        self.meta.lock().applied.clone()
    }

    /// Digest and number of all pairs.
    pub fn digest(&self) -> Digest {
        self.meta.lock().digest
    }

    /// Digest and applied record, of the same moment.
    pub fn meta(&self) -> Meta {
        self.meta.lock().clone()
    }

    /// Writes `writes` and the new applied record as one atomic batch. Only one thread may commit: the one that applies.
    pub fn commit(&self, mut writes: WriteSet, applied: Bytes) -> Result<(), StoreError> {
        let _changing = self.changing.lock();
        let mut next = Meta { digest: self.digest(), applied };
        // Without the gate: nobody else writes, so what is read here stays true.
        for (key, value) in writes.iter() {
            let old = match self.cache.get(key) {
                Some(cached) => cached,
                None => self.store.get(key)?,
            };
            if let Some(old) = &old {
                next.digest.subtract(key, old);
            }
            if let Some(value) = value {
                next.digest.add(key, value);
            }
            if let Some(shadow) = &mut *self.shadow.lock() {
                shadow.remember(key, old);
            }
        }
        let record = next.encode();
        writes.put(Bytes::from_static(&[TAG_HEAD]), record.clone());
        writes.put(Bytes::from_static(&[TAG_TAIL]), record);
        let _gate = self.gate.write();
        self.store.write(&writes)?;
        for (key, value) in writes.iter() {
            self.cache.insert(key.clone(), value.clone());
        }
        *self.meta.lock() = next;
        Ok(())
    }

    /// Starts reading everything, as it is now, without holding up later commits for longer than a page takes.
    pub fn image(self: &Arc<Self>) -> Result<Image, StoreError> {
        Image::begin(Arc::clone(self))
    }

    /// Reads everything and compares it with the digest. Commits wait for it only a page at a time.
    pub fn verify(self: &Arc<Self>) -> Result<Digest, StoreError> {
        let mut image = self.image()?;
        let recorded = image.meta().digest;
        let mut found = Digest::default();
        while let Some(page) = image.next_page()? {
            for (key, value) in &page {
                found.add(key, value);
            }
        }
        if found == recorded {
            return Ok(found);
        }
        Err(Damage::DigestMismatch { recorded_pairs: recorded.pairs, found_pairs: found.pairs }.into())
    }

    /// Replaces everything by `pages` and the record `meta`, which is theirs.
    ///
    /// The record is written last. Until then, and after an error, the store claims to be empty and is not, which
    /// [`Keyspace::verify`] finds: it has to be loaded again.
    pub fn load<E: From<StoreError>>(
        &self,
        meta: Meta,
        pages: impl Iterator<Item = Result<Vec<Pair>, E>>,
    ) -> Result<(), E> {
        self.clear()?;
        let _changing = self.changing.lock();
        let mut unflushed = 0;
        for page in pages {
            let mut writes = WriteSet::default();
            page?.into_iter().for_each(|(key, value)| writes.put(key, value));
            unflushed += writes.bytes();
            let gate = self.gate.write();
            self.store.write(&writes)?;
            drop(gate);
            if unflushed > LOAD_FLUSH_BYTES {
                self.store.flush()?;
                unflushed = 0;
            }
        }
        let mut writes = WriteSet::default();
        writes.put(Bytes::from_static(&[TAG_HEAD]), meta.encode());
        writes.put(Bytes::from_static(&[TAG_TAIL]), meta.encode());
        let _gate = self.gate.write();
        self.store.write(&writes)?;
        self.cache.clear();
        *self.meta.lock() = meta;
        Ok(())
    }

    /// Removes everything, the applied record too.
    pub fn clear(&self) -> Result<(), StoreError> {
        let _changing = self.changing.lock();
        let _gate = self.gate.write();
        self.store.clear()?;
        self.cache.clear();
        *self.meta.lock() = Meta::default();
        if let Some(shadow) = &mut *self.shadow.lock() {
            shadow.lost = true;
        }
        Ok(())
    }

    /// Moves what is only in memory to disk.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.store.flush()
    }

    /// Bytes that the engine occupies.
    pub fn size(&self) -> Result<u64, StoreError> {
        self.store.size()
    }

    /// While this is held, no change is under way.
    pub(super) fn hold_changes(&self) -> MutexGuard<'_, ()> {
        self.changing.lock()
    }
}

impl std::fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyspace").field("meta", &self.meta).finish_non_exhaustive()
    }
}

/// The state between two commits. Later commits wait until it is dropped.
pub struct View<'a> {
    store: &'a dyn Store,
    cache: &'a ReadCache,
    _gate: RwLockReadGuard<'a, ()>,
}

impl View<'_> {
    /// Iterates over `start..end` in order, lazily.
    pub fn scan(&self, start: &[u8], end: &[u8]) -> Scan<'_> {
        scan(self, start, end)
    }
}

impl Read for View<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if let Some(cached) = self.cache.get(key) {
            return Ok(cached);
        }
        let value = self.store.get(key)?;
        self.cache.insert(Bytes::copy_from_slice(key), value.clone());
        Ok(value)
    }

    fn scan_page(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.store.scan_page(start, end, limit)
    }
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}
