//! One chunkserver as this metaserver knows it: soft state, all of it.

use std::time::Duration;

use cairn_proto::admin::{ServerState, ServerStatus};
use cairn_proto::chunk::Replica;
use cairn_proto::chunkserver::ChunkStat;
use cairn_proto::cluster::{ChunkChange, Heartbeat, Registration, Space};
use cairn_proto::ids::{ChunkHandle, ServerId};
use cairn_proto::transport::Endpoint;

use super::copies::{Copy, CopyMap};
use super::placement::Candidate;
use super::state::{Phase, Standing, Thresholds, judge, standing};
use crate::Moment;

/// Who a server is, apart from how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub server: ServerId,
    pub name: String,
    pub endpoint: Endpoint,
}

/// Whether a heartbeat brought something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    Fresh,
    /// Its changes are known already: the answer to its first sending was lost.
    Repeated,
}

/// A chunkserver: what it said of itself, what it holds, and when it was last heard.
#[derive(Debug)]
pub struct Server {
    pub id: ServerId,
    pub name: String,
    pub endpoint: Endpoint,
    /// When it registered, the last time.
    joined: Moment,
    phase: Phase,
    space: Space,
    load: u32,
    /// Copies placed on it since its last heartbeat, which its `load` does not show yet.
    placed: u32,
    last_heard: Moment,
    last_seq: u64,
    damaged: u64,
    copies: CopyMap,
    /// The pages of a report that is not complete. Until then `copies` is what was known before.
    incoming: Option<CopyMap>,
}

impl Server {
    /// A server that is known by name only: from before a restart of the metaserver, say. It has as long to register as one that
    /// fell silent has to return.
    pub fn absent(known: Known, now: Moment) -> Self {
        Self {
            id: known.server,
            name: known.name,
            endpoint: known.endpoint,
            joined: now,
            phase: Phase::Absent { goodbye: false },
            space: Space::default(),
            load: 0,
            placed: 0,
            last_heard: now,
            last_seq: 0,
            damaged: 0,
            copies: CopyMap::default(),
            incoming: None,
        }
    }

    /// Takes a registration: the server's report begins anew.
    pub fn join(&mut self, registration: &Registration, now: Moment) {
        self.name.clone_from(&registration.name);
        self.endpoint = registration.endpoint.clone();
        self.joined = now;
        self.phase = Phase::Joining;
        self.space = registration.space;
        self.load = 0;
        self.placed = 0;
        self.last_heard = now;
        self.last_seq = 0;
        self.incoming = Some(CopyMap::default());
    }

    /// Takes a page of the report. Answers `false` where the server must register first.
    pub fn report(&mut self, chunks: &[ChunkStat], last: bool, now: Moment) -> bool {
        if matches!(self.phase, Phase::Absent { .. }) {
            return false;
        }
        self.last_heard = now;
        let copies = self.incoming.as_mut().unwrap_or(&mut self.copies);
        for stat in chunks {
            copies.insert(stat.id.handle, Copy::from(stat));
        }
        if last && let Some(complete) = self.incoming.take() {
            self.copies = complete;
            self.phase = Phase::Serving;
        }
        true
    }

    /// Takes a heartbeat. `None` where the server must register first.
    pub fn beat(&mut self, heartbeat: &Heartbeat, now: Moment) -> Option<Beat> {
        if matches!(self.phase, Phase::Absent { .. }) {
            return None;
        }
        self.last_heard = now;
        self.space = heartbeat.space;
        self.load = heartbeat.load;
        self.placed = 0;
        if heartbeat.seq <= self.last_seq {
            return Some(Beat::Repeated);
        }
        self.last_seq = heartbeat.seq;
        let copies = self.incoming.as_mut().unwrap_or(&mut self.copies);
        for change in &heartbeat.changes {
            match change {
                ChunkChange::Now(stat) => {
                    copies.insert(stat.id.handle, Copy::from(stat));
                }
                ChunkChange::Removed(handle) => {
                    copies.remove(*handle);
                }
                ChunkChange::Damaged { .. } => self.damaged += 1,
            }
        }
        Some(Beat::Fresh)
    }

    pub fn goodbye(&mut self, now: Moment) {
        self.phase = Phase::Absent { goodbye: true };
        self.last_heard = now;
        self.incoming = None;
    }

    /// A reader met damage on it.
    pub fn count_damage(&mut self) {
        self.damaged += 1;
    }

    /// What a call to this server just answered about a copy: known at once, not only with the next heartbeat.
    pub fn learn(&mut self, stat: &ChunkStat) {
        let copies = self.incoming.as_mut().unwrap_or(&mut self.copies);
        copies.insert(stat.id.handle, Copy::from(stat));
    }

    pub fn joined(&self) -> Moment {
        self.joined
    }

    pub fn copy(&self, handle: ChunkHandle) -> Option<Copy> {
        self.copies.get(handle)
    }

    pub fn copies(&self) -> &CopyMap {
        &self.copies
    }

    /// What it does not report, it does not have.
    pub fn has_reported(&self) -> bool {
        self.phase == Phase::Serving
    }

    pub fn space(&self) -> Space {
        self.space
    }

    pub fn silent(&self, now: Moment) -> Duration {
        now.saturating_sub(self.last_heard)
    }

    pub fn state(&self, now: Moment, thresholds: &Thresholds) -> ServerState {
        judge(self.phase, self.silent(now), thresholds)
    }

    pub fn standing(&self, now: Moment, thresholds: &Thresholds) -> Standing {
        standing(self.state(now, thresholds), self.silent(now), thresholds)
    }

    pub fn replica(&self, now: Moment, thresholds: &Thresholds) -> Replica {
        let up = self.standing(now, thresholds) == Standing::Up;
        Replica { server: self.id, endpoint: self.endpoint.clone(), up }
    }

    pub fn candidate(&self) -> Candidate {
        Candidate { server: self.id, free: self.space.free, load: self.load.saturating_add(self.placed) }
    }

    /// A copy was placed here.
    pub fn count_placed(&mut self) {
        self.placed = self.placed.saturating_add(1);
    }

    /// `chunks`: the copies that it holds as a member.
    pub fn status(&self, now: Moment, thresholds: &Thresholds, chunks: u64) -> ServerStatus {
        ServerStatus {
            server: self.id,
            name: self.name.clone(),
            endpoint: self.endpoint.clone(),
            state: self.state(now, thresholds),
            space: self.space,
            chunks,
            silent_ms: self.silent(now).as_millis() as u64,
            damaged: self.damaged,
        }
    }

    pub fn known(&self) -> Known {
        Known { server: self.id, name: self.name.clone(), endpoint: self.endpoint.clone() }
    }
}
