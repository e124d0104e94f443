//! Goes through all chunks, again and again: counts them, and finds those that need repair.
//!
//! What it costs is a scan of the chunk table at a limited pace. In exchange nothing is kept for every chunk in memory, and
//! whatever an event missed is found. A pass begins at once when a server's state has changed, otherwise after a pause.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cairn_proto::admin::{ChunkCounts, ServerState};
use cairn_proto::chunkserver::ChunkState;
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ServerId};
use cairn_proto::policy::{Placement, PlacementId};
use cairn_runtime::worker::{WorkError, WorkState, Worker};
use parking_lot::Mutex;

use super::super::Cluster;
use super::super::placement::crowding;
use super::super::placement::roster::DomainCounts;
use super::super::registry::MemberView;
use super::super::state::Standing;
use super::plan::{Case, Plan, plan};
use super::queue::{BadCopy, Complaint, Urgency};
use crate::Moment;
use crate::namespace::chunk::Chunk;
use crate::namespace::query;

/// Chunks looked at in one unit of work.
const PAGE_CHUNKS: usize = 512;
/// Between two looks whether a pass is due.
const TICK: Duration = Duration::from_millis(500);

/// What a complete pass has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// When the pass began; `None`: there was none yet.
    pub began: Option<Moment>,
    pub below_target: u64,
    pub unavailable: u64,
    pub dirty: u64,
    /// Chunks with copies that are to go elsewhere, or that are not where their policy asks for.
    pub misplaced: u64,
    /// Bytes to copy until all chunks have the copies that they should have.
    pub to_copy: u64,
    /// Of each server.
    pub held: HashMap<ServerId, Held>,
}

/// What a server holds as a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Copies.
    pub copies: u64,
    /// Of these, copies that are to go elsewhere.
    pub to_move: u64,
    /// Bytes of the chunks that it has copies of.
    pub bytes: u64,
}

/// The tally of the last complete pass, for whoever wants to know.
#[derive(Debug, Default)]
pub struct Census {
    last: Mutex<Arc<Tally>>,
}

impl Census {
    pub fn last(&self) -> Arc<Tally> {
        self.last.lock().clone()
    }

    /// Counts as of the last pass; the others are known at any time.
    pub fn counts(&self, total: u64, garbage: u64, damaged: u64, now: Moment) -> ChunkCounts {
        let tally = self.last();
        ChunkCounts {
            total,
            below_target: tally.below_target,
            unavailable: tally.unavailable,
            dirty: tally.dirty,
            misplaced: tally.misplaced,
            garbage,
            damaged,
            counted_ms: tally.began.map(|began| now.saturating_sub(began).as_millis() as u64),
        }
    }
}

impl Tally {
    fn count(&mut self, case: &Case<'_>) {
        let good = case.good_copies();
        self.below_target += u64::from(good < case.target && !case.is_unwritten());
        self.unavailable += u64::from(good == 0 && case.length > 0);
        let is_dirty = |member: &MemberView| member.copy.is_some_and(|copy| copy.state == ChunkState::Dirty);
        self.dirty += u64::from(case.members.iter().any(is_dirty));
        let has_data = !case.is_unwritten();
        for member in case.members {
            let held = self.held.entry(member.server).or_default();
            held.copies += 1;
            held.to_move += u64::from(member.leaving && has_data);
            held.bytes += u64::from(case.length);
        }
        if has_data {
            let lacking = case.target.saturating_sub(case.staying_copies()) as u64;
            self.to_copy += lacking * u64::from(case.length);
        }
    }
}

/// The worker that does it.
#[derive(Debug)]
pub struct CensusWorker {
    cluster: Arc<Cluster>,
    census: Arc<Census>,
    /// Between two passes.
    interval: Duration,
    pass: Option<Pass>,
    /// When the last pass began; `None` before the first.
    began: Option<Moment>,
    /// The servers' states then.
    states: Vec<(ServerId, ServerState)>,
    /// The first handle that had not been given out then.
    next_handle: ChunkHandle,
}

#[derive(Debug)]
struct Pass {
    after: ChunkHandle,
    /// Chunks from this one on are too young to be missed: their servers may not have told of them yet.
    too_young: ChunkHandle,
    tally: Tally,
    placements: Placements,
}

impl CensusWorker {
    pub fn new(cluster: Arc<Cluster>, census: Arc<Census>, interval: Duration) -> Self {
        let next_handle = ChunkHandle(0);
        Self { cluster, census, interval, pass: None, began: None, states: Vec::new(), next_handle }
    }

    /// The pass under way, or a new one where it is time for one.
    fn take_pass(&mut self) -> Result<Option<Pass>, FsError> {
        if let Some(pass) = self.pass.take() {
            return Ok(Some(pass));
        }
        let now = self.cluster.now();
        let states = self.cluster.registry.states(now);
        let is_due = self.began.is_none_or(|began| now.saturating_sub(began) >= self.interval);
        if !is_due && states == self.states {
            return Ok(None);
        }
        for handle in self.cluster.damage.chunks() {
            if self.cluster.chunk(handle)?.is_none() {
                self.cluster.damage.forget(handle);
            }
        }
        let next_handle = self.cluster.state.read(query::counters)?.next_handle;
        let too_young = std::mem::replace(&mut self.next_handle, next_handle);
        self.began = Some(now);
        self.states = states;
        let tally = Tally { began: Some(now), ..Tally::default() };
        Ok(Some(Pass { after: ChunkHandle(0), too_young, tally, placements: Placements::default() }))
    }

