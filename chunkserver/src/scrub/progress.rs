//! How far the scrub is, over restarts: a sealed record ([`crate::store::seal`]) in the file `scrub` of each data directory, replaced as a
//! whole. The one that is farthest counts. Nothing depends on it but how early a block is read again: where it is gone or damaged, a pass begins anew.

use std::io;
use std::path::{Path, PathBuf};

use cairn_proto::ids::ChunkHandle;
use cairn_proto::scrub::{ScrubOrder, ScrubbedAll};
use cairn_proto::time::Timestamp;
use cairn_runtime::crashsafe;
use serde::{Deserialize, Serialize};

use crate::store::seal::{SealError, seal, unseal};

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
    /// From the file that is farthest; of those that are missing or damaged nothing.
    pub fn load(paths: &[PathBuf]) -> Self {
        let place = |progress: &Self| {
            let last = progress.last.map(|last| last.ended);
            (last, progress.pass.map(|pass| (pass.began, pass.after)))
        };
        paths.iter().filter_map(|path| Self::load_one(path)).max_by_key(place).unwrap_or_default()
    }

    fn load_one(path: &Path) -> Option<Self> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read how far the scrub is");
                return None;
            }
        };
        let read = unseal(MAGIC, FORMAT, &bytes);
        let warn =
            |error: &SealError| tracing::warn!(path = %path.display(), %error, "it does not say how far the scrub is");
        read.inspect_err(warn).ok()
    }

    /// To each file. Fails where none could be written.
    pub fn save(&self, paths: &[PathBuf]) -> io::Result<()> {
        let bytes = seal(MAGIC, FORMAT, self).map_err(io::Error::other)?;
        let saved: Vec<io::Result<()>> = paths.iter().map(|path| crashsafe::write_atomic(path, &bytes)).collect();
        match saved.iter().any(Result::is_ok) {
            true => Ok(()),
            false => saved.into_iter().collect(),
        }
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
        let paths = vec![dir.path().join("scrub")];
        assert_eq!(Progress::load(&paths), Progress::default());
        progress().save(&paths).unwrap();
        assert_eq!(Progress::load(&paths), progress());
        let mut bytes = std::fs::read(&paths[0]).unwrap();
        bytes[20] ^= 1;
        std::fs::write(&paths[0], bytes).unwrap();
        assert_eq!(Progress::load(&paths), Progress::default());
    }

    #[test]
    fn the_farthest_counts_and_a_disk_that_cannot_be_written_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, nowhere] = ["a", "b", "no/where"].map(|name| dir.path().join(name));
        let early = Progress { pass: progress().pass.map(|pass| Pass { after: ChunkHandle(3), ..pass }), ..progress() };
        progress().save(&[nowhere.clone(), a.clone()]).unwrap();
        early.save(std::slice::from_ref(&b)).unwrap();
        assert_eq!(Progress::load(&[b, nowhere.clone(), a]), progress());
        assert!(progress().save(&[nowhere]).is_err());
    }
}
