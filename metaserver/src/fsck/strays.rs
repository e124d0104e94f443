//! Every reported copy against the records: copies that nobody can account for.

use cairn_proto::admin::FsckPage;
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ServerId};

use super::fault::{Fault, Found};
use super::token::Stage;
use super::{Depth, empty, take};
use crate::cluster::Cluster;
use crate::cluster::copies::Copy;
use crate::cluster::strays::{self, Verdict};
use crate::namespace::query;

/// Copies in one page.
const COPIES_PER_PAGE: usize = 4096;

pub(super) async fn page(
    cluster: &Cluster,
    depth: Depth,
    server: Option<ServerId>,
    after: Option<ChunkHandle>,
) -> Result<(FsckPage, Option<Stage>), FsError> {
    let mut page = empty();
    let servers = cluster.registry.each(|server| server.id);
    let Some(current) = servers.into_iter().find(|&id| server.is_none_or(|server| id >= server)) else {
        return Ok((page, None));
    };
    let after = if server == Some(current) { after } else { None };
    let copies = cluster.registry.copies_after(current, after, COPIES_PER_PAGE);
    for &(handle, copy) in &copies {
        let found = unaccounted(cluster, current, handle, copy)?;
        take(cluster, depth, found.into_iter().collect(), &mut page).await?;
    }
    let next = match copies.last() {
        Some(&(handle, _)) if copies.len() == COPIES_PER_PAGE => Some((current, Some(handle))),
        _ => cluster.registry.each(|server| server.id).into_iter().find(|&id| id > current).map(|id| (id, None)),
    };
    Ok((page, next.map(|(server, after)| Stage::Strays { server: Some(server), after })))
}

/// Copies of one chunk that nobody can account for.
pub(super) fn of(cluster: &Cluster, handle: ChunkHandle) -> Result<Vec<Found>, FsError> {
    let holders = cluster.registry.each(|server| server.copy(handle).map(|copy| (server.id, copy)));
    let found = holders.into_iter().flatten().map(|(server, copy)| unaccounted(cluster, server, handle, copy));
    Ok(found.collect::<Result<Vec<_>, FsError>>()?.into_iter().flatten().collect())
}

/// What is wrong about a copy; `None` where it is a member's, garbage, or will be one or the other.
fn unaccounted(cluster: &Cluster, server: ServerId, handle: ChunkHandle, copy: Copy) -> Result<Option<Found>, FsError> {
    let name = cluster.registry.name(server);
    let found = |fault, what| Ok(Some(Found { fault, inode: None, chunk: handle, server, what }));
    if !cluster.state.has_given_out(handle) {
        let what = format!("{name} holds a copy of {handle}, which this cluster has never given out");
        return found(Fault::Unknown, what);
    }
    let chunk = cluster.chunk(handle)?;
    if let Some(chunk) = &chunk
        && copy.version > chunk.version
        && !chunk.members.contains(&server)
        && !cluster.busy.contains(handle)
    {
        let what = format!("{name} holds {handle} at {}, the metadata say {}", copy.version, chunk.version);
        return found(Fault::StrayAhead, what);
    }
    let is_known = cluster.orders.contains(server, handle)
        || cluster.state.read(|read| query::garbage_of(read, handle))?.is_some();
    match strays::look_at(cluster, server, handle, copy)? {
        Verdict::Garbage if !is_known => {
            let why = if chunk.is_some() { "it is no member of that chunk" } else { "no file has that chunk" };
            found(Fault::Stray(copy), format!("{name} holds {handle} at {}: {why}", copy.version))
        }
        Verdict::Garbage | Verdict::Member | Verdict::MemberBehind | Verdict::Short | Verdict::Leave => Ok(None),
    }
}
