//! The newest entries, kept decoded.

use std::collections::VecDeque;
use std::ops::Range;

use super::types::Entry;

/// Bytes of entries that are kept although they are on disk.
const KEEP_BYTES: usize = 16 * 1024 * 1024;

/// What an entry takes besides its payload; an estimate.
const ENTRY_OVERHEAD_BYTES: usize = 256;

/// Consecutive entries up to the newest. An entry is applied a moment after it is written, and is read from here.
#[derive(Debug, Default)]
pub(super) struct Tail {
    entries: VecDeque<(Entry, usize)>,
    bytes: usize,
}

impl Tail {
    /// Adds an entry, `bytes` long on disk, after the newest one.
    pub(super) fn push(&mut self, entry: Entry, bytes: usize) {
        self.bytes += bytes + ENTRY_OVERHEAD_BYTES;
        self.entries.push_back((entry, bytes + ENTRY_OVERHEAD_BYTES));
    }

    /// Forgets old entries beyond the limit, but none from `unwritten` on: those are nowhere else yet.
    pub(super) fn shrink(&mut self, unwritten: u64) {
        while self.bytes > KEEP_BYTES && self.first().is_some_and(|first| first < unwritten) {
            self.pop_front();
        }
    }

    /// Forgets entries up to `upto`.
    pub(super) fn purge(&mut self, upto: u64) {
        while self.first().is_some_and(|first| first <= upto) {
            self.pop_front();
        }
    }

    /// Forgets entries from `from` on.
    pub(super) fn truncate(&mut self, from: u64) {
        while self.entries.back().is_some_and(|(last, _)| last.log_id.index >= from) {
            let (_, bytes) = self.entries.pop_back().expect("checked by the loop");
            self.bytes -= bytes;
        }
    }

    /// Index of the oldest entry that is kept.
    pub(super) fn first(&self) -> Option<u64> {
        self.entries.front().map(|(entry, _)| entry.log_id.index)
    }

    /// The newest entry.
    pub(super) fn last(&self) -> Option<&Entry> {
        self.entries.back().map(|(entry, _)| entry)
    }

    /// Those of `range` that are kept.
    pub(super) fn get(&self, range: Range<u64>) -> Vec<Entry> {
        let Some(first) = self.first() else { return Vec::new() };
        let place = |index: u64| (index.saturating_sub(first) as usize).min(self.entries.len());
        let (start, end) = (place(range.start), place(range.end));
        self.entries.range(start..end.max(start)).map(|(entry, _)| entry.clone()).collect()
    }

    fn pop_front(&mut self) {
        if let Some((_, bytes)) = self.entries.pop_front() {
            self.bytes -= bytes;
        }
    }
}
