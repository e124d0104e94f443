//! Runs of bytes by offset, never overlapping: what is put last wins.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;

/// Slices of a file with their offsets, bottom layer first: see [`super::view`].
pub(super) type Parts = Vec<(u64, Bytes)>;

/// Non-overlapping runs, each with a tag. Nothing is ever copied: an overwritten run is sliced.
#[derive(Debug)]
pub(super) struct Runs<T> {
    map: BTreeMap<u64, (Bytes, T)>,
    bytes: usize,
}

impl<T> Default for Runs<T> {
    fn default() -> Self {
        Self { map: BTreeMap::new(), bytes: 0 }
    }
}

impl<T: Copy> Runs<T> {
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    /// Bytes in all runs.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    pub(super) fn put(&mut self, start: u64, data: Bytes, tag: T) {
        if data.is_empty() {
            return;
        }
        self.cut(start..start + data.len() as u64);
        self.bytes += data.len();
        self.map.insert(start, (data, tag));
    }

    /// Removes `range`, and answers how many bytes were in it.
    pub(super) fn cut(&mut self, range: Range<u64>) -> usize {
        let before = self.bytes;
        let touched: Vec<u64> = self.touching(&range).map(|(start, ..)| start).collect();
        for start in touched {
            let (data, tag) = self.map.remove(&start).expect("just seen");
            self.bytes -= data.len();
            let end = start + data.len() as u64;
            if start < range.start {
                let head = data.slice(..(range.start - start) as usize);
                self.bytes += head.len();
                self.map.insert(start, (head, tag));
            }
            if end > range.end {
                let tail = data.slice((range.end - start) as usize..);
                self.bytes += tail.len();
                self.map.insert(range.end, (tail, tag));
            }
        }
        before - self.bytes
    }

    /// Appends what lies in `range` to `parts`, cut to it.
    pub(super) fn parts(&self, range: &Range<u64>, parts: &mut Parts) {
        parts.extend(self.touching(range).map(|(start, data, _)| clip(start, data, range)));
    }

    /// The lowest run, removed.
    pub(super) fn pop_first(&mut self) -> Option<(u64, Bytes, T)> {
        let (start, (data, tag)) = self.map.pop_first()?;
        self.bytes -= data.len();
        Some((start, data, tag))
    }

    /// Removes and answers the runs that lie in `range` (cut to it) and whose tag is `wanted`.
    pub(super) fn take(&mut self, range: Range<u64>, wanted: impl Fn(T) -> bool) -> Parts {
        let taken: Parts = self
            .touching(&range)
            .filter(|(_, _, tag)| wanted(*tag))
            .map(|(start, data, _)| clip(start, data, &range))
            .collect();
        for (start, data) in &taken {
            self.cut(*start..*start + data.len() as u64);
        }
        taken
    }

    fn touching(&self, range: &Range<u64>) -> impl Iterator<Item = (u64, &Bytes, T)> + use<'_, T> {
        let (from, to) = (range.start, range.end.max(range.start));
        let before = self.map.range(..from).next_back().filter(|(start, (data, _))| **start + data.len() as u64 > from);
        before.into_iter().chain(self.map.range(from..to)).map(|(start, (data, tag))| (*start, data, *tag))
    }
}

/// The part of a run that lies in `range`.
pub(super) fn clip(start: u64, data: &Bytes, range: &Range<u64>) -> (u64, Bytes) {
    let from = start.max(range.start);
    let to = (start + data.len() as u64).min(range.end);
    (from, data.slice((from - start) as usize..(to - start) as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(runs: &Runs<u8>, range: Range<u64>) -> Vec<(u64, String)> {
        let mut parts = Parts::new();
        runs.parts(&range, &mut parts);
        parts.into_iter().map(|(start, data)| (start, String::from_utf8(data.to_vec()).unwrap())).collect()
    }

    #[test]
    fn the_last_put_wins() {
        let mut runs = Runs::default();
        runs.put(10, Bytes::from_static(b"aaaaaaaa"), 1);
        runs.put(12, Bytes::from_static(b"bb"), 2);
        assert_eq!(shown(&runs, 0..100), [(10, "aa".into()), (12, "bb".into()), (14, "aaaa".into())]);
        assert_eq!(shown(&runs, 11..13), [(11, "a".into()), (12, "b".into())]);
        assert_eq!(runs.bytes(), 8);
        runs.put(8, Bytes::from_static(b"cccccccccc"), 3);
        assert_eq!(shown(&runs, 0..100), [(8, "cccccccccc".into())]);
        assert_eq!(runs.bytes(), 10);
    }

    #[test]
    fn cuts_to_the_end_of_everything() {
        let mut runs = Runs::default();
        runs.put(0, Bytes::from_static(b"aaaa"), 1);
        runs.put(8, Bytes::from_static(b"bbbb"), 1);
        assert_eq!(runs.cut(2..u64::MAX), 6);
        assert_eq!(shown(&runs, 0..100), [(0, "aa".into())]);
        assert_eq!(runs.cut(2..2), 0);
    }

    #[test]
    fn takes_by_tag() {
        let mut runs = Runs::default();
        runs.put(0, Bytes::from_static(b"aaaa"), 1);
        runs.put(4, Bytes::from_static(b"bbbb"), 2);
        let taken = runs.take(2..100, |tag| tag == 1);
        assert_eq!(taken, [(2, Bytes::from_static(b"aa"))]);
        assert_eq!(shown(&runs, 0..100), [(0, "aa".into()), (4, "bbbb".into())]);
        assert_eq!(runs.bytes(), 6);
    }
}
