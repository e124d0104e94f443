//! A running mount, from the first connection to the last byte written at the end.
//!
//! [`Mount::start`] starts a [`Client`] and attaches it to a directory; [`Mount::stop`] takes that back in the opposite
//! order. [`run`] does both around a shutdown token, and ends just as orderly when somebody else unmounts the file system.

mod attach;
mod error;
mod health;
mod mountinfo;
mod place;
mod unmount;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_proto::ids::SessionId;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use error::{MountError, RunError, StopError};
pub use place::Place;
pub use unmount::{UnmountMode, unmount};

use self::health::MountHealth;
use crate::client::{Client, ClientError};
use crate::config::MountConfig;
use crate::fuse::{FuseShim, KernelNotifier, MAX_REQUEST_BYTES};
use crate::vfs::Vfs;

/// For requests that were taken from the kernel before it let go.
const LAST_CALLS_TIMEOUT: Duration = Duration::from_secs(5);
/// For the session of a client that is dead to be ended.
const BURY_TIMEOUT: Duration = Duration::from_secs(5);
/// For a first look at what there is.
const LOOK_AROUND_TIMEOUT: Duration = Duration::from_secs(5);

/// A mounted file system. Dropped without [`Mount::stop`] it stays mounted until the process ends.
#[derive(Debug)]
pub struct Mount {
    config: MountConfig,
    client: Client,
    /// Calls of the kernel that are being worked on.
    calls: TaskTracker,
    /// Becomes true when the kernel has let go of the file system.
    detached: watch::Receiver<bool>,
    health: Option<MountHealth>,
}

impl Mount {
    /// Must be called within a tokio runtime of several threads, which then serves the mount.
    pub async fn start(config: MountConfig) -> Result<Self, MountError> {
        let mountpoint = attach::check(&config.mountpoint, &config.metaserver)?;
        let config = MountConfig { mountpoint, ..config };
        let health = match config.client.health_address().map_err(ClientError::from)? {
            Some(address) => Some(MountHealth::start(address).await?),
            None => None,
        };
        let label = config.mountpoint.display().to_string();
        let client = Client::start(config.metaserver.clone(), &config.client, label).await?;
        if let Some(dead) = config.successor_of {
            let buried = tokio::time::timeout(BURY_TIMEOUT, client.meta().bury(dead)).await;
            tracing::debug!(session = %dead, ?buried, "ended the session of the client before this one");
        }
        let calls = TaskTracker::new();
        let shim = FuseShim::new(client.vfs().clone(), Handle::current(), calls.clone());
        let inodes = shim.inodes();
        let attached = match attach::attach(shim, &config).await {
            Ok(attached) => attached,
            Err(error) => {
                // Nothing was written yet.
                let _ = client.stop().await;
                return Err(error);
            }
        };
        match KernelNotifier::start(&attached.notifier, &inodes) {
            Ok(notifier) => client.vfs().attach_kernel(Box::new(notifier)),
            Err(error) => tracing::error!(%error, "the kernel will not be told of changes by others"),
        }
        if tokio::time::timeout(LOOK_AROUND_TIMEOUT, client.vfs().look_around()).await.is_err() {
            tracing::debug!("the metaserver has not yet said what `df` shows while it is away");
        }
        attach::raise_read_ahead(&config.mountpoint, MAX_REQUEST_BYTES);
        tracing::info!(mountpoint = %config.mountpoint.display(), metaserver = %config.metaserver, "mounted");
        if let Some(health) = &health {
            health.mounted(&client);
        }
        Ok(Self { config, client, calls, detached: attached.detached, health })
    }

    /// Where it answers health checks, if it does.
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health.as_ref().map(|health| health.address)
    }

    pub fn vfs(&self) -> &Arc<Vfs> {
        self.client.vfs()
    }

    /// The kernel's number for the connection, by which it stands under `/sys/fs/fuse/connections`.
    pub fn connection(&self) -> Option<u64> {
        let device = mountinfo::at(self.mountpoint())?.device;
        let (_, minor) = device.split_once(':')?;
        minor.parse().ok()
    }

    /// The session with the metaserver, where it can be reached.
    pub fn session(&self) -> Option<SessionId> {
        self.client.meta().session()
    }

    /// Where it is mounted, as a real path.
    pub fn mountpoint(&self) -> &Path {
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
        if let Some(health) = &self.health {
            health.stopping();
        }
        let due = Instant::now() + self.config.client.stop_timeout();
        let detached = if *self.detached.borrow() { Ok(()) } else { self.detach(due).await };
        self.calls.close();
        if tokio::time::timeout(LAST_CALLS_TIMEOUT, self.calls_end()).await.is_err() {
            tracing::warn!(calls = self.calls.len(), "calls of the kernel are abandoned");
        }
        self.client.stop_until(due).await?;
        detached
    }

    /// Has the kernel let go: kindly first, then by force, with what was written saved in between.
    async fn detach(&self, due: Instant) -> Result<(), StopError> {
        let mountpoint = &self.config.mountpoint;
        let patience = due.saturating_duration_since(Instant::now()).min(unmount::BUSY_PATIENCE);
        if let Err(error) = unmount::patiently(mountpoint, patience).await {
            tracing::warn!(mountpoint = %mountpoint.display(), %error, "in use; it is taken from the programs that use it");
            let saved = self.client.save_until(due).await;
            tracing::debug!(?saved, "saved before that");
            unmount::in_background(mountpoint, UnmountMode::Force)
                .await
                .map_err(|source| StopError::StillMounted { mountpoint: mountpoint.clone(), source })?;
        }
        let _ = tokio::time::timeout(LAST_CALLS_TIMEOUT, self.ended()).await;
        Ok(())
    }

    /// Returns when the last call is done, or has to wait for a metaserver that is away.
    async fn calls_end(&self) {
        tokio::select! {
            () = self.calls.wait() => {}
            () = self.client.meta().outage().has_lasted(Duration::ZERO) => {}
        }
    }
}

/// Mounts, and stays mounted until `shutdown` is cancelled or somebody unmounts. `ready` is called in between.
pub async fn run(config: MountConfig, shutdown: CancellationToken, ready: impl FnOnce(&Mount)) -> Result<(), RunError> {
    let mount = Mount::start(config).await?;
    ready(&mount);
    shutdown.run_until_cancelled(mount.ended()).await;
    Ok(mount.stop().await?)
}
