//! Raises the kernel's read-ahead window of a mount.
//!
//! The FUSE handshake can only lower the window from the kernel's default of 128 KiB; a mount that wants reads as large as its
//! requests has to say so in sysfs, afterwards, as root.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::stat::{major, minor};

/// Sets the read-ahead window of the filesystem mounted at `mountpoint` to `bytes` (whole KiB).
///
/// The stat in it is answered by the mounted filesystem, so this must not run on a thread that serves it.
pub fn raise(mountpoint: &Path, bytes: u32) -> io::Result<()> {
    let device = fs::metadata(mountpoint)?.dev();
    let window = format!("/sys/class/bdi/{}:{}/read_ahead_kb", major(device), minor(device));
    fs::write(window, (bytes / 1024).to_string())
}
