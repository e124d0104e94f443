//! Every chunk's record against its copies.

use cairn_proto::admin::{Finding, FsckPage};
use cairn_proto::chunk::BlockSum;
use cairn_proto::chunkserver::{BlockTable, ChunkState};
use cairn_proto::error::{ChunkError, FsError};
use cairn_proto::ids::{ChunkHandle, ServerId};
use futures::future::join_all;
use futures::{StreamExt, stream};

use super::token::Stage;
use super::{empty, finding};
use crate::cluster::Cluster;
use crate::cluster::peers::PeerError;
use crate::cluster::reconcile::reconcile;
use crate::namespace::chunk::Chunk;
use crate::namespace::query;
use crate::session::Clients;

/// Chunks in one page: an answer within seconds, also with data.
const CHUNKS_PER_PAGE: usize = 64;
const CHUNKS_PER_DATA_PAGE: usize = 8;
/// Chunks looked at at the same time.
const CONCURRENCY: usize = 4;
/// A chunk that changes while it is looked at is looked at again, this often at most.
const TRIES: usize = 3;

pub(super) async fn page(
    cluster: &Cluster,
    clients: &Clients,
    data: bool,
    after: ChunkHandle,
) -> Result<(FsckPage, Option<Stage>), FsError> {
    let limit = if data { CHUNKS_PER_DATA_PAGE } else { CHUNKS_PER_PAGE };
    let chunks = cluster.state.read(|read| query::chunks(read, after, limit))?;
    let next = match chunks.last() {
        Some(&(handle, _)) if chunks.len() == limit => Stage::Chunks { after: handle },
        _ => Stage::Strays { server: None, after: None },
    };
    let mut page = FsckPage { chunks_checked: chunks.len() as u64, ..empty() };
    let checks = chunks.into_iter().map(|(handle, _)| check(cluster, clients, handle, data));
    let mut checks = stream::iter(checks).buffered(CONCURRENCY);
    while let Some(checked) = checks.next().await {
        let checked = checked?;
        page.findings.extend(checked.findings);
        page.bytes_verified += checked.bytes;
    }
    Ok((page, Some(next)))
}

#[derive(Default)]
struct Checked {
    findings: Vec<Finding>,
    bytes: u64,
}

/// What the members of a chunk say about it.
type Tables = Vec<(ServerId, Result<BlockTable, PeerError>)>;

async fn check(cluster: &Cluster, clients: &Clients, handle: ChunkHandle, data: bool) -> Result<Checked, FsError> {
    for _ in 0..TRIES {
        let Some(chunk) = cluster.chunk(handle)? else { break };
        if clients.files.has_writer(chunk.inode) || cluster.busy.contains(handle) {
            // Its copies are about to change, or do: the writer and the repair look after them.
            break;
        }
        let tables = tables_of(cluster, handle, &chunk.members).await;
        let dirty = tables.iter().flat_map(|(_, table)| table).any(|table| table.stat.state == ChunkState::Dirty);
        if dirty && clients.sessions.reclaimed(cluster.now()) {
            if let Err(error) = reconcile(cluster, handle).await {
                tracing::info!(%error, "a dirty chunk could not be reconciled before its check");
            }
        } else if cluster.chunk(handle)?.as_ref() == Some(&chunk) && !dirty {
            let findings = judge(cluster, handle, &chunk, &tables);
            let mut checked = Checked { findings, bytes: 0 };
            if data {
                verify(cluster, handle, &chunk, &mut checked).await;
            }
            return Ok(checked);
        }
    }
    Ok(Checked::default())
}

async fn tables_of(cluster: &Cluster, handle: ChunkHandle, members: &[ServerId]) -> Tables {
    join_all(members.iter().map(|&server| async move {
        let at = cluster.registry.replica(server, cluster.now()).endpoint;
        (server, cluster.peers.block_table(&at, handle).await)
    }))
    .await
}

fn judge(cluster: &Cluster, handle: ChunkHandle, chunk: &Chunk, tables: &Tables) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (server, table) in tables {
        let name = cluster.registry.name(*server);
        if let Some((kind, what)) = wrong_with_copy(handle, chunk, &name, table) {
            findings.push(finding(kind, Some(chunk.inode), handle, Some(*server), what));
        }
    }
    let mut whole = tables.iter().filter_map(|(server, table)| Some((*server, table.as_ref().ok()?)));
    if let Some((first, expected)) = whole.next() {
        for (other, table) in whole {
            if let Some(block) = first_difference(&expected.sums, &table.sums) {
                let (a, b) = (cluster.registry.name(first), cluster.registry.name(other));
                let what = format!("block {block} of {handle} differs between {a} and {b}");
                findings.push(finding("diverged", Some(chunk.inode), handle, Some(other), what));
            }
        }
    }
    findings
}

