//! Empties the kernel's caches, so that what is read next comes from the filesystem.

use std::fs::{self, File};
use std::path::Path;

use nix::unistd::syncfs;

use crate::error::{BenchError, IoContext};

const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// Page cache, dentries and inodes (see proc(5)).
const EVERYTHING: &str = "3";

/// Drops every clean page, dentry and inode of the machine. Dirty pages stay: sync first.
pub fn drop_all() -> Result<(), BenchError> {
    fs::write(DROP_CACHES, EVERYTHING).doing("empty the kernel's caches through", Path::new(DROP_CACHES))
}

/// Writes back all that is dirty in the filesystem that holds `path`.
///
/// On a FUSE mount the kernel does not pass this on to the filesystem's process; there it moves only what the kernel holds.
pub fn sync_filesystem(path: &Path) -> Result<(), BenchError> {
    let directory = File::open(path).doing("open", path)?;
    syncfs(directory).doing("sync the filesystem of", path)
}
