//! sled as an engine. Why this version and how it behaves: `docs/decisions/0001-sled-version.md`.
//!
//! Two of its habits shape this file. A handle may be used by one thread at a time, so there is a pool of them. And a
//! flush that failed leaves it unable to say which of its pages are stale, and waits for ever at the next one: after an
//! error of that kind the engine is not touched again, not even to close it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Damage, Pair, Read, Store, StoreError, WriteSet};

/// Pairs in a leaf. Measured from 32 to 512: writes gain little beyond this, and what is read from disk at once grows.
const LEAF_FANOUT: usize = 128;

/// The engine's flusher thread has to exist, and never to do anything but the last flush: without the thread, each handle and each
/// scan flushes when it is dropped, every file of the database with it (measured: 20 ms on a directory lookup).
const FLUSHER_NEVER_MS: usize = 100 * 365 * 24 * 3_600_000;

type Db = sled::Db<LEAF_FANOUT>;

/// A sled database of one tree.
pub struct SledStore {
    /// Idle handles; never empty while nobody is using the store.
    handles: Mutex<Vec<Db>>,
    /// One flush at a time: a second one fails an assertion in the engine.
    flushing: Mutex<()>,
    broken: AtomicBool,
}

impl SledStore {
    /// Opens or creates the database in `dir`, with a page cache of `cache_bytes`.
    pub fn open(dir: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        let config =
            sled::Config::new().path(dir).cache_capacity_bytes(cache_bytes).flush_every_ms(Some(FLUSHER_NEVER_MS));
        // sled checks what it recovers by assertions.
        let opened = catch_unwind(AssertUnwindSafe(|| config.open::<LEAF_FANOUT>()));
        let db = match opened {
            Ok(Ok(db)) => db,
            Ok(Err(error)) => return Err(cannot_open(error)),
            Err(_) => return Err(Damage::Unopenable("an assertion failed in recovery".into()).into()),
        };
        Ok(Self { handles: Mutex::new(vec![db]), flushing: Mutex::new(()), broken: AtomicBool::new(false) })
    }

    /// Runs `work` on a handle. Handles are made when needed: there come to be as many as threads ever met here.
    fn with<T>(&self, action: &'static str, work: impl FnOnce(&Db) -> io::Result<T>) -> Result<T, StoreError> {
        if self.broken.load(Ordering::Acquire) {
            return Err(StoreError::Io {
                action,
                source: io::Error::other("the engine was stopped by an earlier error"),
            });
        }
        let db = {
            let mut handles = self.handles.lock();
            // The last one stays, to make others from.
            if handles.len() > 1 { handles.pop() } else { handles.first().cloned() }
        };
        let db = db.expect("the last handle is never taken out");
        let result = work(&db);
        self.handles.lock().push(db);
        result.map_err(|error| StoreError::from_io(action, error))
    }
}

impl Read for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.with("reading", |db| Ok(db.get(key)?.map(|value| Bytes::copy_from_slice(&value))))
    }

    fn scan_page(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.with("scanning", |db| {
            // The end is looked for here: a range of the engine that has one goes on through all pages to the end of the tree, to
            // see whether something in them lies before it.
            let is_within = |pair: &io::Result<(sled::InlineArray, sled::InlineArray)>| match pair {
                Ok((key, _)) => key.as_ref() < end,
                Err(_) => true,
            };
            let pairs = db.range(start..).take_while(is_within).take(limit);
            pairs.map(|pair| pair.map(|(k, v)| (Bytes::copy_from_slice(&k), Bytes::copy_from_slice(&v)))).collect()
        })
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
        self.with("writing", |db| db.apply_batch(batch))
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.with("clearing", |db| db.clear())
    }

    fn flush(&self) -> Result<(), StoreError> {
        let _flushing = self.flushing.lock();
        let flushed = catch_unwind(AssertUnwindSafe(|| self.with("flushing", |db| db.flush())));
        let result = flushed.unwrap_or_else(|_| {
            Err(StoreError::Io { action: "flushing", source: io::Error::other("an assertion failed in the engine") })
        });
        if result.is_err() {
            self.broken.store(true, Ordering::Release);
        }
        result.map(drop)
    }

    fn size(&self) -> Result<u64, StoreError> {
        self.with("measuring", |db| db.size_on_disk())
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        // The engine's own last flush ends the process when it fails.
        let _ = self.flush();
        if *self.broken.get_mut() {
            // Closing flushes, and that would wait for ever.
            std::mem::forget(std::mem::take(self.handles.get_mut()));
        }
    }
}

/// Damage, unless it is plain that something else is to blame.
fn cannot_open(error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::from_io("opening", error),
        // It is open elsewhere in this process.
        io::ErrorKind::WouldBlock | io::ErrorKind::PermissionDenied => StoreError::from_io("opening", error),
        _ => Damage::Unopenable(error.to_string()).into(),
    }
}

impl std::fmt::Debug for SledStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledStore").field("broken", &self.broken).finish_non_exhaustive()
    }
}
