//! `cairn fsck`: everything compared with everything, a page at a time, while the cluster is in use.
//!
//! Three passes: the namespace against its own invariants ([`crate::namespace::check`]), every chunk's record against its copies
//! ([`chunks`]), and every reported copy against the records ([`strays`]). What is merely unfinished (a chunk being written, a copy
//! waiting to be deleted, a repair under way) is not wrong, and not reported. Nothing is changed, but that chunks whose
//! writer died are reconciled before they are compared, as they would be shortly anyway; unless repair is asked for: then what
//! is found is given to those who repair anyway ([`fault`]), and [`recheck`] says what has become of it.

mod chunks;
mod fault;
mod strays;
mod token;

use cairn_proto::admin::{FsckPage, Recheck};
use cairn_proto::error::FsError;
use cairn_proto::ids::ChunkHandle;

use crate::cluster::Cluster;
use crate::namespace::check;
use crate::session::Clients;
use fault::Found;
use token::Stage;

/// Rows of the namespace in one page.
const ROWS_PER_PAGE: usize = 1024;

/// How thorough a check is.
#[derive(Clone, Copy, Debug)]
pub struct Depth {
    /// Read and verify every block of every copy, too.
    pub data: bool,
    /// Begin to repair what can be repaired.
    pub repair: bool,
}

/// One page; `resume` is what the page before said, `None` for the first.
pub async fn page(
    cluster: &Cluster,
    clients: &Clients,
    depth: Depth,
    resume: Option<Vec<u8>>,
) -> Result<FsckPage, FsError> {
    let stage = resume.map_or(Ok(Stage::FIRST), |token| Stage::decode(&token))?;
    let (mut page, next) = match stage {
        Stage::Namespace(at) => namespace_page(cluster, at)?,
        Stage::Chunks { after } => chunks::page(cluster, clients, depth, after).await?,
        Stage::Strays { server, after } => strays::page(cluster, depth, server, after).await?,
    };
    page.resume = next.map(|stage| stage.encode());
    Ok(page)
}

fn namespace_page(cluster: &Cluster, at: Option<Vec<u8>>) -> Result<(FsckPage, Option<Stage>), FsError> {
    let checked = cluster.state.read(|read| check::check(read, at.as_deref(), ROWS_PER_PAGE))?;
    let next = match checked.resume {
        Some(at) => Stage::Namespace(Some(at)),
        None => Stage::Chunks { after: ChunkHandle(0) },
    };
    let page = FsckPage { findings: checked.findings, inodes_checked: checked.inodes_checked, ..empty() };
    Ok((page, Some(next)))
}

fn empty() -> FsckPage {
    FsckPage { findings: Vec::new(), inodes_checked: 0, chunks_checked: 0, bytes_verified: 0, resume: None }
}

/// Checks some chunks by themselves.
pub async fn recheck(
    cluster: &Cluster,
    clients: &Clients,
    data: bool,
    chunks: Vec<ChunkHandle>,
) -> Result<Recheck, FsError> {
    let mut result = Recheck::default();
    for handle in chunks {
        let is_pending = || cluster.busy.contains(handle) || cluster.repairs.contains(handle);
        let before = is_pending();
        let found = chunks::check(cluster, clients, handle, data).await?.found;
        let strays = strays::of(cluster, handle)?;
        if before || is_pending() {
            result.pending.push(handle);
        }
        result.findings.extend(found.into_iter().chain(strays).map(Into::into));
    }
    Ok(result)
}

/// Puts what was found on a page, and has it repaired if that is asked for.
async fn take(cluster: &Cluster, depth: Depth, found: Vec<Found>, page: &mut FsckPage) -> Result<(), FsError> {
    for found in found {
        if depth.repair {
            found.repair(cluster).await?;
        }
        page.findings.push(found.into());
    }
    Ok(())
}
