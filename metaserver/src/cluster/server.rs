//! One chunkserver as this metaserver knows it: soft state, all of it.

use std::time::Duration;

use cairn_proto::admin::{ServerMode, ServerState, ServerStatus};
use cairn_proto::chunk::Replica;
use cairn_proto::chunkserver::ChunkStat;
use cairn_proto::cluster::{ChunkChange, Heartbeat, Registration, Space};
use cairn_proto::disk::{DiskStatus, MAX_DISKS};
use cairn_proto::ids::{ChunkHandle, ServerId};
use cairn_proto::labels::Labels;
use cairn_proto::scrub::ScrubStatus;
use cairn_proto::time::Timestamp;
use cairn_proto::transport::Endpoint;

use super::balance::Fill;
use super::copies::{Copy, CopyMap};
use super::placement::place::Place;
use super::placement::roster::Candidate;
use super::repair::census::Held;
use super::state::{Intent, Phase, Signs, Standing, Thresholds};
use crate::Moment;

/// Who a server is, apart from how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub server: ServerId,
    pub name: String,
    pub endpoint: Endpoint,
    pub labels: Labels,
}

impl From<&Registration> for Known {
    fn from(registration: &Registration) -> Self {
        let Registration { server, name, endpoint, labels, .. } = registration;
        Self { server: *server, name: name.clone(), endpoint: endpoint.clone(), labels: labels.clone() }
    }
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
    pub labels: Labels,
    place: Place,
    /// When it registered, the last time.
    joined: Moment,
    signs: Signs,
    /// As it was last told.
    mode: ServerMode,
    space: Space,
    load: u32,
    /// Copies placed on it since its last heartbeat, which its `load` does not show yet.
    placed: u32,
    last_seq: u64,
    damaged: u64,
    scrub: ScrubStatus,
    /// As of its last heartbeat, by their numbers.
    disks: Vec<DiskStatus>,
    copies: CopyMap,
    /// The pages of a report that is not complete. Until then `copies` is what was known before.
    incoming: Option<CopyMap>,
}

impl Server {
    /// A server that is known by name only: from before a restart of the metaserver, say. It has as long to register as one that
    /// fell silent has to return.
    pub fn absent(known: Known, place: Place, now: Moment) -> Self {
        Self {
            id: known.server,
            name: known.name,
            endpoint: known.endpoint,
            labels: known.labels,
            place,
            joined: now,
            signs: Signs { phase: Phase::Absent, last_heard: now, intent: Intent::default() },
            mode: ServerMode::default(),
            space: Space::default(),
            load: 0,
            placed: 0,
            last_seq: 0,
            damaged: 0,
            scrub: ScrubStatus::default(),
            disks: Vec::new(),
            copies: CopyMap::default(),
            incoming: None,
        }
    }

    /// Takes a registration: the server's report begins anew.
    pub fn join(&mut self, registration: &Registration, place: Place, now: Moment) {
        self.name.clone_from(&registration.name);
        self.endpoint = registration.endpoint.clone();
        self.labels = registration.labels.clone();
        self.place = place;
        self.joined = now;
        self.signs.phase = Phase::Joining;
        self.signs.last_heard = now;
        self.space = registration.space;
        self.load = 0;
        self.placed = 0;
        self.last_seq = 0;
        self.incoming = Some(CopyMap::default());
    }

    /// Takes a page of the report. Answers `false` where the server must register first.
    pub fn report(&mut self, chunks: &[ChunkStat], last: bool, now: Moment) -> bool {
        if self.signs.phase == Phase::Absent {
            return false;
        }
        self.signs.last_heard = now;
        let copies = self.incoming.as_mut().unwrap_or(&mut self.copies);
        for stat in chunks {
            copies.insert(stat.id.handle, Copy::from(stat));
        }
        if last && let Some(complete) = self.incoming.take() {
            self.copies = complete;
            self.signs.phase = Phase::Serving;
        }
        true
    }

    /// Takes a heartbeat. `None` where the server must register first.
    pub fn beat(&mut self, heartbeat: &Heartbeat, now: Moment) -> Option<Beat> {
        if self.signs.phase == Phase::Absent {
            return None;
        }
        self.signs.last_heard = now;
        self.space = heartbeat.space;
        self.load = heartbeat.load;
        self.placed = 0;
        self.scrub = heartbeat.scrub;
        // None behind the last number that a copy can be on.
        self.disks = heartbeat.disks.iter().take(MAX_DISKS).cloned().collect();
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
        self.signs.phase = Phase::Absent;
        self.signs.last_heard = now;
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

    pub fn place(&self) -> Place {
        self.place
    }

    pub fn copy(&self, handle: ChunkHandle) -> Option<Copy> {
        self.copies.get(handle)
    }

    /// Its disks, as far as it has said.
    pub fn disks(&self) -> &[DiskStatus] {
        &self.disks
    }

    pub fn copies(&self) -> &CopyMap {
        &self.copies
    }

    /// Nothing was heard of it since it is known, and no goodbye.
    pub fn is_expected(&self) -> bool {
        let said_goodbye = matches!(self.mode, ServerMode::Maintenance { announced: true, .. });
        self.signs.phase == Phase::Absent && !said_goodbye
    }

    /// What it does not report, it does not have.
    pub fn has_reported(&self) -> bool {
        self.signs.phase == Phase::Serving
    }

    pub fn load(&self) -> u32 {
        self.load
    }

    pub fn space(&self) -> Space {
        self.space
    }

    pub fn mode(&self) -> ServerMode {
        self.mode
    }

    /// What is meant to become of it from now on; `wall` is the same moment as `now`.
    pub fn set_mode(&mut self, mode: ServerMode, wall: Timestamp, now: Moment) {
        self.mode = mode;
        self.signs.intent = Intent::new(mode, wall, now);
    }

    /// It is to hold nothing any more.
    pub fn is_leaving(&self) -> bool {
        self.signs.intent == Intent::Leave
    }

    pub fn fill(&self) -> Fill {
        Fill { server: self.id, used: self.space.used, free: self.space.free }
    }

    pub fn silent(&self, now: Moment) -> Duration {
        self.signs.silent(now)
    }

    pub fn state(&self, now: Moment, thresholds: &Thresholds) -> ServerState {
        self.signs.state(now, thresholds)
    }

    pub fn standing(&self, now: Moment, thresholds: &Thresholds) -> Standing {
        self.signs.standing(now, thresholds)
    }

    pub fn replica(&self, now: Moment, thresholds: &Thresholds) -> Replica {
        let up = self.standing(now, thresholds) == Standing::Up;
        Replica { server: self.id, endpoint: self.endpoint.clone(), up }
    }

    pub fn candidate(&self) -> Candidate {
        let load = self.load.saturating_add(self.placed);
        Candidate::new(self.id, self.space.free, load, self.place, self.labels.clone())
    }

    /// A copy was placed here.
    pub fn count_placed(&mut self) {
        self.placed = self.placed.saturating_add(1);
    }

    /// `held`: the copies that it holds as a member.
    pub fn status(&self, now: Moment, thresholds: &Thresholds, held: Held) -> ServerStatus {
        ServerStatus {
            server: self.id,
            name: self.name.clone(),
            endpoint: self.endpoint.clone(),
            labels: self.labels.clone(),
            mode: self.mode,
            state: self.state(now, thresholds),
            space: self.space,
            chunks: held.copies,
            to_move: held.to_move,
            silent_ms: self.silent(now).as_millis() as u64,
            damaged: self.damaged,
            scrub: self.scrub,
            disks: self.disks.clone(),
        }
    }
}
