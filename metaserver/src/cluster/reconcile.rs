//! Dirty chunks whose writer is gone: their copies are made identical before they count as clean again.
//!
//! A client that dies in the middle of a write leaves bytes that some copies have and others do not. None of them were
//! acknowledged, but two readers must not see two different answers. So a file whose writer vanished with its session is looked
//! after at once, and its dirty chunks are not handed out before ([`is_unsettled`]). A chunk that was left dirty by a writer that
//! closed the file has some time: it may be on its way to being handed back.
//!
//! Members are fenced under the next version first: should the writer be alive after all, it is told, locates the chunk again, and
//! goes on.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use cairn_proto::chunk::{ChunkId, ChunkLocation};
use cairn_proto::chunkserver::ChunkState;
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ChunkVersion, InodeId, ServerId};
use cairn_runtime::worker::{WorkError, WorkState, Worker};
use thiserror::Error;

use super::members::{self, id_at};
use super::peers::PeerError;
use super::registry::MemberView;
use super::state::Standing;
use super::{Cluster, strays};
use crate::Moment;
use crate::session::Clients;

/// Between two looks at the dirty chunks.
const PAUSE: Duration = Duration::from_secs(1);

/// What to do about a chunk that was reported dirty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No copy is dirty any more.
    Settled,
    /// It has a writer, or is too fresh, or a member is missing: repair decides about that one first.
    Wait,
    Reconcile,
}

/// What is known of those who may be writing to a chunk.
#[derive(Clone, Copy, Debug)]
pub struct Writers {
    /// Some session holds the file open for writing.
    pub present: bool,
    /// Another one did before, and vanished: whoever is present has not seen the chunk yet.
    pub abandoned: bool,
    /// Every session has had the time to say what it holds open.
    pub all_known: bool,
    /// Since the last change that a server told of; `None`: the chunk came with a registration.
    pub quiet_for: Option<Duration>,
}

/// Judges a chunk by its members' copies and its writers. A writer that has closed the file may still be handing it back, so it
/// has `patience`.
pub fn judge(members: &[MemberView], writers: Writers, patience: Duration) -> Verdict {
    let all_there = members.iter().all(|member| member.standing == Standing::Up && member.reported);
    let is_dirty = |member: &MemberView| member.copy.is_some_and(|copy| copy.state == ChunkState::Dirty);
    if all_there && !members.iter().any(is_dirty) {
        return Verdict::Settled;
    }
    let is_quiet = writers.quiet_for.is_none_or(|quiet| quiet >= patience);
    let is_orphaned = writers.abandoned || writers.all_known && !writers.present && is_quiet;
    if all_there && is_orphaned { Verdict::Reconcile } else { Verdict::Wait }
}

/// Whether a chunk of an abandoned file is about to be reconciled: nobody gets to see it until then. Where a member is missing that
/// may take long, and whoever is up holds everything that was acknowledged: then it is handed out.
pub fn is_unsettled(cluster: &Cluster, chunk: &ChunkLocation) -> bool {
    let (handle, now) = (chunk.id.handle, cluster.now());
    let members = chunk.replicas.iter().map(|replica| cluster.registry.member(replica.server, handle, now));
    let writers = Writers { present: false, abandoned: true, all_known: true, quiet_for: None };
    judge(&members.collect::<Vec<_>>(), writers, Duration::ZERO) == Verdict::Reconcile
}

/// Why a chunk was not reconciled this time.
#[derive(Debug, Error)]
pub enum ReconcileError {
    #[error("the metadata: {0}")]
    Metadata(#[from] FsError),
    #[error("{handle} at chunkserver {server}: {cause}")]
    Peer { handle: ChunkHandle, server: ServerId, cause: PeerError },
}

impl ReconcileError {
    fn is_rot(&self) -> bool {
        matches!(self, Self::Peer { cause, .. } if cause.is_damage())
    }
}

/// Looks at the dirty chunks, and reconciles those that nobody is writing to.
#[derive(Debug)]
pub struct ReconcileWorker {
    cluster: Arc<Cluster>,
    clients: Arc<Clients>,
    patience: Duration,
    /// Where the pass over the dirty chunks stands.
    pass: std::vec::IntoIter<(ChunkHandle, Option<Moment>)>,
    /// Files that were abandoned before it began.
    abandoned: HashSet<InodeId>,
    /// Files with chunks that were not settled in it.
    unsettled: HashSet<InodeId>,
}

impl ReconcileWorker {
    pub fn new(cluster: Arc<Cluster>, clients: Arc<Clients>, patience: Duration) -> Self {
        Self {
            cluster,
            clients,
            patience,
            pass: Vec::new().into_iter(),
            abandoned: HashSet::new(),
            unsettled: HashSet::new(),
        }
    }

