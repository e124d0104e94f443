//! Every chunk's record against its copies.

use cairn_proto::admin::FsckPage;
use cairn_proto::chunk::BlockSum;
use cairn_proto::chunkserver::{BlockTable, ChunkState};
use cairn_proto::error::{ChunkError, FsError};
use cairn_proto::ids::{ChunkHandle, ServerId};
use futures::future::join_all;
use futures::{StreamExt, stream};

use super::fault::{Fault, Found};
use super::token::Stage;
use super::{Depth, empty, take};
use crate::cluster::Cluster;
use crate::cluster::peers::PeerError;
use crate::cluster::reconcile::reconcile;
use crate::cluster::repair::mend::differs;
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
    depth: Depth,
    after: ChunkHandle,
) -> Result<(FsckPage, Option<Stage>), FsError> {
    let data = depth.data;
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
        page.bytes_verified += checked.bytes;
        take(cluster, depth, checked.found, &mut page).await?;
    }
    Ok((page, Some(next)))
}

#[derive(Default)]
pub(super) struct Checked {
    pub found: Vec<Found>,
    bytes: u64,
}

/// What the members of a chunk say about it.
type Tables = Vec<(ServerId, Result<BlockTable, PeerError>)>;

pub(super) async fn check(
    cluster: &Cluster,
    clients: &Clients,
    handle: ChunkHandle,
    data: bool,
) -> Result<Checked, FsError> {
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
            let found = judge(cluster, handle, &chunk, &tables);
            let mut checked = Checked { found, bytes: 0 };
            if data {
                verify(cluster, handle, &chunk, &mut checked).await;
            } else {
                known_damage(cluster, handle, &chunk, &tables, &mut checked);
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

fn judge(cluster: &Cluster, handle: ChunkHandle, chunk: &Chunk, tables: &Tables) -> Vec<Found> {
    let found = |fault, server, what| Found { fault, inode: Some(chunk.inode), chunk: handle, server, what };
    let mut all = Vec::new();
    for (server, table) in tables {
        let name = cluster.registry.name(*server);
        if let Some((fault, what)) = wrong_with_copy(handle, chunk, &name, table) {
            all.push(found(fault, *server, what));
        }
    }
    // Those that have a fault of their own are compared when that is repaired.
    let alone: Vec<ServerId> = all.iter().map(|found| found.server).collect();
    let mut whole: Vec<_> = tables
        .iter()
        .filter(|(server, _)| !alone.contains(server))
        .filter_map(|(server, table)| Some((*server, table.as_ref().ok()?)))
        .collect();
    // A stable order: of those of one version, the first in the chain.
    whole.sort_by_key(|(_, table)| std::cmp::Reverse(table.stat.id.version));
    let Some(((first, newest), others)) = whole.split_first() else { return all };
    for (other, table) in others {
        if let Some((fault, what)) = difference(newest, table) {
            let (a, b) = (cluster.registry.name(*first), cluster.registry.name(*other));
            all.push(found(fault, *other, format!("{handle}: between {a} and {b}, {what}")));
        }
    }
    all
}

/// How two copies differ, the first of which is not the older one.
fn difference(newest: &BlockTable, other: &BlockTable) -> Option<(Fault, String)> {
    let block = first_difference(&newest.sums, &other.sums);
    let what = match block {
        Some(block) => format!("block {block} differs"),
        None if newest.stat.length != other.stat.length => {
            format!("the length differs: {} and {} bytes", newest.stat.length, other.stat.length)
        }
        None => return None,
    };
    let (new, old) = (newest.stat.id.version, other.stat.id.version);
    let fault = match block {
        _ if old < new && differs(newest, other) => {
            return Some((Fault::Stale, format!("{what}, and the latter's is of {old}, not {new}")));
        }
        Some(_) => Fault::Diverged,
        None => Fault::WrongLength,
    };
    Some((fault, what))
}

/// What is wrong with one member's copy, by itself.
fn wrong_with_copy(
    handle: ChunkHandle,
    chunk: &Chunk,
    name: &str,
    table: &Result<BlockTable, PeerError>,
) -> Option<(Fault, String)> {
    match table {
        Ok(table) => {
            let stat = table.stat;
            let version = stat.id.version;
            if version > chunk.version {
                let what = format!("{name} holds {handle} at {version}, the metadata say {}", chunk.version);
                return Some((Fault::Ahead { version }, what));
            }
            if (stat.id.inode, stat.id.index) != (chunk.inode, chunk.index) {
                let (theirs, ours) = ((stat.id.inode, stat.id.index), (chunk.inode, chunk.index));
                let what = format!("the copy of {handle} on {name} says it is {theirs:?}, the metadata say {ours:?}");
                return Some((Fault::Misplaced, what));
            }
            if stat.length < chunk.length {
                let what =
                    format!("the copy of {handle} on {name} has {} bytes of {} written", stat.length, chunk.length);
                return Some((Fault::Short, what));
            }
            None
        }
        Err(PeerError::Refused(ChunkError::NotFound(_))) if chunk.length == 0 => None,
        Err(PeerError::Refused(ChunkError::NotFound(_))) => {
            Some((Fault::Missing, format!("{name} is a member of {handle} and has no copy of it")))
        }
        Err(error) => Some((Fault::Unreachable, format!("the copy of {handle} on {name} cannot be read: {error}"))),
    }
}

/// The first block that differs; what is behind the end of a table is a hole.
fn first_difference(a: &[BlockSum], b: &[BlockSum]) -> Option<usize> {
    let at = |sums: &[BlockSum], block: usize| sums.get(block).copied().unwrap_or(BlockSum::HOLE);
    (0..a.len().max(b.len())).find(|&block| at(a, block) != at(b, block))
}

/// Damage that chunkservers know of without being asked to look.
fn known_damage(cluster: &Cluster, handle: ChunkHandle, chunk: &Chunk, tables: &Tables, checked: &mut Checked) {
    for (server, table) in tables {
        let damaged = table.as_ref().map_or(&[][..], |table| &table.damaged[..]);
        checked.found.extend(damage(cluster, handle, chunk, *server, damaged));
    }
}

async fn verify(cluster: &Cluster, handle: ChunkHandle, chunk: &Chunk, checked: &mut Checked) {
    for &server in &chunk.members {
        let at = cluster.registry.replica(server, cluster.now()).endpoint;
        // Who does not answer, or has no copy, is reported already.
        let Ok(report) = cluster.peers.verify(&at, handle).await else { continue };
        checked.bytes += u64::from(report.stat.allocated);
        checked.found.extend(damage(cluster, handle, chunk, server, &report.damaged));
    }
}

fn damage(cluster: &Cluster, chunk: ChunkHandle, of: &Chunk, server: ServerId, blocks: &[u32]) -> Option<Found> {
    let (first, count, name) = (blocks.first()?, blocks.len(), cluster.registry.name(server));
    let what = format!("{count} blocks of {chunk} on {name} do not match their sums, the first is {first}");
    Some(Found { fault: Fault::Damaged, inode: Some(of.inode), chunk, server, what })
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
        let stat = ChunkStat { id, state: ChunkState::Clean, length, allocated: 0, disk: Default::default() };
        Ok(BlockTable { stat, sums: vec![], damaged: vec![] })
    }

    #[test]
    fn names_what_is_wrong() {
        let kind = |length, table| wrong_with_copy(HANDLE, &chunk(length), "a", &table).map(|(fault, _)| fault.kind());
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
    fn an_older_copy_that_differs_is_stale() {
        let table = |version, length, sums: &[u32]| BlockTable {
            sums: sums.iter().copied().map(BlockSum).collect(),
            ..table(version, 9, length).unwrap()
        };
        let newest = table(2, 9000, &[1, 2]);
        let fault = |other: BlockTable| difference(&newest, &other).map(|(fault, _)| fault);
        assert_eq!(fault(table(1, 9000, &[1, 2])), None, "who has not heard of a change of members is current");
        assert_eq!(fault(table(1, 9000, &[1, 3])), Some(Fault::Stale));
        assert_eq!(fault(table(1, 9001, &[1, 2])), Some(Fault::Stale));
        assert_eq!(fault(table(2, 9000, &[1])), Some(Fault::Diverged));
        assert_eq!(fault(table(2, 9001, &[1, 2])), Some(Fault::WrongLength));
    }

    #[test]
    fn holes_at_the_end_are_no_difference() {
        let (a, b) = (BlockSum(1), BlockSum(2));
        assert_eq!(first_difference(&[a, b], &[a, b, BlockSum::HOLE]), None);
        assert_eq!(first_difference(&[a, b], &[a]), Some(1));
        assert_eq!(first_difference(&[], &[]), None);
    }
}
