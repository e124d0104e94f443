//! What may be wrong with a copy of a chunk, and what can be done about it.

use std::collections::HashMap;

use cairn_proto::admin::Finding;
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ChunkVersion, InodeId, ServerId};

use crate::cluster::copies::Copy;
use crate::cluster::members::{self, id_at};
use crate::cluster::reconcile::{ReconcileError, fence_all, make_like_first, reconcile};
use crate::cluster::repair::{BadCopy, Complaint};
use crate::cluster::{Cluster, strays};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A member has no copy.
    Missing,
    /// A member's copy has fewer bytes than are known to be written.
    Short,
    /// Blocks do not match their sums.
    Damaged,
    /// A member's copy is an older one than another member's, and differs from it.
    Stale,
    /// Members' copies of the same version differ.
    Diverged,
    /// They differ in their lengths only.
    WrongLength,
    /// A member's copy is of a newer version than the metadata know.
    Ahead { version: ChunkVersion },
    /// It says that it is another place of another file.
    Misplaced,
    /// A member's copy cannot be looked at.
    Unreachable,
    /// A copy that nobody needs, and that nobody has ordered to be deleted.
    Stray(Copy),
    /// The same, but of a newer version than the metadata know: they may have been set back, and this be all there is.
    StrayAhead,
    /// Its number was never given out.
    Unknown,
}

/// A fault, where it is, and what to tell people.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub fault: Fault,
    pub inode: Option<InodeId>,
    pub chunk: ChunkHandle,
    pub server: ServerId,
    pub what: String,
}

impl Fault {
    /// For people and programs; never renamed.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Missing => "missing-replica",
            Self::Short => "short-replica",
            Self::Damaged => "damaged-replica",
            Self::Stale => "stale-replica",
            Self::Diverged => "diverged",
            Self::WrongLength => "wrong-length",
            Self::Ahead { .. } | Self::StrayAhead => "version-ahead",
            Self::Misplaced => "misplaced-replica",
            Self::Unreachable => "unreachable-replica",
            Self::Stray(_) => "stray-replica",
            Self::Unknown => "unknown-chunk",
        }
    }

    /// Whether [`Found::repair`] does something about it.
    pub fn is_repairable(self) -> bool {
        match self {
            Self::Missing
            | Self::Short
            | Self::Damaged
            | Self::Stale
            | Self::Diverged
            | Self::WrongLength
            | Self::Ahead { .. }
            | Self::Stray(_) => true,
            Self::Misplaced | Self::Unreachable | Self::StrayAhead | Self::Unknown => false,
        }
    }
}

impl From<Found> for Finding {
    fn from(found: Found) -> Self {
        let Found { fault, inode, chunk, server, what } = found;
        let repairable = fault.is_repairable();
        Self { kind: fault.kind().to_owned(), inode, chunk: Some(chunk), server: Some(server), what, repairable }
    }
}

impl Found {
    /// Has repaired what can be repaired: at once, or by those who do so anyway. Whether it worked, another check says.
    pub async fn repair(&self, cluster: &Cluster) -> Result<(), FsError> {
        match self.fault {
            Fault::Missing => self.complain(cluster, BadCopy::Missing),
            Fault::Short => self.complain(cluster, BadCopy::Short),
            Fault::Damaged => self.complain(cluster, BadCopy::Damaged),
            Fault::Stale => self.complain(cluster, BadCopy::Stale),
            Fault::Stray(copy) => {
                strays::judge_reported(cluster, self.server, self.chunk, copy)?;
            }
            Fault::Diverged | Fault::WrongLength => self.conclude(reconcile(cluster, self.chunk).await)?,
            Fault::Ahead { version } => self.conclude(raise(cluster, self.chunk, version).await)?,
            Fault::Misplaced | Fault::Unreachable | Fault::StrayAhead | Fault::Unknown => {}
        }
        Ok(())
    }

    fn complain(&self, cluster: &Cluster, what: BadCopy) {
        cluster.repairs.complain(self.chunk, Complaint { server: self.server, what }, cluster.now());
    }

    fn conclude(&self, done: Result<(), ReconcileError>) -> Result<(), FsError> {
        match done {
            Ok(()) => Ok(()),
            Err(ReconcileError::Metadata(FsError::ChunkBusy(_) | FsError::NotFound)) => Ok(()),
            Err(ReconcileError::Metadata(error)) => Err(error),
            Err(error) => {
                tracing::warn!(kind = self.fault.kind(), %error, "could not be repaired this time");
                Ok(())
            }
        }
    }
}

/// Lifts a chunk's record and all its copies above a version that one of them has, and makes them identical.
async fn raise(cluster: &Cluster, handle: ChunkHandle, version: ChunkVersion) -> Result<(), ReconcileError> {
    let Some(_busy) = cluster.busy.begin(handle) else { return Ok(()) };
    let Some(chunk) = cluster.chunk(handle)? else { return Ok(()) };
    if chunk.version >= version {
        return Ok(());
    }
    let next = version.next();
    let now = cluster.now();
    let copy = |server| cluster.registry.member(server, handle, now).copy;
    let had: HashMap<ServerId, ChunkVersion> =
        chunk.members.iter().filter_map(|&server| Some((server, copy(server)?.version))).collect();
    members::change_to(cluster, handle, chunk.version, next, chunk.members.clone()).await?;
    let mut holders = fence_all(cluster, handle, next, &chunk.members).await?;
    // What was written last counts.
    holders.sort_by_key(|server| std::cmp::Reverse(had.get(server).copied()));
    tracing::warn!(%handle, version = %next, "the metadata were behind a copy: both are brought to one version");
    make_like_first(cluster, id_at(handle, next, &chunk), &holders).await
}
