//! A consistent image of a keyspace, read page by page while commits go on.
//!
//! Engines need no snapshots for it. While an image is being read, every commit first leaves the old values of what it
//! changes in the image's [`Shadow`], save for keys that the image has passed already; a page is what the engine holds
//! now, corrected by the shadow. A commit thus pays for one map insertion per key, and waits for one page at most.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::meta::{TAG_HEAD, TAG_TAIL};
use super::scan::successor;
use super::{Keyspace, Meta, Pair, Read, StoreError};

/// Pairs that are read from the engine at a time: what a commit may have to wait for.
const PAGE_PAIRS: usize = 512;

/// Bytes of old values that a shadow may hold before the image is given up.
const SHADOW_BYTES_LIMIT: usize = 512 * 1024 * 1024;

/// What the map holds for a key besides its bytes; an estimate for the limit above.
const ENTRY_OVERHEAD_BYTES: usize = 96;

/// Everything that a keyspace held when [`Keyspace::image`] was called, save for the keyspace's own records.
#[derive(Debug)]
pub struct Image {
    keyspace: Arc<Keyspace>,
    meta: Meta,
    done: bool,
}

impl Image {
    pub(super) fn begin(keyspace: Arc<Keyspace>) -> Result<Self, StoreError> {
        let changes = keyspace.hold_changes();
        let mut shadow = keyspace.shadow.lock();
        if shadow.is_some() {
            return Err(StoreError::ImageBusy);
        }
        *shadow = Some(Shadow::default());
        let meta = keyspace.meta();
        drop(shadow);
        drop(changes);
        Ok(Self { keyspace, meta, done: false })
    }

    /// Digest and applied record at the moment of the image.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The next pairs in order of key; `None` after the last.
    pub fn next_page(&mut self) -> Result<Option<Vec<Pair>>, StoreError> {
        while !self.done {
            let page = self.read_page()?;
            if !page.is_empty() {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    fn read_page(&mut self) -> Result<Vec<Pair>, StoreError> {
        let view = self.keyspace.view();
        let mut slot = self.keyspace.shadow.lock();
        let shadow = slot.as_mut().filter(|shadow| !shadow.lost).ok_or(StoreError::ImageLost)?;
        let start = shadow.cursor.clone();
        let current = view.scan_page(&start, &[TAG_TAIL], PAGE_PAIRS)?;
        let end = match current.last() {
            Some((last, _)) if current.len() == PAGE_PAIRS => successor(last),
            _ => Bytes::from_static(&[TAG_TAIL]),
        };
        self.done = end[..] == [TAG_TAIL];
        Ok(shadow.pass(end, current))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        *self.keyspace.shadow.lock() = None;
    }
}

/// The old values that an unfinished image still needs.
#[derive(Debug)]
pub(super) struct Shadow {
    /// Keys below this one were read.
    cursor: Bytes,
    /// For keys that changed since: what the image has for them (`None`: nothing).
    old: BTreeMap<Bytes, Option<Bytes>>,
    held_bytes: usize,
    /// It cannot be completed any more.
    pub(super) lost: bool,
}

impl Default for Shadow {
    fn default() -> Self {
        // The first key above the head record.
        Self { cursor: successor(&[TAG_HEAD]), old: BTreeMap::new(), held_bytes: 0, lost: false }
    }
}

impl Shadow {
    /// Called for every key that a commit is about to change.
    pub(super) fn remember(&mut self, key: &Bytes, value: Option<Bytes>) {
        if self.lost || *key < self.cursor || self.old.contains_key(key) {
            return;
        }
        self.held_bytes += entry_bytes(key, value.as_ref());
        self.old.insert(key.clone(), value);
        if self.held_bytes > SHADOW_BYTES_LIMIT {
            self.old.clear();
            self.lost = true;
        }
    }

    /// Moves the cursor to `end` and corrects `current`, which is what the engine holds up to there.
    fn pass(&mut self, end: Bytes, current: Vec<Pair>) -> Vec<Pair> {
        let rest = self.old.split_off::<[u8]>(&end);
        let passed = std::mem::replace(&mut self.old, rest);
        self.held_bytes -= passed.iter().map(|(key, value)| entry_bytes(key, value.as_ref())).sum::<usize>();
        self.cursor = end;
        if passed.is_empty() {
            return current;
        }
        let mut page: BTreeMap<Bytes, Bytes> = current.into_iter().collect();
        for (key, value) in passed {
            match value {
                Some(value) => page.insert(key, value),
                None => page.remove(&key),
            };
        }
        page.into_iter().collect()
    }
}

fn entry_bytes(key: &Bytes, value: Option<&Bytes>) -> usize {
    ENTRY_OVERHEAD_BYTES + key.len() + value.map_or(0, Bytes::len)
}
