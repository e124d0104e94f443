//! Doing what the plan says, for one chunk.
//!
//! Whatever is copied is fenced first: the members, unchanged, go under the next version while nobody is told of it (the chunk is
//! busy). A writer from before is turned away, locates the chunk again, and waits; so the copy misses nothing. The new member
//! is added under a version after that.

use cairn_proto::chunk::ChunkId;
use cairn_proto::chunkserver::{BlockTable, ChunkState};
use cairn_proto::error::{ChunkError, FsError};
use cairn_proto::ids::{ChunkHandle, ChunkVersion, ServerId};
use cairn_proto::policy::Placement;
use thiserror::Error;

use super::super::members::{self, id_at};
use super::super::peers::PeerError;
use super::super::placement::{Demand, worst_placed};
use super::super::reconcile::{ReconcileError, make_identical};
use super::super::registry::MemberView;
use super::super::state::Standing;
use super::super::{Cluster, strays};
use super::plan::{Addition, Case, Plan, plan};
use super::queue::{BadCopy, Complaint, Job};
use super::throttle::{Charge, End};
use crate::Moment;
use crate::namespace::chunk::Chunk;

/// What was done about a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mended {
    /// It is as it should be, or as well as can be.
    Fine,
    /// Something was done; there may be more to do.
    Progress { bytes: u64 },
    /// Somebody else is at work on it.
    Busy,
    /// It would be copied faster than it may be. Not before then.
    TooEarly(Moment),
}

/// Why a chunk could not be repaired this time.
#[derive(Debug, Error)]
pub enum MendError {
    #[error("{0}: the metadata: {1}")]
    Metadata(ChunkHandle, FsError),
    #[error("{handle} at chunkserver {server}: {cause}")]
    Peer { handle: ChunkHandle, server: ServerId, cause: PeerError },
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
    #[error("{handle}: no copy could be copied to chunkserver {target}; the last said: {last}")]
    NoSource { handle: ChunkHandle, target: ServerId, last: PeerError },
}

/// Looks at a chunk and takes one step towards its being as it should.
pub async fn mend(cluster: &Cluster, job: &Job) -> Result<Mended, MendError> {
    let handle = job.handle;
    let mut complaints = job.complaints.clone();
    let known = cluster.damage.copies(handle).into_iter();
    complaints.extend(known.map(|server| Complaint { server, what: BadCopy::Damaged }));
    let bad = confirm(cluster, handle, &complaints).await;
    let Some(busy) = cluster.busy.begin(handle) else { return Ok(Mended::Busy) };
    let result = match cluster.chunk(handle) {
        Ok(Some(chunk)) => {
            let members = chunk.members.clone();
            let servers: Vec<_> = bad.iter().map(|complaint| complaint.server).collect();
            let result = Mending { cluster, handle, chunk, relieve: job.relieve }.step(&servers).await;
            remember(cluster, handle, &members, &bad, &result);
            result
        }
        Ok(None) => {
            cluster.damage.forget(handle);
            Ok(Mended::Fine)
        }
        Err(error) => Err(MendError::Metadata(handle, error)),
    };
    drop(busy);
    strays::sweep(cluster, handle).map_err(|error| MendError::Metadata(handle, error))?;
    result
}

/// Takes note of bad copies that nothing can be done about, and of those whose turn comes next.
fn remember(
    cluster: &Cluster,
    handle: ChunkHandle,
    members: &[ServerId],
    bad: &[Complaint],
    result: &Result<Mended, MendError>,
) {
    let now = cluster.now();
    let is_up = |server: &ServerId| cluster.registry.standing(*server, now) == Standing::Up;
    match result {
        Ok(Mended::Fine) if !bad.is_empty() => {
            let servers = bad.iter().map(|complaint| complaint.server).collect();
            if cluster.damage.note(handle, servers, members.iter().copied().filter(is_up).collect()) {
                tracing::error!(%handle, copies = bad.len(), "damaged, and no good copy of it is up");
            }
        }
        Ok(Mended::Fine) => cluster.damage.forget(handle),
        Ok(Mended::Progress { .. }) => {
            cluster.damage.forget(handle);
            // One at a time is made anew, the first of the chain.
            let is_bad = |server: &&ServerId| bad.iter().any(|complaint| complaint.server == **server);
            let done = members.iter().filter(|server| is_up(server)).find(is_bad);
            let others = bad.iter().filter(|complaint| Some(&complaint.server) != done);
            others.for_each(|complaint| cluster.repairs.complain(handle, *complaint, now));
        }
        Ok(Mended::Busy | Mended::TooEarly(_)) | Err(_) => {}
    }
}

