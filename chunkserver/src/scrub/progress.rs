//! How far the scrub is, over restarts: a sealed record ([`crate::store::seal`]) in the file `scrub` of the data directory, replaced as a
//! whole. Nothing depends on it but how early a block is read again: where it is gone or damaged, a pass begins anew.

use std::io;
use std::path::Path;

use cairn_proto::ids::ChunkHandle;
use cairn_proto::scrub::{ScrubOrder, ScrubbedAll};
use cairn_proto::time::Timestamp;
use cairn_runtime::crashsafe;
use serde::{Deserialize, Serialize};

use crate::store::seal::{seal, unseal};

const MAGIC: [u8; 8] = *b"CAIRNSCR";
const FORMAT: u16 = 1;

/// What is kept.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct Progress {
    /// The pass under way.
    pub pass: Option<Pass>,
    /// The last one that went over everything.
    pub last: Option<ScrubbedAll>,
    /// Damaged blocks that all passes before this one have found.
    pub damaged: u64,
}

/// A pass under way.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Pass {
    pub began: Timestamp,
    /// The chunks up to this one are done.
    pub after: ChunkHandle,
    /// Bytes.
    pub verified: u64,
    /// Blocks.
    pub damaged: u64,
    /// Where somebody wanted it.
    pub order: Option<ScrubOrder>,
}

impl Pass {
    pub fn new(began: Timestamp, order: Option<ScrubOrder>) -> Self {
        Self { began, after: ChunkHandle(0), verified: 0, damaged: 0, order }
    }
}

impl Progress {
    pub fn load(path: &Path) -> Self {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::default(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read how far the scrub is: it begins anew");
                return Self::default();
            }
        };
        unseal(MAGIC, FORMAT, &bytes).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "it does not say how far the scrub is: it begins anew");
            Self::default()
        })
    }

    pub fn save(&self, path: &Path) -> io::Result<()> {
        let bytes = seal(MAGIC, FORMAT, self).map_err(io::Error::other)?;
        crashsafe::write_atomic(path, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress() -> Progress {
        let at = |secs| Timestamp { secs, nanos: 0 };
        let order = Some(ScrubOrder { bytes_per_s: Some(3) });
        let pass = Pass { began: at(1), after: ChunkHandle(4), verified: 5, damaged: 6, order };
        let last = ScrubbedAll { began: at(7), ended: at(8), verified: 9, damaged: 10 };
        Progress { pass: Some(pass), last: Some(last), damaged: 11 }
    }

    #[test]
    fn golden_progress() {
        let bytes = seal(MAGIC, FORMAT, &progress()).unwrap();
        let (head, body) = bytes.split_at(16);
        assert_eq!(head[..12], *b"CAIRNSCR\x01\x00\x11\x00");
        assert_eq!(body, [1, 2, 0, 4, 5, 6, 1, 1, 3, 1, 14, 0, 16, 0, 9, 10, 11]);
    }

    #[test]
    fn is_kept_and_where_it_is_damaged_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scrub");
        assert_eq!(Progress::load(&path), Progress::default());
        progress().save(&path).unwrap();
        assert_eq!(Progress::load(&path), progress());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[20] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(Progress::load(&path), Progress::default());
    }
}