    /// Whether anything was done.
    async fn look_at(&mut self, handle: ChunkHandle, written: Option<Moment>) -> Result<bool, ReconcileError> {
        let cluster = self.cluster.clone();
        let Some(chunk) = cluster.chunk(handle)? else {
            cluster.registry.dirty().settled(handle);
            return Ok(false);
        };
        let now = cluster.now();
        let views: Vec<_> = chunk.members.iter().map(|&server| cluster.registry.member(server, handle, now)).collect();
        let writers = Writers {
            present: self.clients.files.has_writer(chunk.inode),
            abandoned: self.clients.files.is_abandoned(chunk.inode),
            all_known: self.clients.sessions.reclaimed(now),
            quiet_for: written.map(|written| now.saturating_sub(written)),
        };
        match judge(&views, writers, self.patience) {
            Verdict::Wait => {
                self.unsettled.insert(chunk.inode);
                Ok(false)
            }
            Verdict::Settled => {
                cluster.registry.dirty().settled(handle);
                Ok(false)
            }
            Verdict::Reconcile => {
                // Looked at again in the next pass: only then it is settled.
                self.unsettled.insert(chunk.inode);
                reconcile(&cluster, handle).await?;
                Ok(true)
            }
        }
    }
}

/// Fences the members of a chunk, and makes their copies identical and clean. Does nothing where the chunk is busy or gone.
pub async fn reconcile(cluster: &Cluster, handle: ChunkHandle) -> Result<(), ReconcileError> {
    let Some(_busy) = cluster.busy.begin(handle) else { return Ok(()) };
    let Some(chunk) = cluster.chunk(handle)? else { return Ok(()) };
    let version = members::change(cluster, handle, chunk.version, chunk.members.clone()).await?.id.version;
    let holders = fence_all(cluster, handle, version, &chunk.members).await?;
    if holders.is_empty() {
        return Ok(());
    }
    if holders.len() < chunk.members.len() {
        members::change(cluster, handle, version, holders.clone()).await?;
    }
    make_identical(cluster, id_at(handle, version, &chunk), &holders).await?;
    tracing::info!(%handle, copies = holders.len(), "reconciled a chunk whose writer is gone");
    strays::sweep(cluster, handle)?;
    Ok(())
}

/// Fences all members of a chunk. Answers those that have a copy.
pub async fn fence_all(
    cluster: &Cluster,
    handle: ChunkHandle,
    version: ChunkVersion,
    members: &[ServerId],
) -> Result<Vec<ServerId>, ReconcileError> {
    let mut holders = Vec::new();
    for (server, answer) in members::fence(cluster, handle, version, members).await {
        match answer {
            Ok(_) => holders.push(server),
            // A copy that was never made holds nothing to reconcile, but is none: repair makes one.
            Err(cause) if cause.is_not_found() => {}
            Err(cause) => return Err(ReconcileError::Peer { handle, server, cause }),
        }
    }
    Ok(holders)
}

/// Has the first of `holders` make all their copies identical. They are fenced to the version of `id`.
pub async fn make_identical(cluster: &Cluster, id: ChunkId, holders: &[ServerId]) -> Result<(), ReconcileError> {
    // A server that was restarted may have lost what was not synced: the others' bytes come first.
    let mut holders = holders.to_vec();
    holders.sort_by_key(|&server| cluster.registry.joined(server));
    let mut outcome = Ok(());
    for _ in 0..holders.len() {
        outcome = make_like_first(cluster, id, &holders).await;
        if !outcome.as_ref().is_err_and(ReconcileError::is_rot) {
            break;
        }
        // Its own bytes are rotten where the copies differ: another one's count.
        holders.rotate_left(1);
    }
    outcome
}

/// The same, with the bytes of the first wherever it has them.
pub async fn make_like_first(cluster: &Cluster, id: ChunkId, holders: &[ServerId]) -> Result<(), ReconcileError> {
    let now = cluster.now();
    let mut replicas = holders.iter().map(|&server| cluster.registry.replica(server, now));
    let Some(first) = replicas.next() else { return Ok(()) };
    let peers: Vec<_> = replicas.collect();
    let answer = cluster.peers.reconcile(&first.endpoint, id, peers).await;
    let stat = answer.map_err(|cause| ReconcileError::Peer { handle: id.handle, server: first.server, cause })?;
    for &server in holders {
        cluster.registry.learn(server, &stat);
    }
    Ok(())
}

impl Worker for ReconcileWorker {
    fn name(&self) -> String {
        "reconcile".to_owned()
    }

