//! The scrub: every chunkserver reads every block of its copies, again and again, and compares it with its sum.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// What an operator wants: a pass over everything, from its beginning, at once.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ScrubOrder {
    /// Bytes read per second; `None`: as fast as the disk allows while clients do not need it.
    pub bytes_per_s: Option<u64>,
}

/// How far the scrub of one chunkserver is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct ScrubStatus {
    /// The pass under way; `None` between two.
    pub pass: Option<ScrubPass>,
    /// The last one that went over everything.
    pub last: Option<ScrubbedAll>,
    /// When the next one begins by itself, where none is under way; `None`: when somebody says so.
    pub next: Option<Timestamp>,
    /// Damaged blocks that all passes together have found.
    pub damaged: u64,
}

/// A pass under way.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ScrubPass {
    pub began: Timestamp,
    /// When it is expected to end.
    pub ends: Timestamp,
    /// Bytes read so far, in all copies that it came by.
    pub verified: u64,
    /// Bytes that are still to be read.
    pub left: u64,
    /// Damaged blocks found so far.
    pub damaged: u64,
    /// Bytes per second that were read of late.
    pub rate: u64,
    /// Somebody wanted it, and does not want to wait for the end of a period.
    pub ordered: bool,
}

/// A pass that went over everything.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ScrubbedAll {
    pub began: Timestamp,
    pub ended: Timestamp,
    /// Bytes read.
    pub verified: u64,
    /// Damaged blocks found.
    pub damaged: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_status() {
        let at = |secs| Timestamp { secs, nanos: 0 };
        let pass = ScrubPass { began: at(1), ends: at(2), verified: 3, left: 4, damaged: 5, rate: 6, ordered: true };
        let last = ScrubbedAll { began: at(7), ended: at(8), verified: 9, damaged: 10 };
        let status = ScrubStatus { pass: Some(pass), last: Some(last), next: None, damaged: 11 };
        let bytes = postcard::to_stdvec(&status).unwrap();
        assert_eq!(bytes, [1, 2, 0, 4, 0, 3, 4, 5, 6, 1, 1, 14, 0, 16, 0, 9, 10, 0, 11]);
        assert_eq!(postcard::from_bytes::<ScrubStatus>(&bytes).unwrap(), status);
    }
}
