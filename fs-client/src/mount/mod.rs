//! A running mount, from the first connection to the last byte written at the end.
//!
//! [`Mount::start`] opens a session, puts the layers of the client on each other and attaches them to a directory;
//! [`Mount::stop`] takes that back in the opposite order. [`run`] does both around a shutdown token, and ends just
//! as orderly when somebody else unmounts the file system.

mod attach;
mod error;
mod mountinfo;
mod unmount;

use std::sync::Arc;
use std::time::Duration;

use cairn_proto::meta::ClientInfo;
use cairn_runtime::clock::SystemClock;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use error::{MountError, StopError};
pub use unmount::{UnmountMode, unmount};

use crate::config::MountConfig;
use crate::fuse::{FuseShim, KernelNotifier, MAX_REQUEST_BYTES};
use crate::io::Io;
use crate::meta::{MetaClient, MetaConfig};
use crate::vfs::{self, Vfs};

/// For requests that were taken from the kernel before it was detached, and for the session's goodbye.
const LAST_CALLS_TIMEOUT: Duration = Duration::from_secs(5);

/// A mounted file system. Dropped without [`Mount::stop`] it stays mounted until the process ends.
#[derive(Debug)]
pub struct Mount {
    config: MountConfig,
    meta: Arc<MetaClient>,
    io: Arc<Io>,
    vfs: Arc<Vfs>,
    /// Calls of the kernel that are being worked on.
    calls: TaskTracker,
    background: JoinHandle<()>,
    /// Becomes true when the kernel has let go of the file system.
    detached: watch::Receiver<bool>,
}

impl Mount {
    /// Must be called within a tokio runtime of several threads, which then serves the mount.
    pub async fn start(config: MountConfig) -> Result<Self, MountError> {
        config.client.validate()?;
        let mountpoint = attach::check(&config.mountpoint)?;
        let config = MountConfig { mountpoint, ..config };

        let meta = MetaClient::start(session_config(&config)).await?;
        let (io, vfs) = layers(&config, &meta);
        let calls = TaskTracker::new();
        let shim = FuseShim::new(vfs.clone(), Handle::current(), calls.clone());
        let attached = match attach::attach(shim, &config).await {
            Ok(attached) => attached,
            Err(error) => {
                let _ = meta.close(LAST_CALLS_TIMEOUT).await;
                return Err(error);
            }
        };
        match KernelNotifier::start(attached.notifier) {
            Ok(notifier) => vfs.attach_kernel(Box::new(notifier)),
            Err(error) => tracing::error!(%error, "the kernel will not be told of changes by others"),
        }
        attach::raise_read_ahead(&config.mountpoint, MAX_REQUEST_BYTES);
        let background = tokio::spawn({
            let vfs = vfs.clone();
            async move { vfs.run_background().await }
        });
        tracing::info!(mountpoint = %config.mountpoint.display(), metaserver = %config.metaserver, "mounted");
        Ok(Self { config, meta, io, vfs, calls, background, detached: attached.detached })
    }

    pub fn vfs(&self) -> &Arc<Vfs> {
        &self.vfs
    }

    /// Where it is mounted, as a real path.
    pub fn mountpoint(&self) -> &std::path::Path {
        &self.config.mountpoint
    }

    /// Returns when the kernel has let go of the file system, because of [`Mount::stop`] or because somebody unmounted it.
    pub async fn ended(&self) {
        let mut detached = self.detached.clone();
        // An error means that the thread which serves the kernel is gone, which comes to the same.
        let _ = detached.wait_for(|detached| *detached).await;
    }

    /// Unmounts, has everything that was written made durable, and ends the session.
    ///
    /// Programs that still use the file system get some time to end; then it is taken from them. The error tells of written
    /// data that could not be saved, or of a mount that could not be removed.
    pub async fn stop(self) -> Result<(), StopError> {
        let limit = self.config.client.stop_timeout();
        let detached = if *self.detached.borrow() { Ok(()) } else { self.detach(limit).await };
        self.calls.close();
        if tokio::time::timeout(LAST_CALLS_TIMEOUT, self.calls.wait()).await.is_err() {
            tracing::warn!(calls = self.calls.len(), "calls of the kernel are abandoned");
        }
        self.background.abort();
        let saved = tokio::time::timeout(limit, self.vfs.sync_all()).await;
        // What `sync_all` could not save, this tries once more; chunks are handed back.
        let _ = tokio::time::timeout(limit, self.io.shutdown()).await;
        if let Err(error) = self.meta.close(LAST_CALLS_TIMEOUT).await {
            tracing::warn!(%error, "the metaserver will end the session by itself");
        }
        match saved {
            Err(_) => Err(StopError::NotSavedInTime { waited: limit }),
            Ok(Err(source)) => Err(StopError::NotSaved { source }),
            Ok(Ok(())) => detached,
        }
    }

    /// Has the kernel let go: kindly first, then by force, with what was written saved in between.
    async fn detach(&self, limit: Duration) -> Result<(), StopError> {
        let mountpoint = &self.config.mountpoint;
        if let Err(error) = unmount::patiently(mountpoint, limit.min(unmount::BUSY_PATIENCE)).await {
            tracing::warn!(mountpoint = %mountpoint.display(), %error, "in use; it is taken from the programs that use it");
            let _ = tokio::time::timeout(limit, self.vfs.sync_all()).await;
            unmount::in_background(mountpoint, UnmountMode::Force)
                .await
                .map_err(|source| StopError::StillMounted { mountpoint: mountpoint.clone(), source })?;
        }
        let _ = tokio::time::timeout(LAST_CALLS_TIMEOUT, self.ended()).await;
        Ok(())
    }
}

/// Mounts, and stays mounted until `shutdown` is cancelled or somebody unmounts. `ready` is called in between.
pub async fn run(config: MountConfig, shutdown: CancellationToken, ready: impl FnOnce(&Mount)) -> Result<(), RunError> {
    let mount = Mount::start(config).await?;
    ready(&mount);
    shutdown.run_until_cancelled(mount.ended()).await;
    Ok(mount.stop().await?)
}

/// Why [`run`] did not end well.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Stop(#[from] StopError),
}

fn session_config(config: &MountConfig) -> MetaConfig {
    let host =
        nix::unistd::gethostname().map_or_else(|_| "unknown".to_owned(), |host| host.to_string_lossy().into_owned());
    MetaConfig {
        endpoint: config.metaserver.clone(),
        info: ClientInfo {
            host,
            mountpoint: config.mountpoint.display().to_string(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        timeout: config.client.timeout(),
        start_timeout: Duration::from_millis(config.client.start_timeout_ms),
    }
}

/// File contents and the file system, on a session.
fn layers(config: &MountConfig, meta: &Arc<MetaClient>) -> (Arc<Io>, Arc<Vfs>) {
    let options = config.client.vfs_options();
    let known = vfs::known(&options, Arc::new(SystemClock));
    let observer = {
        let known = known.clone();
        Arc::new(move |attr| known.committed(&attr))
    };
    let io = Io::new(config.client.io_config(), meta.clone(), observer);
    let vfs = Arc::new(Vfs::new(meta.clone(), io.clone(), known, &options));
    (io, vfs)
}
