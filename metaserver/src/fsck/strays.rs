//! Every reported copy against the records: copies that nobody can account for.

use cairn_proto::admin::FsckPage;
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ServerId};

use super::token::Stage;
use super::{empty, finding};
use crate::cluster::Cluster;
use crate::cluster::copies::Copy;

/// Copies in one page.
const COPIES_PER_PAGE: usize = 4096;

pub(super) fn page(
    cluster: &Cluster,
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
        if let Some((kind, what)) = unaccounted(cluster, current, handle, copy)? {
            page.findings.push(finding(kind, None, handle, Some(current), what));
        }
    }
    let next = match copies.last() {
        Some(&(handle, _)) if copies.len() == COPIES_PER_PAGE => Some((current, Some(handle))),
        _ => cluster.registry.each(|server| server.id).into_iter().find(|&id| id > current).map(|id| (id, None)),
    };
    Ok((page, next.map(|(server, after)| Stage::Strays { server: Some(server), after })))
}

/// What is wrong about a copy; `None` where it is a member's, garbage, or will be one or the other.
fn unaccounted(
    cluster: &Cluster,
    server: ServerId,
    handle: ChunkHandle,
    copy: Copy,
) -> Result<Option<(&'static str, String)>, FsError> {
    let name = cluster.registry.name(server);
    if !cluster.state.has_given_out(handle) {
        let what = format!("{name} holds a copy of {handle}, which this cluster has never given out");
        return Ok(Some(("unknown-chunk", what)));
    }
    match cluster.chunk(handle)? {
        Some(chunk) if copy.version > chunk.version && !cluster.busy.contains(handle) => {
            let what = format!("{name} holds {handle} at {}, the metadata say {}", copy.version, chunk.version);
            Ok(Some(("version-ahead", what)))
        }
        _ => Ok(None),
    }
}
