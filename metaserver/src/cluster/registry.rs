//! All chunkservers that this metaserver knows, and what they say they hold.
//!
//! Everything here is soft: who *is* a member of a chunk is in the chunk's record; this only knows where a member is reached,
//! whether it is up, and which copies it reported. Time is an argument everywhere.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cairn_proto::admin::{ServerMode, ServerState};
use cairn_proto::chunk::Replica;
use cairn_proto::chunkserver::{ChunkStat, ChunkState};
use cairn_proto::cluster::{ChunkChange, ClusterError, Heartbeat, Registration, Report, Space};
use cairn_proto::ids::{ChunkHandle, DiskNumber, ServerId};
use cairn_proto::labels::Labels;
use cairn_proto::time::Timestamp;
use cairn_proto::transport::Endpoint;
use parking_lot::{Mutex, RwLock};

use super::balance::Fill;
use super::copies::Copy;
use super::dirty::DirtyChunks;
use super::placement::place::{Place, Places};
use super::placement::roster::Roster;
use super::server::{Beat, Known, Server};
use super::state::{Standing, Thresholds};
use crate::Moment;

/// How old the roster may be that new copies are placed by: making it is work for all servers.
const ROSTER_AGE: Duration = Duration::from_millis(100);

/// What the chunk table's side wants to know of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberView {
    pub server: ServerId,
    pub standing: Standing,
    /// Its report is complete: a copy that is not listed is not there.
    pub reported: bool,
    pub copy: Option<Copy>,
    /// Where it stands, if that is known.
    pub place: Option<Place>,
    /// It is to hold nothing any more: what it holds goes elsewhere first.
    pub leaving: bool,
}

/// The servers, each behind a lock of its own: a report of thousands of chunks holds up nobody else.
#[derive(Debug)]
pub struct Registry {
    servers: RwLock<HashMap<ServerId, Mutex<Server>>>,
    thresholds: Thresholds,
    started: Moment,
    dirty: DirtyChunks,
    places: Places,
    /// The last one, and when it was made; none where a server has come or gone since.
    roster: Mutex<Option<(Moment, Arc<Roster>)>>,
}

impl Registry {
    /// `known`: servers that registered with an earlier run, expected back.
    pub fn new(thresholds: Thresholds, known: Vec<Known>, now: Moment) -> Self {
        let places = Places::default();
        let absent = |known: Known| {
            let place = places.of(known.server, &known.labels);
            (known.server, Mutex::new(Server::absent(known, place, now)))
        };
        let servers = RwLock::new(known.into_iter().map(absent).collect());
        let (dirty, roster) = (DirtyChunks::default(), Mutex::default());
        Self { servers, thresholds, started: now, dirty, places, roster }
    }

    /// Where the same id seems to be running at present, if it is not where `registration` says.
    ///
    /// It need not be: a server that was killed and restarted on another port is still healthy here for a while. The caller asks.
    pub fn occupied(&self, registration: &Registration, now: Moment) -> Option<Endpoint> {
        let servers = self.servers.read();
        let server = servers.get(&registration.server)?.lock();
        let is_up = server.standing(now, &self.thresholds) == Standing::Up;
        (is_up && server.endpoint != registration.endpoint).then(|| server.endpoint.clone())
    }

    /// Takes a server in, or in again. Its report starts over.
    pub fn register(&self, registration: &Registration, now: Moment) {
        let place = self.places.of(registration.server, &registration.labels);
        let mut servers = self.servers.write();
        let new = || Mutex::new(Server::absent(Known::from(registration), place, now));
        let server = servers.entry(registration.server).or_insert_with(new);
        server.get_mut().join(registration, place, now);
        drop(servers);
        self.make_new_roster();
    }

    pub fn report(&self, report: &Report, now: Moment) -> Result<(), ClusterError> {
        let unknown = ClusterError::UnknownServer(report.server);
        let servers = self.servers.read();
        let server = servers.get(&report.server).ok_or(unknown.clone())?;
        if !server.lock().report(&report.chunks, report.last, now) {
            return Err(unknown);
        }
        for stat in &report.chunks {
            if stat.state == ChunkState::Dirty {
                self.dirty.returned(stat.id.handle);
            }
        }
        if report.last {
            self.make_new_roster();
        }
        Ok(())
    }

