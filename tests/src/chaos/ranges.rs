//! Sets of bytes of a file.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Ranges that neither touch nor overlap, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranges(Vec<Range<u64>>);

impl Ranges {
    pub fn add(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let touches = |other: &Range<u64>| other.start <= range.end && range.start <= other.end;
        let (touched, mut rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.0).into_iter().partition(touches);
        let joined = touched.iter().fold(range, |all, one| all.start.min(one.start)..all.end.max(one.end));
        let at = rest.partition_point(|other| other.end < joined.start);
        rest.insert(at, joined);
        self.0 = rest;
    }

    pub fn remove(&mut self, range: &Range<u64>) {
        let outside = |one: Range<u64>| [one.start..one.end.min(range.start), one.start.max(range.end)..one.end];
        self.0 = std::mem::take(&mut self.0).into_iter().flat_map(outside).filter(|one| !one.is_empty()).collect();
    }

    pub fn add_all(&mut self, others: &Self) {
        others.0.iter().for_each(|range| self.add(range.clone()));
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn contain(&self, at: u64) -> bool {
        self.0.iter().any(|range| range.contains(&at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_and_split() {
        let mut ranges = Ranges::default();
        for range in [10..20, 30..40, 20..25, 50..50] {
            ranges.add(range);
        }
        assert_eq!(ranges.0, [10..25, 30..40]);
        ranges.remove(&(12..33));
        assert_eq!(ranges.0, [10..12, 33..40]);
        assert_eq!([9, 10, 12, 33, 40].map(|at| ranges.contain(at)), [false, true, false, true, false]);
        ranges.add(0..100);
        assert_eq!(ranges.0.as_slice(), std::slice::from_ref(&(0..100)));
    }
}
