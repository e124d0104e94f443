//! A `sync` that reaches the client: the kernel tells FUSE file systems nothing of `sync(2)` and `syncfs(2)`.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// Letter and number of the request, as in ioctl(2).
const LETTER: u8 = b'C';
const NUMBER: u8 = 1;

/// The request as it comes from the kernel: without argument.
pub(super) const COMMAND: u32 = nix::request_code_none!(LETTER, NUMBER) as u32;

mod request {
    nix::ioctl_none!(sync, super::LETTER, super::NUMBER);
}

/// Returns when everything that was done before on the mount that `opened` lies on is on stable storage. `ENOTTY` where that is no
/// CairnFS mount.
pub fn sync_mount(opened: &impl AsFd) -> Result<(), Errno> {
    // SAFETY: the request has no argument, and the descriptor is open for as long as it is borrowed.
    unsafe { request::sync(opened.as_fd().as_raw_fd()) }.map(drop)
}
