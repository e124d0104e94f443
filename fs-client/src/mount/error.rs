//! Why a mount did not come about, or did not end well.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::OptionError;
use crate::meta::StartError;
use crate::vfs::VfsError;

/// Why there is no mount.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    #[error("the configuration cannot be used: {0}")]
    Config(#[from] OptionError),
    #[error("mount point {} does not exist", .0.display())]
    NoMountpoint(PathBuf),
    #[error("mount point {} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    #[error("mount point {} cannot be used", path.display())]
    BadMountpoint { path: PathBuf, source: io::Error },
    #[error("a mount whose process is gone is in the way at {}: remove it with `umount {}`", .0.display(), .0.display())]
    DeadMount(PathBuf),
    #[error("{source_name} is already mounted at {}", path.display())]
    AlreadyMounted { path: PathBuf, source_name: String },
    #[error(
        "/dev/fuse cannot be opened; load the kernel module (`modprobe fuse`), and in a container pass the device in"
    )]
    NoFuse(#[source] io::Error),
    #[error(transparent)]
    Metaserver(#[from] StartError),
    #[error("the kernel did not take the mount at {}", mountpoint.display())]
    Attach { mountpoint: PathBuf, source: io::Error },
}

/// What went wrong at the end of a mount.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    #[error("written data was lost: it could not be saved")]
    NotSaved {
        #[source]
        source: VfsError,
    },
    #[error("written data was lost: its servers did not take it within {waited:?}")]
    NotSavedInTime { waited: Duration },
    #[error("{} is still mounted", mountpoint.display())]
    StillMounted { mountpoint: PathBuf, source: io::Error },
}
