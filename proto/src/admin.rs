//! `cairn status`, `stats`, `info`, `df`, `policy`, `fsck` to the metaserver.

use serde::{Deserialize, Serialize};

use crate::attr::Attr;
use crate::chunk::ChunkLocation;
use crate::cluster::Space;
use crate::disk::DiskStatus;
use crate::error::{AdminError, FsError};
use crate::ids::{ChunkHandle, ClusterId, InodeId, LogIndex, ServerId};
use crate::labels::{Domain, Labels};
use crate::meta::FsStat;
use crate::name::Name;
use crate::policy::{Durability, Placement, Policy, Retention};
use crate::scrub::{ScrubOrder, ScrubStatus};
use crate::simulation::{Scenario, SimulationPage};
use crate::time::Timestamp;
use crate::transport::{Endpoint, RequestCounts};
use crate::trash::{
    RestoreRequest, RestoreResume, RestoredDir, RestoredPage, RestoredTop, TrashCount, TrashCursor, TrashFilter,
    TrashPage,
};

/// What the metaserver thinks of a chunkserver.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub enum ServerState {
    /// Registered; its report is not complete yet.
    Joining,
    Healthy,
    /// Silent for a while: not chosen for new chunks.
    Suspect,
    /// Silent for long: its chunks are repaired elsewhere.
    Dead,
    /// It is away, and somebody said that it would be for a while: nothing is repaired around it until then.
    Maintenance,
    /// What it holds goes elsewhere.
    Draining,
}

