//! How much of the disk is left.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes that this process may still use on the filesystem that holds `path`.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = nix::sys::statvfs::statvfs(path)?;
    Ok(stat.blocks_available() as u64 * stat.fragment_size() as u64)
}

/// Whether `path` has at least `reserve_bytes` left. A filesystem that does not say counts as having them.
pub(super) fn has_reserve(path: &Path, reserve_bytes: u64) -> bool {
    free_bytes(path).map_or(true, |free| free >= reserve_bytes)
}

/// How long an answer of the filesystem is relied on: asking costs as much as a tenth of a sync.
const RELIED_ON: Duration = Duration::from_millis(20);

/// The part of the reserve that may be used up before the filesystem is asked again, however soon that is.
const PART_UNSEEN: u64 = 8;

/// [`has_reserve`] for a writer that asks before each write: it looks only now and then.
#[derive(Debug)]
pub(super) struct Reserve {
    dir: PathBuf,
    bytes: u64,
    /// When there was enough, and what was written since.
    seen: Option<(Instant, u64)>,
}

impl Reserve {
    pub(super) fn new(dir: PathBuf, bytes: u64) -> Self {
        Self { dir, bytes, seen: None }
    }

    /// Whether the reserve is there before `more` bytes are written.
    pub(super) fn is_there(&mut self, more: u64) -> bool {
        if let Some((at, written)) = &mut self.seen
            && at.elapsed() < RELIED_ON
            && *written + more <= self.bytes / PART_UNSEEN
        {
            *written += more;
            return true;
        }
        let there = has_reserve(&self.dir, self.bytes);
        self.seen = there.then(|| (Instant::now(), more));
        there
    }
}
