//! What the disk below a target is told, whoever tells it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::libc::{major, minor};

/// Position in a block device's `stat` of the flushes that it has completed (Documentation/block/stat.rst of Linux; since 5.5).
const COMPLETED_FLUSHES: usize = 15;

/// Counts how often a disk was told to put what it has been given where a power cut leaves it: what a write has to wait for that is to be on a
/// disk. Journals commit several programs' changes by one of them.
#[derive(Debug, Clone)]
pub struct Flushes {
    stat: PathBuf,
}

impl Flushes {
    /// Of the disk that `directory` is on; `None` where the kernel does not tell (a file system in memory, or over several disks).
    pub fn below(directory: &Path) -> Option<Self> {
        let device = directory.metadata().ok()?.dev();
        let block = fs::canonicalize(format!("/sys/dev/block/{}:{}", major(device), minor(device))).ok()?;
        // Only the whole disk is flushed.
        let disk = if block.join("partition").exists() { block.parent()?.to_owned() } else { block };
        let flushes = Self { stat: disk.join("stat") };
        flushes.so_far().map(|_| flushes)
    }

    /// Since the machine was started.
    pub fn so_far(&self) -> Option<u64> {
        completed(&fs::read_to_string(&self.stat).ok()?)
    }
}

fn completed(stat: &str) -> Option<u64> {
    stat.split_whitespace().nth(COMPLETED_FLUSHES)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushes_stand_behind_discards() {
        let stat = "4684226 261387 272631570 6685156 28542731 1227444 640649328 25865643 0 4105804 35262105 2194524 110 517267536 746182 7000965 1965123\n";
        assert_eq!(completed(stat), Some(7_000_965));
        // As kernels before 5.5 have it.
        assert_eq!(completed("1 2 3 4 5 6 7 8 9 10 11"), None);
    }

    #[test]
    fn memory_is_no_disk() {
        assert!(Flushes::below(Path::new("/proc")).is_none());
    }
}