/// What is wrong with one member's copy, by itself.
fn wrong_with_copy(
    handle: ChunkHandle,
    chunk: &Chunk,
    name: &str,
    table: &Result<BlockTable, PeerError>,
) -> Option<(&'static str, String)> {
    match table {
        Ok(table) => {
            let stat = table.stat;
            if stat.id.version > chunk.version {
                let what = format!("{name} holds {handle} at {}, the metadata say {}", stat.id.version, chunk.version);
                return Some(("version-ahead", what));
            }
            if (stat.id.inode, stat.id.index) != (chunk.inode, chunk.index) {
                let (theirs, ours) = ((stat.id.inode, stat.id.index), (chunk.inode, chunk.index));
                let what = format!("the copy of {handle} on {name} says it is {theirs:?}, the metadata say {ours:?}");
                return Some(("misplaced-replica", what));
            }
            if stat.length < chunk.length {
                let what =
                    format!("the copy of {handle} on {name} has {} bytes of {} written", stat.length, chunk.length);
                return Some(("short-replica", what));
            }
            None
        }
        Err(PeerError::Refused(ChunkError::NotFound(_))) if chunk.length == 0 => None,
        Err(PeerError::Refused(ChunkError::NotFound(_))) => {
            Some(("missing-replica", format!("{name} is a member of {handle} and has no copy of it")))
        }
        Err(error) => Some(("unreachable-replica", format!("the copy of {handle} on {name} cannot be read: {error}"))),
    }
}

/// The first block that differs; what is behind the end of a table is a hole.
fn first_difference(a: &[BlockSum], b: &[BlockSum]) -> Option<usize> {
    let at = |sums: &[BlockSum], block: usize| sums.get(block).copied().unwrap_or(BlockSum::HOLE);
    (0..a.len().max(b.len())).find(|&block| at(a, block) != at(b, block))
}

async fn verify(cluster: &Cluster, handle: ChunkHandle, chunk: &Chunk, checked: &mut Checked) {
    for &server in &chunk.members {
        let at = cluster.registry.replica(server, cluster.now()).endpoint;
        // Who does not answer, or has no copy, is reported already.
        let Ok(report) = cluster.peers.verify(&at, handle).await else { continue };
        checked.bytes += u64::from(report.stat.allocated);
        if let Some(first) = report.damaged.first() {
            let (name, count) = (cluster.registry.name(server), report.damaged.len());
            let what = format!("{count} blocks of {handle} on {name} do not match their sums, the first is {first}");
            checked.findings.push(finding("damaged-replica", Some(chunk.inode), handle, Some(server), what));
        }
    }
}

#[cfg(test)]
mod tests {
    use cairn_proto::chunk::ChunkId;
    use cairn_proto::chunkserver::ChunkStat;
    use cairn_proto::ids::{ChunkIndex, ChunkVersion, InodeId};

    use super::*;

    const HANDLE: ChunkHandle = ChunkHandle(4);

    fn chunk(length: u32) -> Chunk {
        Chunk {
            version: ChunkVersion(2),
            members: vec![],
            inode: InodeId(9),
            index: ChunkIndex(1),
            target: 2,
            placement: Default::default(),
            length,
            allocated: 0,
            refs: 1,
        }
    }

    fn table(version: u32, inode: u64, length: u32) -> Result<BlockTable, PeerError> {
        let id =
            ChunkId { handle: HANDLE, version: ChunkVersion(version), inode: InodeId(inode), index: ChunkIndex(1) };
        let stat = ChunkStat { id, state: ChunkState::Clean, length, allocated: 0 };
        Ok(BlockTable { stat, sums: vec![] })
    }

    #[test]
    fn names_what_is_wrong() {
        let kind = |length, table| wrong_with_copy(HANDLE, &chunk(length), "a", &table).map(|(kind, _)| kind);
        let lacks_it = || Err(ChunkError::NotFound(HANDLE).into());
        let silent = || Err(PeerError::Unreachable { endpoint: "h:1".parse().unwrap(), cause: String::new() });
        assert_eq!(kind(10, table(2, 9, 10)), None);
        assert_eq!(kind(10, table(1, 9, 11)), None);
        assert_eq!(kind(10, table(3, 9, 10)), Some("version-ahead"));
        assert_eq!(kind(10, table(2, 8, 10)), Some("misplaced-replica"));
        assert_eq!(kind(10, table(2, 9, 9)), Some("short-replica"));
        assert_eq!(kind(10, lacks_it()), Some("missing-replica"));
        assert_eq!(kind(0, lacks_it()), None);
        assert_eq!(kind(0, silent()), Some("unreachable-replica"));
    }

    #[test]
    fn holes_at_the_end_are_no_difference() {
        let (a, b) = (BlockSum(1), BlockSum(2));
        assert_eq!(first_difference(&[a, b], &[a, b, BlockSum::HOLE]), None);
        assert_eq!(first_difference(&[a, b], &[a]), Some(1));
        assert_eq!(first_difference(&[], &[]), None);
    }
}
