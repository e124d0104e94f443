//! Health checks of a mount: it is ready while it is mounted and the metaserver can be reached. And how it reads, in figures.

use std::net::SocketAddr;

use cairn_runtime::health::{Condition, Health, HealthServer};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::error::MountError;
use crate::client::Client;

/// Answers until it is dropped.
#[derive(Debug)]
pub(super) struct MountHealth {
    pub(super) address: SocketAddr,
    mounted: Condition,
    health: Health,
    stop: CancellationToken,
    _stop_at_drop: DropGuard,
}

impl MountHealth {
    pub(super) async fn start(address: SocketAddr) -> Result<Self, MountError> {
        let server = HealthServer::bind(address).await.map_err(|source| MountError::Health { address, source })?;
        let address = server.address();
        let health = Health::new();
        let stop = CancellationToken::new();
        let mounted = health.condition("mount");
        let serving = server.run(health.clone(), stop.clone());
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "health checks are answered no more");
            }
        });
        Ok(Self { address, mounted, health, _stop_at_drop: stop.clone().drop_guard(), stop })
    }

    /// It is mounted; from now on the client's connection decides.
    pub(super) fn mounted(&self, client: &Client) {
        self.health.page("stats", client.read_stats());
        let meta = client.meta().clone();
        let metaserver = self.health.condition("metaserver");
        let follow = async move {
            meta.follow_connection(|connected| match connected {
                true => metaserver.set_ready(),
                false => metaserver.set_not_ready("it cannot be reached; operations wait"),
            })
            .await;
        };
        let stop = self.stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled(follow).await });
        self.mounted.set_ready();
    }

    pub(super) fn stopping(&self) {
        self.mounted.set_not_ready("stopping");
    }
}