/// Of what somebody complained of, that which is so: one complaint for each bad copy.
async fn confirm(cluster: &Cluster, handle: ChunkHandle, complaints: &[Complaint]) -> Vec<Complaint> {
    let mut bad: Vec<Complaint> = Vec::new();
    // Before the copies are looked at: what is committed by now each of them has had since.
    let committed = cluster.chunk(handle).ok().flatten().map_or(0, |chunk| chunk.length);
    for complaint in complaints {
        let Some(endpoint) = cluster.registry.endpoint(complaint.server) else { continue };
        let is_bad = match complaint.what {
            BadCopy::Missing => {
                let answer = cluster.peers.stat(&endpoint, handle).await;
                answer.inspect(|stat| cluster.registry.learn(complaint.server, stat)).is_err_and(|e| e.is_not_found())
            }
            BadCopy::Short => {
                let answer = cluster.peers.stat(&endpoint, handle).await;
                answer
                    .inspect(|stat| cluster.registry.learn(complaint.server, stat))
                    .is_ok_and(|stat| stat.length < committed)
            }
            BadCopy::Damaged => match cluster.peers.verify(&endpoint, handle).await {
                Ok(report) => !report.damaged.is_empty() || report.stat.length < committed,
                // What cannot be read is no copy.
                Err(PeerError::Refused(ChunkError::DamagedOnDisk { .. } | ChunkError::Disk(_))) => true,
                Err(error) if error.is_damage() => true,
                Err(error) => error.is_not_found(),
            },
            BadCopy::Stale => is_stale(cluster, handle, complaint.server).await,
        };
        if is_bad && bad.iter().all(|known| known.server != complaint.server) {
            bad.push(*complaint);
        }
    }
    bad
}

/// Whether a member's copy is of an older version than another one, and differs from that: it was put back in the place of a newer one.
/// The version alone says nothing: who is a member has every byte, though it may not have heard of the last change of members.
async fn is_stale(cluster: &Cluster, handle: ChunkHandle, server: ServerId) -> bool {
    let Ok(Some(chunk)) = cluster.chunk(handle) else { return false };
    let mut tables = Vec::new();
    for &member in &chunk.members {
        let Some(endpoint) = cluster.registry.endpoint(member) else { continue };
        let Ok(table) = cluster.peers.block_table(&endpoint, handle).await else { continue };
        tables.push((member, table));
    }
    let Some((_, ours)) = tables.iter().find(|(member, _)| *member == server) else { return false };
    tables.iter().any(|(_, table)| table.stat.id.version > ours.stat.id.version && differs(table, ours))
}

/// Whether two clean copies are not the same.
pub fn differs(a: &BlockTable, b: &BlockTable) -> bool {
    let is_clean = |table: &BlockTable| table.stat.state == ChunkState::Clean;
    is_clean(a) && is_clean(b) && (a.stat.length, &a.sums) != (b.stat.length, &b.sums)
}

/// A chunk that is kept busy.
struct Mending<'a> {
    cluster: &'a Cluster,
    handle: ChunkHandle,
    chunk: Chunk,
    /// See [`Job::relieve`].
    relieve: Option<ServerId>,
}

