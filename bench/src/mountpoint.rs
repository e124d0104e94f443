//! Is it mounted yet, and away with it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::statvfs::statvfs;

use crate::error::{BenchError, IoContext};

/// How long a mount may stay busy (a daemon that has not closed its last file) before it is detached by force.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Whether another filesystem is mounted at `path`, and answers.
pub fn answers(path: &Path) -> bool {
    let Some(parent) = path.parent() else { return false };
    match (fs::metadata(path), fs::metadata(parent)) {
        (Ok(inside), Ok(outside)) => inside.dev() != outside.dev() && statvfs(path).is_ok(),
        _ => false,
    }
}

/// Unmounts what is mounted at `path`; nothing there is fine too.
pub fn unmount(path: &Path) -> Result<(), BenchError> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match umount2(path, MntFlags::UMOUNT_NOFOLLOW) {
            // EINVAL: not a mount point, so somebody was quicker.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(Errno::EBUSY) if Instant::now() < deadline => sleep(POLL_INTERVAL),
            Err(_) => return umount2(path, MntFlags::MNT_DETACH).doing("unmount", path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_directory_is_not_a_mount_and_unmounting_it_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!answers(directory.path()));
        if nix::unistd::geteuid().is_root() {
            unmount(directory.path()).unwrap();
        }
    }
}
