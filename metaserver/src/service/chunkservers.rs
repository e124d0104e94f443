//! [`ClusterService`]: what chunkservers tell.

use std::sync::Arc;

use cairn_proto::cluster::{
    ClusterError, ClusterService, Heartbeat, HeartbeatReply, MAX_REPORT_CHUNKS, Registered, Registration, Report,
};
use cairn_proto::ids::ServerId;
use tarpc::context::Context;

use super::Shared;
use crate::cluster::{Cluster, reports};

/// Changes that are compared with the metadata on the spot; more than that would hold up others on the same thread.
const FEW_CHANGES: usize = 64;

/// What chunkservers talk to.
#[derive(Clone, Debug)]
pub struct ClusterFace(pub Arc<Shared>);

impl ClusterService for ClusterFace {
    async fn register(self, _: Context, registration: Registration) -> Result<Registered, ClusterError> {
        let ours = self.0.id;
        if let Some(theirs) = registration.cluster.filter(|&theirs| theirs != ours) {
            return Err(ClusterError::ForeignCluster { ours, theirs });
        }
        reports::register(&self.0.cluster, &registration).await?;
        // After it counts as up: whoever is given up from here on is named to it.
        let sessions = self.0.clients.live();
        let heartbeat_ms = self.0.heartbeat.as_millis() as u64;
        let next_chunk = self.0.cluster.state.coming_handle();
        Ok(Registered { cluster: ours, heartbeat_ms, sessions, next_chunk })
    }

    async fn report(self, _: Context, report: Report) -> Result<(), ClusterError> {
        if report.chunks.len() > MAX_REPORT_CHUNKS {
            return Err(ClusterError::NotReady);
        }
        let few = report.chunks.len() <= FEW_CHANGES;
        aside(few, self.0.cluster.clone(), move |cluster| reports::report(cluster, &report)).await
    }

    async fn heartbeat(self, _: Context, heartbeat: Heartbeat) -> Result<HeartbeatReply, ClusterError> {
        if heartbeat.changes.len() > MAX_REPORT_CHUNKS {
            return Err(ClusterError::NotReady);
        }
        let few = heartbeat.changes.len() <= FEW_CHANGES;
        aside(few, self.0.cluster.clone(), move |cluster| reports::heartbeat(cluster, &heartbeat)).await
    }

    async fn goodbye(self, _: Context, server: ServerId) -> Result<(), ClusterError> {
        let cluster = &self.0.cluster;
        reports::goodbye(cluster, server).await.map_err(|_| ClusterError::NotReady)?;
        tracing::info!(server = %cluster.registry.name(server), "chunkserver stopped in good order");
        Ok(())
    }
}

/// Runs `work` here where it is `quick`, else where blocking is allowed.
async fn aside<T: Send + 'static>(
    quick: bool,
    cluster: Arc<Cluster>,
    work: impl FnOnce(&Cluster) -> Result<T, ClusterError> + Send + 'static,
) -> Result<T, ClusterError> {
    if quick {
        return work(&cluster);
    }
    let done = tokio::task::spawn_blocking(move || work(&cluster)).await;
    done.unwrap_or(Err(ClusterError::NotReady))
}