impl Mending<'_> {
    async fn step(self, bad: &[ServerId]) -> Result<Mended, MendError> {
        let now = self.cluster.now();
        let view = |&server: &ServerId| self.cluster.registry.member(server, self.handle, now);
        let views: Vec<_> = self.chunk.members.iter().map(view).collect();
        let metadata = |error| MendError::Metadata(self.handle, error);
        let placement = self.cluster.placement(self.chunk.placement).map_err(metadata)?;
        let target = usize::from(self.chunk.target);
        let mut case =
            Case { target, length: self.chunk.length, members: &views, placement: &placement, bad, unwanted: None };
        if plan(case) == Plan::Nothing {
            case.unwanted = self.worst_placed(&views, &placement).or(self.relieve);
        }
        match plan(case) {
            Plan::Nothing | Plan::Wait | Plan::Unavailable => Ok(Mended::Fine),
            Plan::Shrink(enough) => self.shrink(enough).await,
            Plan::Refresh { bad, good } => self.refresh(bad, good).await,
            Plan::Merge(damaged) => self.merge(damaged).await,
            Plan::Add(addition) => self.add(addition, &placement).await,
        }
    }

    /// The member whose copy would be better off elsewhere.
    fn worst_placed(&self, views: &[MemberView], placement: &Placement) -> Option<ServerId> {
        let registry = &self.cluster.registry;
        let roster = registry.roster(self.cluster.now());
        let place =
            |view: &MemberView| Some((view.server, view.place?, registry.has_labels(view.server, &placement.on)));
        let copies: Vec<_> = views.iter().filter_map(place).collect();
        worst_placed(&roster, &copies, placement, self.cluster.placement_reserve, &mut rand::rng())
    }

    async fn shrink(self, enough: Vec<ServerId>) -> Result<Mended, MendError> {
        let version = self.change(self.chunk.version, enough.clone()).await?;
        // Writers from before may not know, and their chain has one more: they must not be acknowledged in another order.
        members::fence(self.cluster, self.handle, version, &enough).await;
        tracing::info!(handle = %self.handle, copies = enough.len(), "surplus copies are let go");
        Ok(Mended::Progress { bytes: 0 })
    }

    /// Copies over a member's bad copy. It stays a member all the time: what is still good of it is not thrown away first.
    async fn refresh(self, bad: ServerId, good: Vec<ServerId>) -> Result<Mended, MendError> {
        let charge = match self.admit(bad, &good) {
            Ok(charge) => charge,
            Err(until) => return Ok(Mended::TooEarly(until)),
        };
        let version = self.change(self.chunk.version, self.chunk.members.clone()).await?;
        self.fence(version, &good).await?;
        members::fence(self.cluster, self.handle, version, &[bad]).await;
        let id = id_at(self.handle, version, &self.chunk);
        match self.copy(id, bad, &good, charge).await {
            Ok(bytes) => {
                let server = self.cluster.registry.name(bad);
                tracing::info!(handle = %self.handle, server, "a bad copy was made anew");
                Ok(Mended::Progress { bytes })
            }
            Err(MendError::NoSource {
                last: PeerError::Refused(ChunkError::NoSpace | ChunkError::Disk(_)), ..
            }) => {
                // It cannot be made good there. The next step finds another server.
                let without = self.chunk.members.iter().copied().filter(|&member| member != bad).collect();
                self.change(version, without).await?;
                Ok(Mended::Progress { bytes: 0 })
            }
            // No source is whole either. What each has of it may still make one: block by block.
            Err(MendError::NoSource { last, .. }) if last.is_damage() => {
                let all: Vec<_> = good.iter().copied().chain([bad]).collect();
                self.merge_at(version, all).await
            }
            Err(error) => {
                // It may still be on its way, and must not overwrite what is written from now on.
                let version = self.change(version, self.chunk.members.clone()).await?;
                members::fence(self.cluster, self.handle, version, &self.chunk.members).await;
                Err(error)
            }
        }
    }

    async fn merge(self, damaged: Vec<ServerId>) -> Result<Mended, MendError> {
        let version = self.change(self.chunk.version, self.chunk.members.clone()).await?;
        self.merge_at(version, damaged).await
    }

    /// Makes the copies of `members` one, each block from whoever has it whole. `Fine` where blocks are left that nobody has.
    async fn merge_at(self, version: ChunkVersion, members: Vec<ServerId>) -> Result<Mended, MendError> {
        self.fence(version, &members).await?;
        // Each has to know all of its damage first: what it does not know it would pass on, or leave.
        self.damaged_blocks(&members).await?;
        make_identical(self.cluster, id_at(self.handle, version, &self.chunk), &members).await?;
        match self.damaged_blocks(&members).await? {
            0 => {
                tracing::info!(handle = %self.handle, copies = members.len(), "damaged copies were made good from each other");
                Ok(Mended::Progress { bytes: 0 })
            }
            blocks => {
                tracing::error!(handle = %self.handle, blocks, "blocks are damaged in all copies that are up");
                Ok(Mended::Fine)
            }
        }
    }

    /// How many blocks of these copies are damaged.
    async fn damaged_blocks(&self, members: &[ServerId]) -> Result<usize, MendError> {
        let mut blocks = 0;
        for &server in members {
            let at = self.cluster.registry.replica(server, self.cluster.now()).endpoint;
            let report = self.cluster.peers.verify(&at, self.handle).await;
            blocks += report.map_err(|cause| MendError::Peer { handle: self.handle, server, cause })?.damaged.len();
        }
        Ok(blocks)
    }

    async fn add(self, addition: Addition, placement: &Placement) -> Result<Mended, MendError> {
        let Addition { good, stay, stay_after, dirty } = addition;
        // Nobody can take it at present: the census will ask again.
        let beside: Vec<_> = stay_after.iter().filter_map(|&server| self.cluster.registry.place(server)).collect();
        let reserve = self.cluster.placement_reserve;
        let demand = Demand { copies: 1, placement, beside: &beside, exclude: &self.chunk.members, reserve };
        let Ok(target) = self.cluster.place(&demand) else { return Ok(Mended::Fine) };
        let target = target[0];
        if self.relieve.is_some_and(|full| !self.is_emptier(target, full)) {
            return Ok(Mended::Fine);
        }
        let charge = match self.admit(target, &good) {
            Ok(charge) => charge,
            Err(until) => return Ok(Mended::TooEarly(until)),
        };
        let version = self.change(self.chunk.version, stay).await?;
        let id = id_at(self.handle, version, &self.chunk);
        self.fence(version, &good).await?;
        if dirty {
            make_identical(self.cluster, id, &good).await?;
        }
        let bytes = self.copy(id, target, &good, charge).await?;
        let mut members = stay_after;
        members.push(target);
        let copies = members.len();
        self.change(version, members).await?;
        let server = self.cluster.registry.name(target);
        tracing::info!(handle = %self.handle, server, copies, "a missing copy was made");
        Ok(Mended::Progress { bytes })
    }

    fn is_emptier(&self, target: ServerId, full: ServerId) -> bool {
        let registry = &self.cluster.registry;
        registry.fill(target).zip(registry.fill(full)).is_some_and(|(target, full)| target.is_emptier_than(&full))
    }

    /// Whether it may be copied now, to `target`, from the first of `good`.
    fn admit(&self, target: ServerId, good: &[ServerId]) -> Result<Charge<'_>, Moment> {
        let load = |server| self.cluster.registry.load(server);
        let end = |server| End { server, load: load(server) };
        let source = good.first().copied().unwrap_or(target);
        let bytes = u64::from(self.chunk.allocated);
        self.cluster.throttle.admit([end(source), end(target)], bytes, self.cluster.now())
    }

    async fn change(&self, expect: ChunkVersion, members: Vec<ServerId>) -> Result<ChunkVersion, MendError> {
        match members::change(self.cluster, self.handle, expect, members).await {
            Ok(view) => Ok(view.id.version),
            Err(error) => Err(MendError::Metadata(self.handle, error)),
        }
    }

    /// Fences all of `good`. One that does not answer, or has no copy to be fenced, could still take what an old writer sends.
    async fn fence(&self, version: ChunkVersion, good: &[ServerId]) -> Result<(), MendError> {
        for (server, answer) in members::fence(self.cluster, self.handle, version, good).await {
            if let Err(cause) = answer {
                if cause.is_not_found() {
                    let complaint = Complaint { server, what: BadCopy::Missing };
                    self.cluster.repairs.complain(self.handle, complaint, self.cluster.now());
                }
                return Err(MendError::Peer { handle: self.handle, server, cause });
            }
        }
        Ok(())
    }

    /// Copies to `target` from the first of `sources` that can be copied, clean ones first. Answers its bytes.
    async fn copy(
        &self,
        id: ChunkId,
        target: ServerId,
        sources: &[ServerId],
        charge: Charge<'_>,
    ) -> Result<u64, MendError> {
        let handle = self.handle;
        let now = self.cluster.now();
        let at = self.cluster.registry.replica(target, now).endpoint;
        // An order to delete an older copy there must not be renewed.
        self.cluster.orders.forget(target, handle);
        let is_dirty = |&server: &ServerId| {
            self.cluster.registry.member(server, handle, now).copy.is_none_or(|copy| copy.state == ChunkState::Dirty)
        };
        let mut sources = sources.to_vec();
        sources.sort_by_key(is_dirty);
        let mut last = PeerError::Refused(ChunkError::NotFound(handle));
        for source in sources {
            let source = self.cluster.registry.replica(source, now).endpoint;
            match self.cluster.peers.copy_from(&at, id, source).await {
                Ok(stat) => {
                    self.cluster.registry.learn(target, &stat);
                    self.cluster.accusations.clear(handle, target);
                    charge.copied(u64::from(stat.allocated), self.cluster.now());
                    return Ok(u64::from(stat.allocated));
                }
                Err(error) => last = error,
            }
        }
        Err(MendError::NoSource { handle, target, last })
    }
}
