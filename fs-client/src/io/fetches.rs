//! The reads from chunkservers that are under way for one file, so that two readers of a range ask for it once.

use std::collections::BTreeMap;
use std::ops::Range;

use tokio::sync::watch;

use super::error::IoError;
use super::pieces::SLOT_BYTES;
use super::runs::Parts;

/// What a fetch brings. The range is covered, unless the fetch was given up.
pub(super) type Fetched = Option<Result<Parts, IoError>>;

/// Fetches by their start and a number of their own; each within one slot.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    under_way: BTreeMap<(u64, u64), Fetch>,
    next: u64,
}

#[derive(Debug)]
struct Fetch {
    end: u64,
    result: watch::Receiver<Fetched>,
}

/// Names a fetch under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FetchId(u64, u64);

impl Fetches {
    /// The fetches that bring some of `range`.
    pub(super) fn overlapping(&self, range: &Range<u64>) -> Vec<(Range<u64>, watch::Receiver<Fetched>)> {
        self.touching(range).map(|((start, _), fetch)| (*start..fetch.end, fetch.result.clone())).collect()
    }

    pub(super) fn begin(&mut self, range: Range<u64>) -> (FetchId, watch::Sender<Fetched>) {
        debug_assert!(range.start / SLOT_BYTES == (range.end - 1) / SLOT_BYTES);
        let (sender, result) = watch::channel(None);
        self.next += 1;
        self.under_way.insert((range.start, self.next), Fetch { end: range.end, result });
        (FetchId(range.start, self.next), sender)
    }

    /// A fetch has ended. Answers whether what it brought is still what the chunkservers hold.
    pub(super) fn end(&mut self, id: FetchId) -> bool {
        self.under_way.remove(&(id.0, id.1)).is_some()
    }

    /// `range` changes: what is being fetched of it serves those who wait for it, and nobody else.
    pub(super) fn disown(&mut self, range: &Range<u64>) {
        if self.under_way.is_empty() {
            return;
        }
        let touched: Vec<(u64, u64)> = self.touching(range).map(|(key, _)| *key).collect();
        for key in touched {
            self.under_way.remove(&key);
        }
    }

    fn touching(&self, range: &Range<u64>) -> impl Iterator<Item = (&(u64, u64), &Fetch)> + use<'_> {
        let from = range.start;
        let first = (from.saturating_sub(SLOT_BYTES), 0);
        self.under_way.range(first..(range.end, 0)).filter(move |(_, fetch)| fetch.end > from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_and_disowns_what_overlaps() {
        let mut fetches = Fetches::default();
        let (a, _a) = fetches.begin(0..4096);
        let (b, _b) = fetches.begin(4096..8192);
        let ranges = |fetches: &Fetches, range: Range<u64>| {
            fetches.overlapping(&range).into_iter().map(|(range, _)| (range.start, range.end)).collect::<Vec<_>>()
        };
        assert_eq!(ranges(&fetches, 4095..4096), [(0, 4096)]);
        assert_eq!(ranges(&fetches, 0..10_000), [(0, 4096), (4096, 8192)]);
        assert_eq!(ranges(&fetches, 8192..10_000), []);
        fetches.disown(&(5000..5001));
        assert_eq!(ranges(&fetches, 0..10_000), [(0, 4096)]);
        assert!(fetches.end(a));
        assert!(!fetches.end(b));
    }
}
