//! `cairn status`, `info`, `df`, `policy`, `fsck` to the metaserver.

use serde::{Deserialize, Serialize};

use crate::attr::Attr;
use crate::chunk::ChunkLocation;
use crate::cluster::Space;
use crate::error::FsError;
use crate::ids::{ChunkHandle, ClusterId, InodeId, LogIndex, ServerId};
use crate::meta::FsStat;
use crate::name::Name;
use crate::policy::{Policy, PolicyChange};
use crate::transport::Endpoint;

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
    /// It said goodbye.
    Stopped,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ServerStatus {
    pub server: ServerId,
    pub name: String,
    pub endpoint: Endpoint,
    pub state: ServerState,
    pub space: Space,
    /// Copies that it holds as a member.
    pub chunks: u64,
    /// Milliseconds since its last sign of life.
    pub silent_ms: u64,
    /// Damaged blocks it or its readers have reported since the metaserver started.
    pub damaged: u64,
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
    /// Written and not yet handed back.
    pub dirty: u64,
    /// Waiting to be deleted.
    pub garbage: u64,
}

/// An inode and its chunks, for `cairn info`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct InodeInfo {
    pub attr: Attr,
    /// A path that leads to it, as far as the metaserver knows one.
    pub path: Option<Vec<Name>>,
    pub policy: Policy,
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
}

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

#[tarpc::service]
pub trait AdminService {
    async fn status() -> Result<ClusterStatus, FsError>;
    async fn info(inode: InodeId, first_chunk: u32) -> Result<InodeInfo, FsError>;
    /// Resolves a path from the root of the file system, without following symlinks.
    async fn resolve(path: Vec<Name>) -> Result<InodeId, FsError>;
    async fn set_policy(inode: InodeId, change: PolicyChange, recursive: bool) -> Result<Policy, FsError>;
    /// `data`: read and verify every block of every copy, too, and compare copies.
    async fn fsck(data: bool, resume: Option<Vec<u8>>) -> Result<FsckPage, FsError>;
    /// Takes a checkpoint now; answers the log index that it covers.
    async fn checkpoint() -> Result<LogIndex, FsError>;
}
