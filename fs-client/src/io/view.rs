//! What a reader sees: layers of runs, laid over each other.

use std::ops::Range;

use bytes::Bytes;
use cairn_proto::chunk::MAX_PIECE_BYTES;

use super::runs::{Parts, clip};

/// A megabyte of zeros that costs nothing: holes are slices of it.
static ZEROS: [u8; MAX_PIECE_BYTES] = [0; MAX_PIECE_BYTES];

/// `len` zeros, at most [`MAX_PIECE_BYTES`].
pub(super) fn zeros(len: usize) -> Bytes {
    Bytes::from_static(&ZEROS[..len])
}

/// The ranges within `range` that none of `parts` covers, ascending.
pub(super) fn gaps(range: &Range<u64>, parts: &Parts) -> Vec<Range<u64>> {
    let mut covered: Vec<(u64, u64)> = parts.iter().map(|(start, data)| (*start, *start + data.len() as u64)).collect();
    covered.sort_unstable();
    let mut gaps = Vec::new();
    let mut at = range.start;
    for (start, end) in covered {
        if start >= range.end {
            break;
        }
        if start > at {
            gaps.push(at..start);
        }
        at = at.max(end);
    }
    if at < range.end {
        gaps.push(at..range.end);
    }
    gaps
}

/// The bytes of `range`: later parts lie over earlier ones. What no part covers is zero.
///
/// One part that covers everything is sliced; otherwise this is the one copy between the network and the program.
pub(super) fn flatten(range: &Range<u64>, parts: &Parts) -> Bytes {
    let covers = |start: u64, data: &Bytes| start <= range.start && start + data.len() as u64 >= range.end;
    let bottom = parts.iter().rposition(|(start, data)| covers(*start, data));
    let above = &parts[bottom.unwrap_or(0)..];
    if let (Some(_), [(start, data)]) = (bottom, above) {
        return clip(*start, data, range).1;
    }
    let mut flat = vec![0; (range.end - range.start) as usize];
    for (start, data) in above {
        if *start < range.end && *start + data.len() as u64 > range.start {
            let (at, data) = clip(*start, data, range);
            let at = (at - range.start) as usize;
            flat[at..at + data.len()].copy_from_slice(&data);
        }
    }
    flat.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_missing() {
        let part = |start, len| (start, zeros(len));
        assert_eq!(gaps(&(10..20), &vec![]), vec![10..20]);
        assert_eq!(gaps(&(10..20), &vec![part(15, 2), part(5, 7)]), [12..15, 17..20]);
        assert_eq!(gaps(&(10..20), &vec![part(5, 20)]), []);
        assert_eq!(gaps(&(10..20), &vec![part(20, 20), part(0, 10)]), vec![10..20]);
    }

    #[test]
    fn later_parts_lie_over_earlier_ones() {
        let parts: Parts =
            vec![(0, Bytes::from_static(b"aaaaaaaa")), (6, Bytes::from_static(b"bbbb")), (7, Bytes::from_static(b"c"))];
        assert_eq!(flatten(&(4..10), &parts), &b"aabcbb"[..]);
        assert_eq!(flatten(&(7..8), &parts), &b"c"[..]);
        assert_eq!(flatten(&(8..12), &parts), &b"bb\0\0"[..]);
    }

    #[test]
    fn a_part_that_covers_everything_is_not_copied() {
        let data = Bytes::from(vec![7; 100]);
        let parts: Parts = vec![(0, Bytes::from_static(b"x")), (50, data.clone())];
        assert_eq!(flatten(&(60..70), &parts).as_ptr(), data[10..].as_ptr());
    }
}