    pub fn heartbeat(&self, heartbeat: &Heartbeat, now: Moment) -> Result<Beat, ClusterError> {
        let unknown = ClusterError::UnknownServer(heartbeat.server);
        let servers = self.servers.read();
        let server = servers.get(&heartbeat.server).ok_or(unknown.clone())?;
        let beat = server.lock().beat(heartbeat, now).ok_or(unknown)?;
        if beat == Beat::Fresh {
            for change in &heartbeat.changes {
                if let ChunkChange::Now(stat) = change
                    && stat.state == ChunkState::Dirty
                {
                    self.dirty.written(stat.id.handle, now);
                }
            }
        }
        Ok(beat)
    }

    /// What is meant to become of a server from now on; `wall` is the same moment as `now`.
    pub fn set_mode(&self, server: ServerId, mode: ServerMode, wall: Timestamp, now: Moment) {
        if let Some(server) = self.servers.read().get(&server) {
            server.lock().set_mode(mode, wall, now);
        }
        self.make_new_roster();
    }

    pub fn mode(&self, server: ServerId) -> Option<ServerMode> {
        self.servers.read().get(&server).map(|known| known.lock().mode())
    }

    /// It is not expected back.
    pub fn forget(&self, server: ServerId) {
        self.servers.write().remove(&server);
        self.make_new_roster();
    }

    pub fn goodbye(&self, server: ServerId, now: Moment) {
        if let Some(server) = self.servers.read().get(&server) {
            server.lock().goodbye(now);
        }
        self.make_new_roster();
    }

    /// Takes note of what a call to a server answered.
    pub fn learn(&self, server: ServerId, stat: &ChunkStat) {
        if let Some(server) = self.servers.read().get(&server) {
            server.lock().learn(stat);
        }
    }

    pub fn count_damage(&self, server: ServerId) {
        if let Some(server) = self.servers.read().get(&server) {
            server.lock().count_damage();
        }
    }

    /// On which disk of a server the copy of a chunk is that it reported.
    pub fn disk_of(&self, server: ServerId, handle: ChunkHandle) -> Option<DiskNumber> {
        self.servers.read().get(&server)?.lock().copy(handle).map(|copy| copy.disk)
    }

    /// What is known of a server about one chunk.
    pub fn member(&self, server: ServerId, handle: ChunkHandle, now: Moment) -> MemberView {
        match self.servers.read().get(&server) {
            Some(known) => {
                let known = known.lock();
                let standing = known.standing(now, &self.thresholds);
                let (reported, leaving) = (known.has_reported(), known.is_leaving());
                let (copy, place) = (known.copy(handle), Some(known.place()));
                MemberView { server, standing, reported, copy, place, leaving }
            }
            None => {
                let standing = self.standing_of_stranger(now);
                MemberView { server, standing, reported: false, copy: None, place: None, leaving: false }
            }
        }
    }

    /// A member that has not been heard of since this process started gets the same time as one that fell silent then.
    fn standing_of_stranger(&self, now: Moment) -> Standing {
        let silent = now.saturating_sub(self.started);
        if silent < self.thresholds.dead_after { Standing::Away } else { Standing::Lost }
    }

    /// Whether a server registered with an earlier run of this metaserver, and has yet to with this one.
    pub fn is_expected(&self, server: ServerId) -> bool {
        self.servers.read().get(&server).is_some_and(|known| known.lock().is_expected())
    }

    pub fn standing(&self, server: ServerId, now: Moment) -> Standing {
        match self.servers.read().get(&server) {
            Some(known) => known.lock().standing(now, &self.thresholds),
            None => self.standing_of_stranger(now),
        }
    }

    /// Where a member is reached. One never heard of gets an address that nothing answers at.
    pub fn replica(&self, server: ServerId, now: Moment) -> Replica {
        match self.servers.read().get(&server) {
            Some(known) => known.lock().replica(now, &self.thresholds),
            None => Replica { server, endpoint: nowhere(), up: false },
        }
    }

    /// Where a server stands, if that is known.
    pub fn place(&self, server: ServerId) -> Option<Place> {
        self.servers.read().get(&server).map(|known| known.lock().place())
    }

    /// Whether a server has all of these labels. One that is not known has none.
    pub fn has_labels(&self, server: ServerId, labels: &Labels) -> bool {
        labels.is_empty() || self.servers.read().get(&server).is_some_and(|known| known.lock().labels.satisfy(labels))
    }

    /// Those labels of a server that say where it stands, if it is known.
    pub fn domains(&self, server: ServerId) -> Option<Labels> {
        self.servers.read().get(&server).map(|known| known.lock().labels.domains())
    }

    pub fn endpoint(&self, server: ServerId) -> Option<Endpoint> {
        self.servers.read().get(&server).map(|known| known.lock().endpoint.clone())
    }

