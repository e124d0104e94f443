//! Why a mount did not come about, or did not end well.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::client::{ClientError, LostData};

/// Why there is no mount.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    #[error("mount point {} does not exist", .0.display())]
    NoMountpoint(PathBuf),
    #[error("mount point {} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    #[error("mount point {} cannot be used", path.display())]
    BadMountpoint { path: PathBuf, source: io::Error },
    #[error("a mount of something else whose process is gone is in the way at {}: remove it with `umount {}`", .0.display(), .0.display())]
    DeadMount(PathBuf),
    #[error("{source_name} is already mounted at {}", path.display())]
    AlreadyMounted { path: PathBuf, source_name: String },
    #[error(
        "/dev/fuse cannot be opened; load the kernel module (`modprobe fuse`), and in a container pass the device in"
    )]
    NoFuse(#[source] io::Error),
    #[error("cannot answer health checks at {address}")]
    Health { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the kernel did not take the mount at {}", mountpoint.display())]
    Attach { mountpoint: PathBuf, source: io::Error },
}

/// What went wrong at the end of a mount.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    #[error(transparent)]
    LostData(#[from] LostData),
    #[error("{} is still mounted", mountpoint.display())]
    StillMounted { mountpoint: PathBuf, source: io::Error },
}

/// Why [`super::run`] did not end well.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Stop(#[from] StopError),
}
