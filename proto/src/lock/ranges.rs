//! The locks of one owner on one file, as `fcntl(2)` keeps them: a range that is set replaces what it covers, and splits or
//! joins what it touches.

use std::collections::BTreeMap;

use super::{LockKind, LockRange};

/// Locked ranges in order.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Ranges {
    /// By first byte. None overlaps another, and two that touch are of different kinds.
    parts: BTreeMap<u64, Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Part {
    last: u64,
    kind: LockKind,
}

impl Ranges {
    /// Locks `range`, whatever it was before.
    pub fn set(&mut self, range: LockRange, kind: LockKind) {
        self.cut(range);
        let LockRange { mut first, mut last } = range;
        if let Some((&before, &part)) = self.parts.range(..first).next_back()
            && part.kind == kind
            && part.last + 1 == first
        {
            self.parts.remove(&before);
            first = before;
        }
        if let Some(after) = last.checked_add(1)
            && let Some(&part) = self.parts.get(&after)
            && part.kind == kind
        {
            self.parts.remove(&after);
            last = part.last;
        }
        self.parts.insert(first, Part { last, kind });
    }

    /// Unlocks `range`; what reaches beyond it stays.
    pub fn unset(&mut self, range: LockRange) {
        self.cut(range);
    }

    /// How many ranges more there would be if `range` were of `kind`, or unlocked.
    pub fn growth(&self, range: LockRange, kind: Option<LockKind>) -> isize {
        // What neither overlaps nor touches it stays as it is.
        let around = LockRange { first: range.first.saturating_sub(1), last: range.last.saturating_add(1) };
        let near = self.overlapping(around).map(|(range, kind)| (range.first, Part { last: range.last, kind }));
        let mut near = Self { parts: near.collect() };
        let before = near.len();
        match kind {
            Some(kind) => near.set(range, kind),
            None => near.unset(range),
        }
        near.len() as isize - before as isize
    }

    /// Those that have a byte in common with `range`, in order and at their full length.
    pub fn overlapping(&self, range: LockRange) -> impl Iterator<Item = (LockRange, LockKind)> {
        let reaching_in = self.parts.range(..range.first).next_back().filter(|(_, part)| part.last >= range.first);
        let parts = reaching_in.into_iter().chain(self.parts.range(range.first..=range.last));
        parts.map(|(&first, part)| (LockRange { first, last: part.last }, part.kind))
    }

    pub fn iter(&self) -> impl Iterator<Item = (LockRange, LockKind)> {
        self.overlapping(LockRange::WHOLE)
    }

    pub fn len(&self) -> usize {
        self.parts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Nothing is left of what was in `range`.
    fn cut(&mut self, range: LockRange) {
        let LockRange { first, last } = range;
        let mut beyond = None;
        if let Some((_, part)) = self.parts.range_mut(..first).next_back()
            && part.last >= first
        {
            beyond = Some(*part);
            part.last = first - 1;
        }
        while let Some((&inside, &part)) = self.parts.range(first..=last).next() {
            self.parts.remove(&inside);
            beyond = Some(part);
        }
        // Of several the last reaches furthest. One that reaches beyond `last` says that there is a byte after it.
        if let Some(part) = beyond.filter(|part| part.last > last) {
            self.parts.insert(last + 1, part);
        }
    }
}

#[cfg(test)]
mod tests {
    use LockKind::{Read, Write};

    use super::*;

    fn range(first: u64, last: u64) -> LockRange {
        LockRange { first, last }
    }

    fn with(parts: &[(u64, u64, LockKind)]) -> Ranges {
        let mut ranges = Ranges::default();
        for &(first, last, kind) in parts {
            ranges.set(range(first, last), kind);
        }
        ranges
    }

    fn listed(ranges: &Ranges) -> Vec<(u64, u64, LockKind)> {
        ranges.iter().map(|(range, kind)| (range.first, range.last, kind)).collect()
    }

    #[test]
    fn those_of_a_kind_join() {
        assert_eq!(listed(&with(&[(0, 4, Read), (10, 14, Read), (5, 9, Read)])), [(0, 14, Read)]);
        assert_eq!(listed(&with(&[(0, 4, Read), (3, 9, Read)])), [(0, 9, Read)]);
        assert_eq!(listed(&with(&[(0, 4, Read), (6, 9, Read)])), [(0, 4, Read), (6, 9, Read)]);
        assert_eq!(listed(&with(&[(0, 4, Read), (5, 9, Write)])), [(0, 4, Read), (5, 9, Write)]);
    }

    #[test]
    fn a_part_changes_kind() {
        assert_eq!(listed(&with(&[(0, 9, Read), (3, 5, Write)])), [(0, 2, Read), (3, 5, Write), (6, 9, Read)]);
        assert_eq!(listed(&with(&[(0, 9, Read), (3, 5, Write), (3, 5, Read)])), [(0, 9, Read)]);
        assert_eq!(listed(&with(&[(0, 3, Read), (5, 9, Write), (2, 6, Read)])), [(0, 6, Read), (7, 9, Write)]);
        assert_eq!(listed(&with(&[(2, 3, Read), (5, 9, Write), (0, 20, Write)])), [(0, 20, Write)]);
    }

    #[test]
    fn unlocking_splits() {
        let mut ranges = with(&[(0, 9, Write), (20, 29, Read)]);
        ranges.unset(range(4, 4));
        ranges.unset(range(8, 21));
        ranges.unset(range(100, 200));
        assert_eq!(listed(&ranges), [(0, 3, Write), (5, 7, Write), (22, 29, Read)]);
        ranges.unset(LockRange::WHOLE);
        assert!(ranges.is_empty());
    }

    #[test]
    fn the_last_byte_is_one_like_any_other() {
        let mut ranges = with(&[(0, u64::MAX, Read), (u64::MAX, u64::MAX, Write)]);
        assert_eq!(listed(&ranges), [(0, u64::MAX - 1, Read), (u64::MAX, u64::MAX, Write)]);
        ranges.set(range(u64::MAX - 1, u64::MAX - 1), Write);
        assert_eq!(listed(&ranges), [(0, u64::MAX - 2, Read), (u64::MAX - 1, u64::MAX, Write)]);
        ranges.unset(range(u64::MAX, u64::MAX));
        ranges.unset(range(0, 0));
        assert_eq!(listed(&ranges), [(1, u64::MAX - 2, Read), (u64::MAX - 1, u64::MAX - 1, Write)]);
        ranges.set(LockRange::WHOLE, Read);
        assert_eq!(listed(&ranges), [(0, u64::MAX, Read)]);
    }

    #[test]
    fn growth_is_known_beforehand() {
        let ranges = with(&[(0, 9, Read), (11, 19, Read), (20, 29, Write)]);
        assert_eq!(ranges.growth(range(3, 4), Some(Write)), 2);
        assert_eq!(ranges.growth(range(3, 4), Some(Read)), 0);
        assert_eq!(ranges.growth(range(10, 10), Some(Read)), -1);
        assert_eq!(ranges.growth(range(3, 4), None), 1);
        assert_eq!(ranges.growth(range(40, u64::MAX), Some(Read)), 1);
        assert_eq!(ranges.growth(LockRange::WHOLE, None), -3);
    }
}