    /// When a server registered, the last time.
    pub fn joined(&self, server: ServerId) -> Option<Moment> {
        self.servers.read().get(&server).map(|known| known.lock().joined())
    }

    /// How full the servers are that are up and to stay.
    pub fn fills(&self, now: Moment) -> Vec<Fill> {
        let healthy =
            self.each(|server| (server.state(now, &self.thresholds) == ServerState::Healthy).then(|| server.fill()));
        healthy.into_iter().flatten().collect()
    }

    pub fn fill(&self, server: ServerId) -> Option<Fill> {
        self.servers.read().get(&server).map(|known| known.lock().fill())
    }

    /// Requests in progress at a server at its last heartbeat.
    pub fn load(&self, server: ServerId) -> u32 {
        self.servers.read().get(&server).map_or(0, |known| known.lock().load())
    }

    /// Name of a server for people; its id where no name is known.
    pub fn name(&self, server: ServerId) -> String {
        self.servers.read().get(&server).map_or_else(|| server.to_string(), |known| known.lock().name.clone())
    }

    /// The servers that may get new copies, as of a moment ago.
    pub fn roster(&self, now: Moment) -> Arc<Roster> {
        let mut last = self.roster.lock();
        if let Some((made, roster)) = &*last
            && now.saturating_sub(*made) < ROSTER_AGE
        {
            return roster.clone();
        }
        let roster = Arc::new(self.roster_of(|server| server.state(now, &self.thresholds) == ServerState::Healthy));
        *last = Some((now, roster.clone()));
        roster
    }

    /// The servers that hold copies, or may when they are back: what policies can count on.
    pub fn expected(&self, now: Moment) -> Roster {
        self.expected_without(&HashSet::new(), now)
    }

    /// The same without some of them.
    pub fn expected_without(&self, gone: &HashSet<ServerId>, now: Moment) -> Roster {
        let stays = |server: &Server| !server.is_leaving() && server.standing(now, &self.thresholds) != Standing::Lost;
        self.roster_of(|server| stays(server) && !gone.contains(&server.id))
    }

    fn roster_of(&self, is_in: impl Fn(&Server) -> bool) -> Roster {
        let servers = self.servers.read();
        servers.values().map(Mutex::lock).filter(|server| is_in(server)).map(|server| server.candidate()).collect()
    }

    fn make_new_roster(&self) {
        *self.roster.lock() = None;
    }

    /// New copies were placed on `servers`: they count as load until the next heartbeat tells better. So they do in the roster that
    /// they were chosen from.
    pub fn count_placed(&self, servers: &[ServerId]) {
        let known = self.servers.read();
        for server in servers.iter().filter_map(|id| known.get(id)) {
            server.lock().count_placed();
        }
    }

    /// The states of all servers, ordered by id.
    pub fn states(&self, now: Moment) -> Vec<(ServerId, ServerState)> {
        self.each(|server| (server.id, server.state(now, &self.thresholds)))
    }

    /// One value of each server, ordered by server id.
    pub fn each<T>(&self, value: impl Fn(&Server) -> T) -> Vec<T> {
        let servers = self.servers.read();
        let mut all: Vec<_> = servers.values().map(Mutex::lock).map(|server| (server.id, value(&server))).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all.into_iter().map(|(_, value)| value).collect()
    }

    /// Space of all servers that are up.
    pub fn space(&self, now: Moment) -> Space {
        let mut sum = Space::default();
        for space in self.each(|server| (server.standing(now, &self.thresholds), server.space())) {
            if let (Standing::Up, space) = space {
                sum.total += space.total;
                sum.free += space.free;
                sum.used += space.used;
            }
        }
        sum
    }

    /// Copies that a server reported, after `after` in order of handle, at most `limit`.
    pub fn copies_after(&self, server: ServerId, after: Option<ChunkHandle>, limit: usize) -> Vec<(ChunkHandle, Copy)> {
        let servers = self.servers.read();
        servers.get(&server).map_or(Vec::new(), |known| known.lock().copies().page_after(after, limit))
    }

    pub fn thresholds(&self) -> &Thresholds {
        &self.thresholds
    }

    /// Chunks of which a copy was reported dirty.
    pub fn dirty(&self) -> &DirtyChunks {
        &self.dirty
    }
}

/// The discard port of an address reserved for documentation (RFC 5737): connecting fails, nothing is reached by accident.
fn nowhere() -> Endpoint {
    Endpoint::Tcp { host: "192.0.2.0".to_owned(), port: 9 }
}

#[cfg(test)]
mod tests;