    async fn work(&mut self) -> Result<WorkState, WorkError> {
        while let Some((handle, written)) = self.pass.next() {
            match self.look_at(handle, written).await {
                Ok(false) => {}
                Ok(true) => return Ok(WorkState::Busy { cost: 1 }),
                // Others may fare better; this one comes round again with the next pass.
                Err(error) => tracing::info!(%error, "a chunk could not be reconciled, will be tried again"),
            }
        }
        self.clients.files.forget_abandoned(self.abandoned.difference(&self.unsettled));
        self.abandoned = self.clients.files.abandoned();
        self.unsettled.clear();
        self.pass = self.cluster.registry.dirty().list().into_iter();
        Ok(WorkState::Wait(PAUSE))
    }

    fn detail(&self) -> Option<String> {
        Some(format!("{} chunks were reported dirty", self.cluster.registry.dirty().len()))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::copies::Copy;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);
    const GONE: Writers = Writers { present: false, abandoned: false, all_known: true, quiet_for: None };

    fn member(standing: Standing, state: ChunkState) -> MemberView {
        let copy = Some(Copy { version: ChunkVersion(1), length: 1, state, disk: Default::default() });
        let server = ServerId(Uuid::from_u128(1));
        MemberView { server, standing, reported: true, copy, place: None, leaving: false }
    }

    #[test]
    fn clean_copies_are_settled() {
        let members = [member(Standing::Up, ChunkState::Clean), member(Standing::Up, ChunkState::Clean)];
        assert_eq!(judge(&members, GONE, PATIENCE), Verdict::Settled);
    }

    #[test]
    fn only_without_a_writer() {
        let members = [member(Standing::Up, ChunkState::Dirty), member(Standing::Up, ChunkState::Clean)];
        assert_eq!(judge(&members, GONE, PATIENCE), Verdict::Reconcile);
        for not_yet in [
            Writers { present: true, ..GONE },
            Writers { all_known: false, ..GONE },
            Writers { quiet_for: Some(PATIENCE / 2), ..GONE },
        ] {
            assert_eq!(judge(&members, not_yet, PATIENCE), Verdict::Wait, "{not_yet:?}");
        }
        assert_eq!(judge(&members, Writers { quiet_for: Some(PATIENCE), ..GONE }, PATIENCE), Verdict::Reconcile);
    }

    #[test]
    fn what_is_abandoned_waits_for_nobody() {
        let members = [member(Standing::Up, ChunkState::Dirty), member(Standing::Up, ChunkState::Dirty)];
        let writers = Writers { present: true, abandoned: true, all_known: false, quiet_for: Some(Duration::ZERO) };
        assert_eq!(judge(&members, writers, PATIENCE), Verdict::Reconcile);
    }

    #[test]
    fn waits_for_missing_members() {
        for missing in [Standing::Away, Standing::Lost] {
            let members = [member(Standing::Up, ChunkState::Dirty), member(missing, ChunkState::Dirty)];
            assert_eq!(judge(&members, GONE, PATIENCE), Verdict::Wait);
        }
        let mut joining = member(Standing::Up, ChunkState::Clean);
        joining.reported = false;
        assert_eq!(judge(&[joining], GONE, PATIENCE), Verdict::Wait);
    }
}
