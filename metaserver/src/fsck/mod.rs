//! `cairn fsck`: everything compared with everything, a page at a time, while the cluster is in use.
//!
//! Three passes: the namespace against its own invariants ([`crate::namespace::check`]), every chunk's record against its copies
//! ([`chunks`]), and every reported copy against the records ([`strays`]). What is merely unfinished (a chunk being written, a copy
//! waiting to be deleted, a repair under way) is not wrong, and not reported. Nothing is changed, but that chunks whose
//! writer died are reconciled before they are compared, as they would be shortly anyway.

mod chunks;
mod strays;
mod token;

use cairn_proto::admin::{Finding, FsckPage};
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, InodeId, ServerId};

use crate::cluster::Cluster;
use crate::namespace::check;
use crate::session::Clients;
use token::Stage;

/// Rows of the namespace in one page.
const ROWS_PER_PAGE: usize = 1024;

/// One page; `resume` is what the page before said, `None` for the first. `data`: also read and verify every block of every copy.
pub async fn page(
    cluster: &Cluster,
    clients: &Clients,
    data: bool,
    resume: Option<Vec<u8>>,
) -> Result<FsckPage, FsError> {
    let stage = resume.map_or(Ok(Stage::FIRST), |token| Stage::decode(&token))?;
    let (mut page, next) = match stage {
        Stage::Namespace(at) => namespace_page(cluster, at)?,
        Stage::Chunks { after } => chunks::page(cluster, clients, data, after).await?,
        Stage::Strays { server, after } => strays::page(cluster, server, after)?,
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

/// Something wrong with a copy of a chunk.
fn finding(kind: &str, inode: Option<InodeId>, chunk: ChunkHandle, server: Option<ServerId>, what: String) -> Finding {
    Finding { kind: kind.to_owned(), inode, chunk: Some(chunk), server, what }
}
