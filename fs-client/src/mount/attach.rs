//! Attaching a file system to a directory.
//!
//! As root this makes the mount itself, so that its type is `fuse.cairn` and nothing but [`super::unmount`] ever unmounts it;
//! otherwise the set-uid helper `fusermount3` does, through fuser.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;

use cairn_proto::transport::Endpoint;
use fuser::{Config, MountOption, Notifier, Session, SessionACL};
use nix::mount::MsFlags;
use tokio::sync::watch;

use super::error::MountError;
use super::mountinfo;
use super::place::{FS_TYPE, Place, source_of};
use super::unmount::{UnmountMode, unmount};
use crate::config::{ClientConfig, MountConfig};
use crate::fuse::FuseShim;

const FUSE_DEVICE: &str = "/dev/fuse";
const SUBTYPE: &str = "cairn";

/// A file system that the kernel sends its calls to.
#[derive(Debug)]
pub(super) struct Attached {
    pub notifier: Notifier,
    /// Becomes true when the kernel has let go of it.
    pub detached: watch::Receiver<bool>,
}

/// The real path of a mount point, if it can be one. A mount of the same file system whose process is gone is no hindrance: it is taken
/// away in the moment in which the new one comes, so that programs never see the bare directory in between.
pub(super) fn check(mountpoint: &Path, metaserver: &Endpoint) -> Result<PathBuf, MountError> {
    let path = mountpoint.to_owned();
    let real = fs::canonicalize(mountpoint).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT) => MountError::NoMountpoint(path.clone()),
        Some(libc::ENOTCONN | libc::ECONNABORTED) => MountError::DeadMount(path.clone()),
        Some(libc::ENOTDIR) => MountError::NotADirectory(path.clone()),
        _ => MountError::BadMountpoint { path: path.clone(), source: error },
    })?;
    // Before the directory itself is asked for anything: what is mounted there may not answer.
    match Place::of(&real) {
        Place::Free => {}
        place if place.is_dead_mount_of(metaserver) => return Ok(real),
        Place::Dead { .. } => return Err(MountError::DeadMount(real)),
        Place::Mounted { source } => return Err(MountError::AlreadyMounted { path: real, source_name: source }),
    }
    match fs::metadata(&real) {
        Ok(metadata) if metadata.is_dir() => Ok(real),
        Ok(_) => Err(MountError::NotADirectory(real)),
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => Err(MountError::DeadMount(real)),
        Err(source) => Err(MountError::BadMountpoint { path: real, source }),
    }
}

/// Attaches, and starts the threads that take the kernel's calls.
pub(super) async fn attach(shim: FuseShim, config: &MountConfig) -> Result<Attached, MountError> {
    let config = config.clone();
    tokio::task::spawn_blocking(move || attach_blocking(shim, &config)).await.unwrap_or_else(|panicked| {
        std::panic::resume_unwind(panicked.into_panic());
    })
}

fn attach_blocking(shim: FuseShim, config: &MountConfig) -> Result<Attached, MountError> {
    let failed = |source| MountError::Attach { mountpoint: config.mountpoint.clone(), source };
    remove_dead(config).map_err(failed)?;
    let device = OpenOptions::new().read(true).write(true).open(FUSE_DEVICE).map_err(MountError::NoFuse)?;
    let session = if nix::unistd::geteuid().is_root() {
        mount_as_root(&device, config).map_err(failed)?;
        let session = Session::from_fd(shim, OwnedFd::from(device), acl(&config.client), fuser_config(config));
        session.inspect_err(|_| drop(unmount(&config.mountpoint, UnmountMode::Lazy))).map_err(failed)?
    } else {
        drop(device);
        Session::new(shim, &config.mountpoint, &fuser_config(config)).map_err(failed)?
    };
    let notifier = session.notifier();
    let (let_go, detached) = watch::channel(false);
    let serve = move || {
        match session.run() {
            Ok(()) => {}
            // `umount -f`.
            Err(error) if error.raw_os_error() == Some(libc::ECONNABORTED) => tracing::info!("unmounted by force"),
            Err(error) => tracing::error!(%error, "the connection to the kernel ended badly"),
        }
        let_go.send_replace(true);
    };
    thread::Builder::new().name("fuse-session".to_owned()).spawn(serve).map_err(failed)?;
    Ok(Attached { notifier, detached })
}

/// Takes away what [`check`] has found dead.
fn remove_dead(config: &MountConfig) -> io::Result<()> {
    if Place::of(&config.mountpoint).is_dead_mount_of(&config.metaserver) {
        tracing::info!(mountpoint = %config.mountpoint.display(), "taking away a mount whose process is gone");
        unmount(&config.mountpoint, UnmountMode::Lazy)?;
    }
    Ok(())
}

/// `mount(2)`. The device's descriptor is what connects the mount to this process.
fn mount_as_root(device: &File, config: &MountConfig) -> io::Result<()> {
    let root_mode = fs::metadata(&config.mountpoint)?.permissions().mode();
    let mut options = format!(
        "fd={},rootmode={root_mode:o},user_id={},group_id={},default_permissions",
        device.as_raw_fd(),
        nix::unistd::getuid(),
        nix::unistd::getgid(),
    );
    if config.client.allow_other {
        options.push_str(",allow_other");
    }
    let source = source_of(&config.metaserver);
    nix::mount::mount(
        Some(source.as_str()),
        &config.mountpoint,
        Some(FS_TYPE),
        flags(&config.client),
        Some(options.as_str()),
    )?;
    Ok(())
}

fn flags(client: &ClientConfig) -> MsFlags {
    let mut flags = MsFlags::empty();
    flags.set(MsFlags::MS_RDONLY, client.read_only);
    flags.set(MsFlags::MS_NOATIME, client.noatime);
    flags.set(MsFlags::MS_NOSUID, client.nosuid);
    flags.set(MsFlags::MS_NODEV, client.nodev);
    flags.set(MsFlags::MS_NOEXEC, client.noexec);
    flags
}

fn acl(client: &ClientConfig) -> SessionACL {
    if client.allow_other { SessionACL::All } else { SessionACL::Owner }
}

fn fuser_config(config: &MountConfig) -> Config {
    let client = &config.client;
    let mut options = vec![
        MountOption::FSName(source_of(&config.metaserver)),
        MountOption::Subtype(SUBTYPE.to_owned()),
        MountOption::DefaultPermissions,
    ];
    let switches = [
        (client.read_only, MountOption::RO),
        (client.noatime, MountOption::NoAtime),
        (client.noexec, MountOption::NoExec),
    ];
    options.extend(switches.into_iter().filter_map(|(on, option)| on.then_some(option)));
    let mut fuser = Config::default();
    fuser.mount_options = options;
    fuser.acl = acl(client);
    fuser.n_threads = Some(client.threads);
    fuser.clone_fd = true;
    fuser
}

/// Lets the kernel read ahead as much as one request may carry. The FUSE handshake can only lower its default of 128 KiB; who wants
/// more says so in sysfs, as root. Best effort: without it reads are smaller, and right.
pub(super) fn raise_read_ahead(mountpoint: &Path, bytes: u32) {
    let Some(mount) = mountinfo::at(mountpoint) else { return };
    let window = format!("/sys/class/bdi/{}/read_ahead_kb", mount.device);
    if let Err(error) = fs::write(&window, (bytes / 1024).to_string()) {
        tracing::debug!(%error, window, "the kernel's read-ahead stays at its default");
    }
}
