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
use cairn_runtime::worker::{WorkError, WorkState, Worker};
use parking_lot::Mutex;

use super::super::Cluster;
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
    pub below_target: u64,
    pub unavailable: u64,
    pub dirty: u64,
    /// Copies that each server holds as a member.
    pub copies: HashMap<ServerId, u64>,
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

    /// Counts as of the last pass; `total` and `garbage` are known at any time.
    pub fn counts(&self, total: u64, garbage: u64) -> ChunkCounts {
        let tally = self.last();
        ChunkCounts {
            total,
            below_target: tally.below_target,
            unavailable: tally.unavailable,
            dirty: tally.dirty,
            garbage,
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
        for member in case.members {
            *self.copies.entry(member.server).or_default() += 1;
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
        let next_handle = self.cluster.state.read(query::counters)?.next_handle;
        let too_young = std::mem::replace(&mut self.next_handle, next_handle);
        self.began = Some(now);
        self.states = states;
        Ok(Some(Pass { after: ChunkHandle(0), too_young, tally: Tally::default() }))
    }

    fn look_at(&self, handle: ChunkHandle, chunk: &Chunk, pass: &mut Pass, now: Moment) {
        let registry = &self.cluster.registry;
        let views: Vec<_> = chunk.members.iter().map(|&server| registry.member(server, handle, now)).collect();
        let case = Case { target: usize::from(chunk.target), length: chunk.length, members: &views, bad: &[] };
        pass.tally.count(&case);
        for member in views.iter().filter(|member| handle < pass.too_young && is_missing(member, chunk.length)) {
            let complaint = Complaint { server: member.server, what: BadCopy::Missing };
            self.cluster.repairs.complain(handle, complaint, now);
        }
        match plan(case) {
            Plan::Nothing | Plan::Wait | Plan::Unavailable => {}
            Plan::Shrink(_) | Plan::Refresh { .. } | Plan::Add(_) => {
                self.cluster.repairs.push(handle, Urgency { copies: case.good_copies() }, now);
            }
        }
    }
}

/// Whether a member should report a copy, and does not.
fn is_missing(member: &MemberView, length: u32) -> bool {
    member.standing == Standing::Up && member.reported && member.copy.is_none() && length > 0
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
        Some(format!("{} chunks below target, {} unavailable", tally.below_target, tally.unavailable))
    }
}
