//! What chunkservers tell: taken into the registry, and compared with the metadata.

use cairn_proto::chunkserver::ChunkStat;
use cairn_proto::cluster::{ChunkChange, ClusterError, Heartbeat, HeartbeatReply, Registration, Report};
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ServerId};

use super::copies::Copy;
use super::repair::{BadCopy, Complaint};
use super::server::Beat;
use super::{Cluster, strays};
use crate::command::Internal;
use crate::namespace::query;

/// Takes a server in. `DuplicateServer` where the same id answers at another address.
pub async fn register(cluster: &Cluster, registration: &Registration) -> Result<(), ClusterError> {
    if let Some(endpoint) = cluster.registry.occupied(registration, cluster.now())
        && cluster.peers.identity(&endpoint).await == Ok(registration.server)
    {
        return Err(ClusterError::DuplicateServer { server: registration.server, endpoint });
    }
    remember(cluster, registration).await.map_err(|_| ClusterError::NotReady)?;
    cluster.registry.register(registration, cluster.now());
    tracing::info!(
        server = %registration.server, name = registration.name, endpoint = %registration.endpoint,
        "chunkserver registered"
    );
    Ok(())
}

/// Writes down who it is and where, unless that is known.
async fn remember(cluster: &Cluster, registration: &Registration) -> Result<(), FsError> {
    let Registration { server, name, endpoint, .. } = registration;
    let known = cluster.state.read(|read| query::server(read, *server))?;
    if known.is_some_and(|known| known.name == *name && known.endpoint == *endpoint) {
        return Ok(());
    }
    let (server, name, endpoint) = (*server, name.clone(), endpoint.clone());
    cluster.state.internal(Internal::RememberServer { server, name, endpoint }).await?;
    Ok(())
}

/// Takes a page of a server's report.
pub fn report(cluster: &Cluster, report: &Report) -> Result<(), ClusterError> {
    cluster.registry.report(report, cluster.now())?;
    for stat in &report.chunks {
        compare(cluster, report.server, stat)?;
    }
    if report.last {
        tracing::info!(server = %cluster.registry.name(report.server), "chunkserver has reported all its chunks");
    }
    Ok(())
}

/// Takes a heartbeat, and answers with what the server is to delete.
pub fn heartbeat(cluster: &Cluster, heartbeat: &Heartbeat) -> Result<HeartbeatReply, ClusterError> {
    let server = heartbeat.server;
    if cluster.registry.heartbeat(heartbeat, cluster.now())? == Beat::Fresh {
        for change in &heartbeat.changes {
            match change {
                ChunkChange::Now(stat) => compare(cluster, server, stat)?,
                ChunkChange::Removed(handle) => removed(cluster, server, *handle)?,
                ChunkChange::Damaged { handle, block } => {
                    let name = cluster.registry.name(server);
                    tracing::warn!(%handle, server = %name, block, "a copy is damaged");
                    cluster.repairs.complain(*handle, Complaint { server, what: BadCopy::Damaged }, cluster.now());
                }
            }
        }
    }
    Ok(HeartbeatReply { orders: cluster.orders.due(server, cluster.now()) })
}

fn compare(cluster: &Cluster, server: ServerId, stat: &ChunkStat) -> Result<(), ClusterError> {
    let verdict = strays::judge_reported(cluster, server, stat.id.handle, Copy::from(stat));
    verdict.map(|_| ()).map_err(|_| ClusterError::NotReady)
}

fn removed(cluster: &Cluster, server: ServerId, handle: ChunkHandle) -> Result<(), ClusterError> {
    cluster.orders.forget(server, handle);
    let chunk = cluster.chunk(handle).map_err(|_| ClusterError::NotReady)?;
    if chunk.is_some_and(|chunk| chunk.members.contains(&server)) {
        cluster.repairs.complain(handle, Complaint { server, what: BadCopy::Missing }, cluster.now());
    }
    Ok(())
}