/// What is meant to become of a chunkserver: by an operator, or as it said itself when it was stopped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug, Default)]
pub enum ServerMode {
    #[default]
    InService,
    /// It gets no new copies, and those that it has are made elsewhere.
    Draining,
    /// It may be away until then. Nothing is repaired around it meanwhile, and nothing new placed on it.
    Maintenance {
        until: Timestamp,
        /// It said so itself: its return ends it.
        announced: bool,
    },
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ServerStatus {
    pub server: ServerId,
    pub name: String,
    pub endpoint: Endpoint,
    pub labels: Labels,
    pub state: ServerState,
    pub mode: ServerMode,
    pub space: Space,
    /// Copies that it holds as a member.
    pub chunks: u64,
    /// Milliseconds since its last sign of life.
    pub silent_ms: u64,
    /// Damaged blocks it or its readers have reported since the metaserver started.
    pub damaged: u64,
    /// Copies on it that are to go elsewhere, as of the last census.
    pub to_move: u64,
    /// As of its last heartbeat.
    pub scrub: ScrubStatus,
    /// The same, by their numbers.
    pub disks: Vec<DiskStatus>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ClusterStatus {
    pub cluster: ClusterId,
    pub version: String,
    pub applied: LogIndex,
    pub servers: Vec<ServerStatus>,
    pub sessions: Vec<SessionStatus>,
    pub fs: FsStat,
    pub inodes: u64,
    pub chunks: ChunkCounts,
    pub repair: RepairStatus,
    pub trash: TrashCount,
    /// Background workers: repair, garbage collection …
    pub workers: Vec<WorkerStatus>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct SessionStatus {
    pub session: u64,
    pub host: String,
    pub mountpoint: String,
    pub open_files: u64,
    pub idle_ms: u64,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct WorkerStatus {
    pub name: String,
    pub state: String,
    pub done: u64,
    pub queue: u64,
    pub last_error: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct ChunkCounts {
    pub total: u64,
    /// Fewer reachable copies than the policy asks for.
    pub below_target: u64,
    /// No reachable copy, though bytes were committed.
    pub unavailable: u64,
    /// As many copies as asked for, but not where they should be: on servers that are drained, or in one failure domain without need.
    pub misplaced: u64,
    /// Written and not yet handed back.
    pub dirty: u64,
    /// Waiting to be deleted.
    pub garbage: u64,
    /// With a damaged copy that could not be made good: of some of its blocks no good copy was up.
    pub damaged: u64,
    /// What is below target, unavailable, misplaced or dirty was counted in one pass over all chunks, which began so many milliseconds ago;
    /// `None`: not counted yet.
    pub counted_ms: Option<u64>,
}

/// How far repair is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct RepairStatus {
    pub paused: bool,
    /// Bytes per second that are copied at most, in the whole cluster; `None`: no limit.
    pub bytes_per_s: Option<u64>,
    /// The same, to and from one server. Less while clients keep it busy.
    pub server_bytes_per_s: Option<u64>,
    /// Chunks that wait, those that are only to be moved included.
    pub queue: u64,
    /// Chunks with one good copy left or none, of those that should have more.
    pub at_risk: u64,
    /// How long the chunk has waited that has waited longest of those that lack copies.
    pub oldest_exposure_ms: Option<u64>,
    /// Bytes that are still to be copied, as of the last census.
    pub to_copy: u64,
    /// Bytes per second that were copied of late.
    pub rate: u64,
}

impl RepairStatus {
    /// Seconds until all is copied, at the present rate. `None`: nobody knows.
    pub fn seconds_left(&self) -> Option<u64> {
        match (self.to_copy, self.rate) {
            (0, _) => Some(0),
            (_, 0) => None,
            (bytes, rate) => Some(bytes.div_ceil(rate)),
        }
    }
}

/// What operators change while the cluster runs; `None` where the configuration holds.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct Tunables {
    pub repair_paused: bool,
    /// Bytes per second; 0: no limit.
    pub repair_bytes_per_s: Option<u64>,
    pub repair_server_bytes_per_s: Option<u64>,
}

/// Changes to [`Tunables`]; `None` leaves a field alone.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct TunablesChange {
    pub repair_paused: Option<bool>,
    pub repair_bytes_per_s: Option<u64>,
    pub repair_server_bytes_per_s: Option<u64>,
}

impl Tunables {
    pub fn changed(self, change: TunablesChange) -> Self {
        let TunablesChange { repair_paused, repair_bytes_per_s, repair_server_bytes_per_s } = change;
        Self {
            repair_paused: repair_paused.unwrap_or(self.repair_paused),
            repair_bytes_per_s: repair_bytes_per_s.or(self.repair_bytes_per_s),
            repair_server_bytes_per_s: repair_server_bytes_per_s.or(self.repair_server_bytes_per_s),
        }
    }
}

/// An inode and its chunks, for `cairn info`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct InodeInfo {
    pub attr: Attr,
    /// A path that leads to it, as far as the metaserver knows one.
    pub path: Option<Vec<Name>>,
    pub policy: Policy,
    pub placement: Placement,
    /// Of a directory.
    pub retention: Option<Retention>,
    pub xattrs: Vec<Name>,
    /// The first chunks, [`crate::meta::MAX_CHUNKS_PER_CALL`] of them; ask on from the last index.
    pub chunks: Vec<ChunkInfo>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ChunkInfo {
    pub location: ChunkLocation,
    /// Names of the replicas' servers, in the same order.
    pub names: Vec<String>,
    /// Copies that are asked for.
    pub target: u8,
}

/// What is to be changed of a policy; `None` leaves a field alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct PolicySet {
    pub copies: Option<u8>,
    pub durability: Option<Durability>,
    pub spread: Option<Option<Domain>>,
    pub on: Option<Labels>,
    /// Take what the servers can give where they cannot give what is asked for.
    pub loose: Option<bool>,
    /// Directories only.
    pub retention: Option<Retention>,
}

/// A policy with what it says of places.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct PolicyInfo {
    pub policy: Policy,
    pub placement: Placement,
    /// Of a directory.
    pub retention: Option<Retention>,
}

/// One thing that is wrong, for `cairn fsck`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Finding {
    /// Short, stable, machine-readable: `dangling-entry`, `wrong-nlink`, `missing-replica`, `diverged` …
    pub kind: String,
    pub inode: Option<InodeId>,
    pub chunk: Option<ChunkHandle>,
    pub server: Option<ServerId>,
    /// One sentence with names and numbers.
    pub what: String,
    /// `fsck` can have it repaired.
    pub repairable: bool,
}

/// What became of chunks that `fsck` has found faults of.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct Recheck {
    /// What is wrong still.
    pub findings: Vec<Finding>,
    /// Chunks that are being worked on, or wait to be.
    pub pending: Vec<ChunkHandle>,
}

/// Chunks in one [`AdminService::recheck`] call at most.
pub const MAX_RECHECKED: usize = 64;

/// How far an `fsck` has come; asked again with `resume` until `done`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct FsckPage {
    pub findings: Vec<Finding>,
    pub inodes_checked: u64,
    pub chunks_checked: u64,
    pub bytes_verified: u64,
    /// Opaque; pass it on. `None`: finished.
    pub resume: Option<Vec<u8>>,
}

