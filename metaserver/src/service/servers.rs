//! What operators do with chunkservers.

use cairn_proto::admin::ServerMode;
use cairn_proto::error::{AdminError, FsError};
use cairn_proto::ids::{ChunkHandle, ServerId};
use cairn_proto::scrub::ScrubOrder;

use crate::cluster::Cluster;
use crate::cluster::state::Standing;
use crate::command::Internal;
use crate::namespace::query;

/// Chunks looked at between two commits.
const PAGE_CHUNKS: usize = 1024;

/// Says what is to become of a chunkserver.
pub(super) async fn set_mode(cluster: &Cluster, server: ServerId, mode: ServerMode) -> Result<(), AdminError> {
    let name = cluster.registry.name(server);
    match cluster.set_mode(server, mode).await {
        Err(FsError::NotFound) => Err(AdminError::UnknownServer(server)),
        done => {
            done?;
            tracing::info!(server = name, ?mode, "an operator said what is to become of a chunkserver");
            Ok(())
        }
    }
}

/// Has a chunkserver begin a pass of its scrub.
pub(super) async fn scrub(cluster: &Cluster, server: ServerId, order: ScrubOrder) -> Result<(), AdminError> {
    let endpoint = cluster.registry.endpoint(server).ok_or(AdminError::UnknownServer(server))?;
    let name = cluster.registry.name(server);
    match cluster.peers.scrub(&endpoint, order).await {
        Ok(()) => {
            tracing::info!(server = name, bytes_per_s = order.bytes_per_s, "an operator wants a scrub");
            Ok(())
        }
        Err(cause) => Err(AdminError::ServerIsAway { name, cause: cause.to_string() }),
    }
}

/// Forgets a chunkserver that will not come back.
pub(super) async fn remove(cluster: &Cluster, server: ServerId) -> Result<(), AdminError> {
    if cluster.state.read(|read| query::server(read, server))?.is_none() {
        return Err(AdminError::UnknownServer(server));
    }
    let name = cluster.registry.name(server);
    if cluster.registry.standing(server, cluster.now()) == Standing::Up {
        return Err(AdminError::ServerIsUp(name));
    }
    match chunks_of(cluster, server).await? {
        0 => {
            cluster.state.internal(Internal::ForgetServer { server }).await?;
            cluster.registry.forget(server);
            tracing::info!(%server, name, "an operator removed a chunkserver");
            Ok(())
        }
        chunks => Err(AdminError::ServerHoldsChunks { name, chunks }),
    }
}

/// Chunks that it is a member of, by the metadata. Others are let in between two pages.
async fn chunks_of(cluster: &Cluster, server: ServerId) -> Result<u64, FsError> {
    let (mut after, mut count) = (ChunkHandle(0), 0);
    loop {
        let page = cluster.state.read(|read| query::chunks(read, after, PAGE_CHUNKS))?;
        count += page.iter().filter(|(_, chunk)| chunk.members.contains(&server)).count() as u64;
        match page.last() {
            Some((last, _)) if page.len() == PAGE_CHUNKS => after = *last,
            _ => return Ok(count),
        }
        tokio::task::yield_now().await;
    }
}
