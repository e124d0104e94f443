//! Changing who is a member of a chunk, and fencing off writers that have not heard of it.
//!
//! The log comes first, the fence second. So a copy's version is never above its record's: whoever is fenced off finds a
//! newer version at the metaserver, also when this process dies in between.

use cairn_proto::chunk::ChunkId;
use cairn_proto::chunkserver::ChunkStat;
use cairn_proto::error::{ChunkError, FsError};
use cairn_proto::ids::{ChunkHandle, ChunkVersion, ServerId};
use futures::future::join_all;

use super::Cluster;
use super::peers::PeerError;
use crate::command::Internal;
use crate::namespace::chunk::Chunk;
use crate::namespace::{ChunkView, Reply};

/// What members answered to a fence, or when they were given an empty copy.
pub type Fenced = Vec<(ServerId, Result<ChunkStat, PeerError>)>;

/// Makes `members` the members of a chunk, under the next version. `ChunkBusy` where somebody else was faster.
pub async fn change(
    cluster: &Cluster,
    handle: ChunkHandle,
    expect: ChunkVersion,
    members: Vec<ServerId>,
) -> Result<ChunkView, FsError> {
    change_to(cluster, handle, expect, expect.next(), members).await
}

/// The same, under a version that is further on.
pub async fn change_to(
    cluster: &Cluster,
    handle: ChunkHandle,
    expect: ChunkVersion,
    next: ChunkVersion,
    members: Vec<ServerId>,
) -> Result<ChunkView, FsError> {
    match cluster.state.internal(Internal::SetMembers { handle, expect, next, members }).await? {
        Reply::Members(view) => Ok(view),
        Reply::MembersConflict(_) => Err(FsError::ChunkBusy(handle)),
        other => {
            tracing::error!(%handle, ?other, "a change of members was answered by something else");
            Err(FsError::Storage)
        }
    }
}

/// Raises the copies of `members` to `version`, all at once. What they answer about their copies is taken note of.
pub async fn fence(cluster: &Cluster, handle: ChunkHandle, version: ChunkVersion, members: &[ServerId]) -> Fenced {
    join_all(members.iter().map(|&server| async move {
        let answer = match cluster.registry.endpoint(server) {
            Some(endpoint) => cluster.peers.fence(&endpoint, handle, version).await,
            None => {
                let endpoint = cluster.registry.replica(server, cluster.now()).endpoint;
                Err(PeerError::Unreachable { endpoint, cause: "it has not registered".to_owned() })
            }
        };
        if let Ok(stat) = &answer {
            cluster.registry.learn(server, stat);
        }
        (server, answer)
    }))
    .await
}

/// Of members that were fenced, those that hold the chunk's data.
///
/// A member without a copy is one of a chunk that was never written, or has lost it: it holds current data only where nobody has
/// any, and none was committed (`length` 0). A write is acknowledged by all members, so one of them without a copy means
/// that none was, unless it lost it.
pub fn holders(fenced: &Fenced, length: u32) -> Vec<ServerId> {
    let who = |wanted: fn(&Result<ChunkStat, PeerError>) -> bool| -> Vec<ServerId> {
        fenced.iter().filter(|(_, answer)| wanted(answer)).map(|(server, _)| *server).collect()
    };
    let with_copy = who(Result::is_ok);
    if with_copy.is_empty() && length == 0 {
        return who(|answer| answer.as_ref().is_err_and(PeerError::is_not_found));
    }
    with_copy
}

/// Raises `members` to the version of `id`, as [`fence`] does, and answers those that hold the chunk's data then, of which there is one at least.
///
/// Where nobody has a copy of it and none was committed, it was never written. Then each is given an empty copy: so it is fenced like any
/// other, and a server that was restarted since the chunk was given out takes its first write.
///
/// `NoSpace` where all that answer are full, which waiting would not change; `NoReplica` where there is nobody for another reason.
pub async fn hold(cluster: &Cluster, id: ChunkId, length: u32, members: &[ServerId]) -> Result<Vec<ServerId>, FsError> {
    let fenced = fence(cluster, id.handle, id.version, members).await;
    let mut holding = holders(&fenced, length);
    if fenced.iter().all(|(_, answer)| answer.is_err()) {
        let made = make_empty(cluster, id, &holding).await;
        holding = made.iter().filter(|(_, made)| made.is_ok()).map(|(server, _)| *server).collect();
        let is_full = |made: &Result<_, _>| matches!(made, Err(PeerError::Refused(ChunkError::NoSpace)));
        if !made.is_empty() && made.iter().all(|(_, made)| is_full(made)) {
            return Err(FsError::NoSpace);
        }
    }
    if holding.is_empty() { Err(FsError::NoReplica(id.handle)) } else { Ok(holding) }
}

/// Has `servers` make an empty copy each.
async fn make_empty(cluster: &Cluster, id: ChunkId, servers: &[ServerId]) -> Fenced {
    let made = servers.iter().map(|&server| async move {
        let endpoint = cluster.registry.endpoint(server)?;
        let answer = cluster.peers.create(&endpoint, id).await;
        match &answer {
            Ok(stat) => cluster.registry.learn(server, stat),
            Err(error) => tracing::info!(%server, %error, "an empty copy could not be made"),
        }
        Some((server, answer))
    });
    join_all(made).await.into_iter().flatten().collect()
}

/// The chunk's name at `version`.
pub fn id_at(handle: ChunkHandle, version: ChunkVersion, chunk: &Chunk) -> ChunkId {
    ChunkId { handle, version, inode: chunk.inode, index: chunk.index }
}

#[cfg(test)]
mod tests {
    use cairn_proto::chunkserver::ChunkState;
    use cairn_proto::ids::{ChunkIndex, InodeId};
    use uuid::Uuid;

    use super::*;

    const HANDLE: ChunkHandle = ChunkHandle(5);

    fn server(n: u128) -> ServerId {
        ServerId(Uuid::from_u128(n))
    }

    fn has_it() -> Result<ChunkStat, PeerError> {
        let id = ChunkId { handle: HANDLE, version: ChunkVersion(2), inode: InodeId(2), index: ChunkIndex(0) };
        Ok(ChunkStat { id, state: ChunkState::Dirty, length: 1, allocated: 4096, disk: Default::default() })
    }

    fn lacks_it() -> Result<ChunkStat, PeerError> {
        Err(ChunkError::NotFound(HANDLE).into())
    }

    fn is_silent() -> Result<ChunkStat, PeerError> {
        Err(PeerError::Unreachable { endpoint: "h:1".parse().unwrap(), cause: String::new() })
    }

    #[test]
    fn who_has_it_holds_it() {
        let fenced = vec![(server(1), has_it()), (server(2), lacks_it()), (server(3), is_silent())];
        assert_eq!(holders(&fenced, 0), [server(1)]);
        assert_eq!(holders(&fenced, 9), [server(1)]);
    }

    #[test]
    fn a_chunk_that_nobody_wrote_is_held_by_all_who_answer() {
        let fenced = vec![(server(1), lacks_it()), (server(2), lacks_it()), (server(3), is_silent())];
        assert_eq!(holders(&fenced, 0), [server(1), server(2)]);
        assert_eq!(holders(&fenced, 1), []);
        assert_eq!(holders(&vec![(server(3), is_silent())], 0), []);
    }
}
