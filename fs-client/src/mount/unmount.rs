//! Unmounting. None of it asks the file system anything, so it works while servers are down.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

use super::mountinfo;

/// How long a mount that is in use is asked for again before it is taken away.
pub(super) const BUSY_PATIENCE: Duration = Duration::from_secs(3);
/// Time between two tries.
const RETRY: Duration = Duration::from_millis(100);

/// How to treat programs that use the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnmountMode {
    /// They are in the way: `EBUSY`.
    Normal,
    /// They go on with what they have open; the mount point is free at once.
    Lazy,
    /// Their calls fail from now on, those that wait included.
    Force,
}

impl UnmountMode {
    fn flags(self) -> MntFlags {
        match self {
            Self::Normal => MntFlags::empty(),
            Self::Lazy => MntFlags::MNT_DETACH,
            Self::Force => MntFlags::MNT_FORCE | MntFlags::MNT_DETACH,
        }
    }
}

/// Unmounts what is mounted on top at `mountpoint`. Blocks while the kernel sends what it still has, so not for the runtime's
/// threads.
pub fn unmount(mountpoint: &Path, mode: UnmountMode) -> io::Result<()> {
    match umount2(mountpoint, mode.flags() | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::EPERM) => with_helper(mountpoint, mode),
        Err(error) => Err(error.into()),
    }
}

/// Whoever is not root but mounted it may unmount it through the set-uid helper.
fn with_helper(mountpoint: &Path, mode: UnmountMode) -> io::Result<()> {
    if mode == UnmountMode::Force {
        abort(mountpoint)?;
    }
    let mut command = Command::new("fusermount3");
    command.arg("-u");
    if mode != UnmountMode::Normal {
        command.arg("-z");
    }
    // Without it there is nobody who may.
    let not_there = |error| io::Error::new(io::ErrorKind::PermissionDenied, format!("fusermount3: {error}"));
    let output = command.arg("--").arg(mountpoint).output().map_err(not_there)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let kind = if said.contains("busy") { io::ErrorKind::ResourceBusy } else { io::ErrorKind::PermissionDenied };
    Err(io::Error::new(kind, said))
}

/// Makes the calls of programs fail, by the switch that the kernel gives to whoever has mounted it.
fn abort(mountpoint: &Path) -> io::Result<()> {
    let Some(mount) = mountinfo::at(mountpoint) else { return Ok(()) };
    let connection = mount.device.split_once(':').map_or(&*mount.device, |(_, minor)| minor);
    fs::write(format!("/sys/fs/fuse/connections/{connection}/abort"), "1")
}

/// [`unmount`], on a thread of its own.
pub(super) async fn in_background(mountpoint: &Path, mode: UnmountMode) -> io::Result<()> {
    let mountpoint = mountpoint.to_owned();
    tokio::task::spawn_blocking(move || unmount(&mountpoint, mode)).await.map_err(io::Error::other)?
}

/// Tries the normal way until `limit` has passed: programs end, and file managers look elsewhere.
pub(super) async fn patiently(mountpoint: &Path, limit: Duration) -> io::Result<()> {
    let due = Instant::now() + limit;
    loop {
        match in_background(mountpoint, UnmountMode::Normal).await {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < due => {
                tokio::time::sleep(RETRY).await;
            }
            result => return result,
        }
    }
}