/// What the metaserver was asked, by clients, chunkservers and commands, for `cairn stats`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ServerStats {
    /// When it began to count: when it was started.
    pub started: Timestamp,
    /// Milliseconds since then, by a clock that does not jump.
    pub uptime_ms: u64,
    /// Each call that was made at least once, in the order of their names. This one is still in flight.
    pub requests: Vec<RequestCounts>,
}

#[tarpc::service]
pub trait AdminService {
    async fn status() -> Result<ClusterStatus, FsError>;
    async fn info(inode: InodeId, first_chunk: u32) -> Result<InodeInfo, FsError>;
    /// Resolves a path from the root of the file system, without following symlinks.
    async fn resolve(path: Vec<Name>) -> Result<InodeId, FsError>;
    /// Refused where the servers that there are cannot give what is asked for, unless that is loose.
    async fn set_policy(inode: InodeId, set: PolicySet, recursive: bool) -> Result<PolicyInfo, AdminError>;
    /// `data`: read and verify every block of every copy, too, and compare copies. `repair`: begin to repair what can be repaired;
    /// [`AdminService::recheck`] says what became of it.
    async fn fsck(data: bool, repair: bool, resume: Option<Vec<u8>>) -> Result<FsckPage, FsError>;
    /// Takes a checkpoint now; answers the log index that it covers.
    async fn checkpoint() -> Result<LogIndex, FsError>;
    /// Counters since the start. Costs the metaserver next to nothing.
    async fn stats() -> Result<ServerStats, FsError>;
    /// Says what is to become of a chunkserver.
    async fn set_server_mode(server: ServerId, mode: ServerMode) -> Result<(), AdminError>;
    /// Forgets a chunkserver that will not come back: refused while it is up, or chunks need it.
    async fn remove_server(server: ServerId) -> Result<(), AdminError>;
    /// Changes what may be changed while the cluster runs.
    async fn tune(change: TunablesChange) -> Result<RepairStatus, AdminError>;
    /// What would be if. Of the chunks after `after`.
    async fn simulate(scenario: Scenario, after: ChunkHandle) -> Result<SimulationPage, AdminError>;
    /// Has a chunkserver begin a pass of its scrub now.
    async fn scrub(server: ServerId, order: ScrubOrder) -> Result<(), AdminError>;
    /// The check of [`AdminService::fsck`] for some chunks, [`MAX_RECHECKED`] at most.
    async fn recheck(chunks: Vec<ChunkHandle>, data: bool) -> Result<Recheck, FsError>;
    /// What was removed and is kept, in the order of removal, behind `after`.
    async fn trash(filter: TrashFilter, after: Option<TrashCursor>) -> Result<TrashPage, FsError>;
    /// Gives something in the trash its name again, or another one where it is asked to. Where that is a directory,
    /// [`AdminService::restore_below`] goes on, for it and for all directories that are answered.
    async fn restore(request: RestoreRequest) -> Result<RestoredTop, AdminError>;
    /// Restores some of what was removed from a directory. `all`: what was removed earlier than with the directory, too.
    async fn restore_below(
        directory: RestoredDir,
        all: bool,
        resume: Option<RestoreResume>,
    ) -> Result<RestoredPage, AdminError>;
    /// Removes some of the trash for good, behind `after`; with `dry` only says what that would be.
    async fn empty_trash(
        filter: TrashFilter,
        after: Option<TrashCursor>,
        dry: bool,
    ) -> Result<(TrashCount, Option<TrashCursor>), FsError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls are numbered in the order of the trait: a new one goes to the end.
    #[test]
    fn golden_call_numbers() {
        let bytes = |request: &AdminServiceRequest| postcard::to_stdvec(request).unwrap();
        assert_eq!(bytes(&AdminServiceRequest::Status {}), [0]);
        assert_eq!(bytes(&AdminServiceRequest::Checkpoint {}), [5]);
        assert_eq!(bytes(&AdminServiceRequest::Stats {}), [6]);
    }

    #[test]
    fn golden_stats() {
        let counts = RequestCounts {
            name: "A.b".into(),
            calls: 5,
            in_flight: 1,
            failed: 0,
            dropped: 2,
            total_us: 300,
            max_us: 7,
        };
        let stats = ServerStats { started: Timestamp { secs: 1, nanos: 2 }, uptime_ms: 3, requests: vec![counts] };
        let bytes = postcard::to_stdvec(&stats).unwrap();
        assert_eq!(bytes, [2, 2, 3, 1, 3, b'A', b'.', b'b', 5, 1, 0, 2, 0xac, 2, 7]);
        assert_eq!(postcard::from_bytes::<ServerStats>(&bytes).unwrap(), stats);
    }
}
