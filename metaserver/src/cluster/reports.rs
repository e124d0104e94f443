//! What chunkservers tell: taken into the registry, and compared with the metadata.

use std::collections::BTreeMap;

use cairn_proto::admin::ServerMode;
use cairn_proto::chunkserver::{ChunkStat, ChunkState};
use cairn_proto::cluster::{ChunkChange, ClusterError, Heartbeat, HeartbeatReply, Registration, Report, Space};
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ServerId};
use cairn_proto::time::Timestamp;

use super::copies::Copy;
use super::repair::{BadCopy, Complaint};
use super::server::Beat;
use super::strays::Verdict;
use super::{Cluster, strays};
use crate::command::Internal;
use crate::namespace::query;
use crate::namespace::server::Server;

/// A server with less than one part in so many free is short of space.
const IN_NEED: u64 = 10;

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
    let Registration { server, name, endpoint, labels, .. } = registration;
    let known = cluster.state.read(|read| query::server(read, *server))?;
    let mode = known.as_ref().map(|known| known.mode).unwrap_or_default();
    let remembered = Server { name: name.clone(), endpoint: endpoint.clone(), labels: labels.clone(), mode };
    if known.as_ref() != Some(&remembered) {
        cluster.state.internal(Internal::RememberServer { server: *server, remembered }).await?;
    }
    // What it announced itself is over with its return; what an operator said holds until its time is out.
    if matches!(mode, ServerMode::Maintenance { announced: true, .. }) {
        cluster.set_mode(*server, ServerMode::InService).await?;
    }
    Ok(())
}

/// A server stops in good order: it has some time to come back, unless somebody said already what is to become of it.
pub async fn goodbye(cluster: &Cluster, server: ServerId) -> Result<(), FsError> {
    cluster.registry.goodbye(server, cluster.now());
    let grace = cluster.registry.thresholds().stopped_grace;
    let announced = ServerMode::Maintenance { until: cluster.state.wall().saturating_add(grace), announced: true };
    let is_later = |until: Timestamp| until.saturating_since(cluster.state.wall()) > grace;
    match cluster.registry.mode(server) {
        None | Some(ServerMode::Draining) => Ok(()),
        Some(ServerMode::Maintenance { until, .. }) if is_later(until) => Ok(()),
        Some(ServerMode::InService | ServerMode::Maintenance { .. }) => cluster.set_mode(server, announced).await,
    }
}

/// Takes a page of a server's report.
pub fn report(cluster: &Cluster, report: &Report) -> Result<(), ClusterError> {
    cluster.registry.report(report, cluster.now())?;
    for stat in &report.chunks {
        if compare(cluster, report.server, stat)? == Verdict::MemberBehind && stat.state == ChunkState::Clean {
            // Most likely it has only not heard of the last change of members. But somebody may have put back an old file.
            let complaint = Complaint { server: report.server, what: BadCopy::Stale };
            cluster.repairs.complain(stat.id.handle, complaint, cluster.now());
        }
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
        let mut damaged = BTreeMap::<ChunkHandle, u32>::new();
        for change in &heartbeat.changes {
            match change {
                ChunkChange::Now(stat) => {
                    compare(cluster, server, stat)?;
                }
                ChunkChange::Removed(handle) => removed(cluster, server, *handle)?,
                ChunkChange::Damaged { handle, .. } => *damaged.entry(*handle).or_default() += 1,
            }
        }
        for (handle, blocks) in damaged {
            tracing::warn!(%handle, server = %cluster.registry.name(server), blocks, "a copy is damaged");
            cluster.repairs.complain(handle, Complaint { server, what: BadCopy::Damaged }, cluster.now());
        }
    }
    let Space { total, free, .. } = heartbeat.space;
    let in_need = free < total / IN_NEED;
    Ok(HeartbeatReply { orders: cluster.orders.due(server, in_need, cluster.now()) })
}

fn compare(cluster: &Cluster, server: ServerId, stat: &ChunkStat) -> Result<Verdict, ClusterError> {
    let verdict = strays::judge_reported(cluster, server, stat.id.handle, Copy::from(stat));
    verdict.map_err(|_| ClusterError::NotReady)
}

fn removed(cluster: &Cluster, server: ServerId, handle: ChunkHandle) -> Result<(), ClusterError> {
    cluster.orders.forget(server, handle);
    let chunk = cluster.chunk(handle).map_err(|_| ClusterError::NotReady)?;
    if chunk.is_some_and(|chunk| chunk.members.contains(&server)) {
        cluster.repairs.complain(handle, Complaint { server, what: BadCopy::Missing }, cluster.now());
    }
    Ok(())
}
