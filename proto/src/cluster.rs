//! Chunkserver to metaserver: registration, reports, heartbeats.
//!
//! A chunkserver registers, reports every chunk it holds in pages, and then sends a heartbeat a second with what has changed.
//! A metaserver that does not know it (restarted, or it gave the server up) says so, and the server starts over.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::chunkserver::ChunkStat;
use crate::disk::DiskStatus;
use crate::ids::{BootId, ChunkHandle, ChunkVersion, ClusterId, ServerId, SessionId};
use crate::labels::Labels;
use crate::scrub::ScrubStatus;
use crate::transport::Endpoint;

/// Chunks in one report or heartbeat at most.
pub const MAX_REPORT_CHUNKS: usize = 8192;

/// Bytes of a chunkserver's disks.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct Space {
    pub total: u64,
    /// Free for chunks: the reserve is already taken off.
    pub free: u64,
    /// Taken by chunks.
    pub used: u64,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Registration {
    pub server: ServerId,
    /// The cluster that its data directory belongs to; `None` on its first start.
    pub cluster: Option<ClusterId>,
    /// For people: unique is better, but nothing relies on it.
    pub name: String,
    /// Where it stands, and what it is. It always says which host.
    pub labels: Labels,
    /// Where clients and other chunkservers reach it.
    pub endpoint: Endpoint,
    pub boot: BootId,
    pub space: Space,
    pub version: String,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Registered {
    pub cluster: ClusterId,
    /// Milliseconds between heartbeats.
    pub heartbeat_ms: u64,
    pub sessions: LiveSessions,
    /// All chunks from here on are given out after this registration.
    pub next_chunk: ChunkHandle,
}

/// Which sessions of clients there are.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct LiveSessions {
    /// All from here on may come to be.
    pub next: SessionId,
    /// Those before that are not given up, ascending.
    pub live: Vec<SessionId>,
}

/// A page of the full report. Chunks in no particular order; none of them twice.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Report {
    pub server: ServerId,
    pub chunks: Vec<ChunkStat>,
    /// The last page: what was in none of them is not there.
    pub last: bool,
}

/// A change since the last heartbeat that was answered.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum ChunkChange {
    /// Created, or its version, state or length changed.
    Now(ChunkStat),
    Removed(ChunkHandle),
    /// A read, scrub or start-up check found damage.
    Damaged {
        handle: ChunkHandle,
        block: u32,
    },
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Heartbeat {
    pub server: ServerId,
    /// Ascending in one registration. A retried heartbeat has the same number.
    pub seq: u64,
    pub space: Space,
    /// Requests in progress.
    pub load: u32,
    /// At most [`MAX_REPORT_CHUNKS`]; the rest comes with the next.
    pub changes: Vec<ChunkChange>,
    /// At most [`MAX_DISKS`](crate::disk::MAX_DISKS), by their numbers.
    pub disks: Vec<DiskStatus>,
    pub scrub: ScrubStatus,
}

/// What the metaserver wants done; carried out after the heartbeat, and confirmed by the changes in a later one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum Order {
    /// Copies that are garbage: see [`crate::chunkserver::ChunkService::delete`].
    Delete(Vec<(ChunkHandle, ChunkVersion)>),
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct HeartbeatReply {
    pub orders: Vec<Order>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Error)]
pub enum ClusterError {
    /// Register again, and report.
    #[error("chunkserver {0} is not registered")]
    UnknownServer(ServerId),
    #[error(
        "the data directory belongs to cluster {theirs}, this is cluster {ours}: point it at its own metaserver or give it an empty directory"
    )]
    ForeignCluster { ours: ClusterId, theirs: ClusterId },
    #[error(
        "chunkserver {server} is already running at {endpoint}: a data directory was copied; give one of them an empty directory"
    )]
    DuplicateServer { server: ServerId, endpoint: Endpoint },
    #[error("the metaserver is not ready")]
    NotReady,
}

#[tarpc::service]
pub trait ClusterService {
    async fn register(registration: Registration) -> Result<Registered, ClusterError>;
    async fn report(report: Report) -> Result<(), ClusterError>;
    async fn heartbeat(heartbeat: Heartbeat) -> Result<HeartbeatReply, ClusterError>;
    /// The server stops in good order: it is not waited for, nor counted as lost.
    async fn goodbye(server: ServerId) -> Result<(), ClusterError>;
}
