//! How much of the disk is left.

use std::io;
use std::path::Path;

/// Bytes that this process may still use on the filesystem that holds `path`.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = nix::sys::statvfs::statvfs(path)?;
    Ok(stat.blocks_available() as u64 * stat.fragment_size() as u64)
}

/// Whether `path` has at least `reserve_bytes` left. A filesystem that does not say counts as having them.
pub(super) fn has_reserve(path: &Path, reserve_bytes: u64) -> bool {
    free_bytes(path).map_or(true, |free| free >= reserve_bytes)
}