    fn look_at(&self, handle: ChunkHandle, chunk: &Chunk, pass: &mut Pass, now: Moment) {
        let registry = &self.cluster.registry;
        let views: Vec<_> = chunk.members.iter().map(|&server| registry.member(server, handle, now)).collect();
        let (placement, domains) = pass.placements.of(&self.cluster, chunk.placement, now);
        let target = usize::from(chunk.target);
        let bad = self.cluster.damage.copies(handle);
        let mut case =
            Case { target, length: chunk.length, members: &views, placement: &placement, bad: &bad, unwanted: None };
        pass.tally.count(&case);
        if !bad.is_empty() {
            let up = views.iter().filter(|member| member.standing == Standing::Up).map(|member| member.server);
            if self.cluster.damage.is_worth_a_try(handle, up) {
                let complain = |&server: &ServerId| {
                    self.cluster.repairs.complain(handle, Complaint { server, what: BadCopy::Damaged }, now);
                };
                bad.iter().for_each(complain);
            }
        }
        let is_misplaced = self.is_misplaced(&case, &domains);
        pass.tally.misplaced += u64::from(is_misplaced);
        if is_misplaced {
            // Which one, the repair finds out.
            case.unwanted = views.first().map(|member| member.server);
        }
        for member in views.iter().filter(|member| handle < pass.too_young && is_missing(member, chunk.length)) {
            let complaint = Complaint { server: member.server, what: BadCopy::Missing };
            self.cluster.repairs.complain(handle, complaint, now);
        }
        match plan(case) {
            // What is to be done about bad copies was said above.
            Plan::Refresh { .. } | Plan::Merge(_) if !bad.is_empty() => {}
            Plan::Nothing | Plan::Wait | Plan::Unavailable => {}
            Plan::Merge(_) | Plan::Shrink(_) | Plan::Refresh { .. } | Plan::Add(_) => {
                let copies = case.good_copies();
                let urgency = Urgency { only_moves: copies >= case.target, copies };
                self.cluster.repairs.push(handle, urgency, now);
            }
        }
    }
}

/// What placements say, and what servers there are for them, as long as a pass takes.
#[derive(Debug, Default)]
struct Placements(HashMap<PlacementId, (Arc<Placement>, DomainCounts)>);

impl Placements {
    fn of(&mut self, cluster: &Cluster, id: PlacementId, now: Moment) -> (Arc<Placement>, DomainCounts) {
        let known = self.0.entry(id).or_insert_with(|| {
            // One that cannot be read does not keep its chunks from being repaired.
            let placement = Arc::new(cluster.placement(id).unwrap_or_default());
            let domains = cluster.registry.roster(now).domains(&placement);
            (placement, domains)
        });
        known.clone()
    }
}

/// Whether a member should report a copy, and does not.
fn is_missing(member: &MemberView, length: u32) -> bool {
    member.standing == Standing::Up && member.reported && member.copy.is_none() && length > 0
}

impl CensusWorker {
    /// Whether its copies, all of them there, could be where they are wanted, and are not.
    fn is_misplaced(&self, case: &Case<'_>, domains: &DomainCounts) -> bool {
        if case.is_unwritten() || case.staying_copies() < case.target || case.members.len() > case.target {
            return case.members.iter().any(|member| member.leaving);
        }
        let registry = &self.cluster.registry;
        let places: Vec<_> = case.members.iter().filter_map(|member| member.place).collect();
        crowding(&places, case.placement, domains) > 0
            || case.members.iter().any(|member| !registry.has_labels(member.server, &case.placement.on))
    }
}

impl Worker for CensusWorker {
    fn name(&self) -> String {
        "census".to_owned()
    }

    /// Its cost is in chunks looked at.
    async fn work(&mut self) -> Result<WorkState, WorkError> {
        let Some(mut pass) = self.take_pass()? else { return Ok(WorkState::Wait(TICK)) };
        let page = self.cluster.state.read(|read| query::chunks(read, pass.after, PAGE_CHUNKS))?;
        let now = self.cluster.now();
        for (handle, chunk) in &page {
            self.look_at(*handle, chunk, &mut pass, now);
            pass.after = *handle;
        }
        if page.len() < PAGE_CHUNKS {
            *self.census.last.lock() = Arc::new(pass.tally);
            return Ok(WorkState::Wait(TICK));
        }
        self.pass = Some(pass);
        Ok(WorkState::Busy { cost: page.len() as u64 })
    }

    fn detail(&self) -> Option<String> {
        let tally = self.census.last();
        let Tally { below_target, unavailable, misplaced, .. } = &*tally;
        Some(format!("{below_target} chunks below target, {unavailable} unavailable, {misplaced} misplaced"))
    }
}
