//! What a worker was promised about the bytes of its files: the mirror has them, this says how far they can be relied upon.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::ranges::Ranges;

/// Bytes compared at once.
const STEP: u64 = 1 << 20;

/// The files of a worker, by name: those that there are to be, and no others.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Ledger(pub BTreeMap<String, Entry>);

/// One file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Acknowledged since the last fsync.
    unsynced: Ranges,
    /// A call on them failed as it may: they hold what they held before, or what they were to hold.
    doubtful: Ranges,
}

impl Entry {
    /// A write has returned.
    pub fn wrote(&mut self, range: Range<u64>) {
        self.doubtful.remove(&range);
        self.unsynced.add(range);
    }

    pub fn synced(&mut self) {
        self.unsynced.clear();
    }

    /// A call has failed. It may have been `attempted` in part, and it may be the first to tell of what was written before it.
    pub fn failed(&mut self, attempted: Range<u64>) {
        self.doubtful.add(attempted);
        self.doubtful.add_all(&self.unsynced);
        self.unsynced.clear();
    }

    pub fn truncated(&mut self, size: u64) {
        self.unsynced.remove(&(size..u64::MAX));
        self.doubtful.remove(&(size..u64::MAX));
    }

    /// Compares a file with its mirror, all of it.
    pub fn check(&self, file: &Path, mirror: &Path) -> Result<()> {
        let size = mirror.metadata().with_context(|| mirror.display().to_string())?.len();
        let have = file.metadata().with_context(|| format!("{} is lost", file.display()))?.len();
        if have != size {
            bail!("{} has {have} bytes, and should have {size}", file.display());
        }
        let (file, mirror) = (open(file)?, open(mirror)?);
        let mut at = 0;
        while at < size {
            // Where both have a hole there is nothing to compare.
            let data = next_data(&file.0, at).min(next_data(&mirror.0, at)).min(size);
            at = size.min(data + STEP);
            self.check_range(&file, &mirror, data..at)?;
        }
        Ok(())
    }

    /// Compares a part of a file that is open with its mirror.
    fn check_range(&self, file: &(File, &Path), mirror: &(File, &Path), range: Range<u64>) -> Result<()> {
        let read = |(file, path): &(File, &Path)| -> Result<Vec<u8>> {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            file.read_exact_at(&mut bytes, range.start).with_context(|| format!("read {}", path.display()))?;
            Ok(bytes)
        };
        let (have, want) = (read(file)?, read(mirror)?);
        let differs = |at: &u64| {
            let n = (at - range.start) as usize;
            have[n] != want[n] && !self.doubtful.contain(*at)
        };
        if have == want {
            return Ok(());
        }
        let wrong: Vec<u64> = range.clone().filter(differs).collect();
        let (Some(first), Some(last)) = (wrong.first(), wrong.last()) else { return Ok(()) };
        let promise = if self.unsynced.contain(*first) { "acknowledged" } else { "synced" };
        let zeros = wrong.iter().all(|at| have[(at - range.start) as usize] == 0);
        bail!(
            "{}: {promise} bytes are lost: {} of them between {first} and {last}{}",
            file.1.display(),
            wrong.len(),
            if zeros { ", zeros all of them" } else { "" }
        )
    }

    /// Compares what a part of a file shows with the mirror.
    pub fn check_part(&self, file: &Path, mirror: &Path, range: Range<u64>) -> Result<()> {
        self.check_range(&open(file)?, &open(mirror)?, range)
    }
}

fn open(path: &Path) -> Result<(File, &Path)> {
    Ok((File::open(path).with_context(|| path.display().to_string())?, path))
}

/// Where the next bytes are that are no hole; beyond all files where there are none.
fn next_data(file: &File, at: u64) -> u64 {
    use nix::unistd::{Whence, lseek};
    lseek(file, at as i64, Whence::SeekData).map_or(u64::MAX, |found| found as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(entry: &Entry, have: &[u8], want: &[u8]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let [file, mirror] = ["file", "mirror"].map(|name| dir.path().join(name));
        std::fs::write(&file, have).unwrap();
        std::fs::write(&mirror, want).unwrap();
        entry.check(&file, &mirror).map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn tells_what_was_promised_from_what_was_not() {
        let mut entry = Entry::default();
        entry.wrote(0..4);
        assert!(checked(&entry, b"abxd", b"abcd").contains("acknowledged bytes are lost: 1 of them between 2 and 2"));
        entry.synced();
        assert!(checked(&entry, b"abxd", b"abcd").contains("synced bytes"));
        assert!(checked(&entry, b"\0bc\0", b"abcd").contains("zeros all of them"));
        assert!(checked(&entry, b"abc", b"abcd").contains("has 3 bytes"));
        assert_eq!(checked(&entry, b"abcd", b"abcd"), "fine");
    }

    #[test]
    fn a_failed_call_puts_what_was_not_synced_in_doubt() {
        let mut entry = Entry::default();
        entry.wrote(0..2);
        entry.synced();
        entry.wrote(2..3);
        entry.failed(3..4);
        assert_eq!(checked(&entry, b"abxx", b"abcd"), "fine");
        assert!(checked(&entry, b"xbcd", b"abcd").contains("synced bytes"));
        entry.wrote(2..4);
        assert!(checked(&entry, b"abxd", b"abcd").contains("acknowledged bytes"));
    }
}
