//! Calls from the metaserver to chunkservers.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cairn_proto::chunk::{ChunkId, Replica};
use cairn_proto::chunkserver::{
    BlockTable, ChunkServiceClient, ChunkServiceRequest, ChunkServiceResponse, ChunkStat, VerifyReport,
};
use cairn_proto::error::{ChainFailure, ChunkError};
use cairn_proto::ids::{ChunkHandle, ChunkVersion, ServerId, SessionId};
use cairn_proto::scrub::ScrubOrder;
use cairn_proto::transport::{ConnectOptions, Endpoint, PeerKind, Reconnecting, Service};
use parking_lot::Mutex;
use tarpc::client::RpcError;
use tarpc::context::Context;
use thiserror::Error;

/// For calls that only look, or wait out a piece that is being written.
pub const SHORT_CALL: Duration = Duration::from_secs(3);
/// For a call that asks whether anybody answers.
pub const PROBE: Duration = Duration::from_secs(1);
/// For calls that read or copy a whole chunk: 64 MiB at a few MB/s.
pub const WHOLE_CHUNK: Duration = Duration::from_secs(120);
/// Connections that are kept; the least recently used goes first.
const MAX_CONNECTIONS: usize = 1024;

/// Why a chunkserver did not do what the metaserver asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PeerError {
    /// No answer. Whether it was done is not known.
    #[error("no answer from {endpoint}: {cause}")]
    Unreachable { endpoint: Endpoint, cause: String },
    /// It answered: no.
    #[error("{0}")]
    Refused(#[from] ChunkError),
}

impl PeerError {
    /// The server answers, and says that it has no such chunk.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(ChunkError::NotFound(_)))
    }

    /// Stored bytes do not match their sums: at the server, or at one that it asked.
    pub fn is_damage(&self) -> bool {
        let Self::Refused(error) = self else { return false };
        match error {
            ChunkError::Chain { cause: ChainFailure::Refused(cause), .. } => {
                matches!(**cause, ChunkError::DamagedOnDisk { .. })
            }
            error => matches!(error, ChunkError::DamagedOnDisk { .. }),
        }
    }
}

/// What the metaserver asks of chunkservers: the seam behind which tests put theirs. The methods are those of
/// [`cairn_proto::chunkserver::ChunkService`].
#[async_trait]
pub trait Peers: Send + Sync + std::fmt::Debug + 'static {
    async fn identity(&self, at: &Endpoint) -> Result<ServerId, PeerError>;
    async fn stat(&self, at: &Endpoint, handle: ChunkHandle) -> Result<ChunkStat, PeerError>;
    async fn block_table(&self, at: &Endpoint, handle: ChunkHandle) -> Result<BlockTable, PeerError>;
    async fn verify(&self, at: &Endpoint, handle: ChunkHandle) -> Result<VerifyReport, PeerError>;
    async fn fence(&self, at: &Endpoint, handle: ChunkHandle, version: ChunkVersion) -> Result<ChunkStat, PeerError>;
    async fn fence_sessions(&self, at: &Endpoint, sessions: Vec<SessionId>) -> Result<(), PeerError>;
    async fn create(&self, at: &Endpoint, chunk: ChunkId) -> Result<ChunkStat, PeerError>;
    async fn scrub(&self, at: &Endpoint, order: ScrubOrder) -> Result<(), PeerError>;
    async fn copy_from(&self, at: &Endpoint, chunk: ChunkId, source: Endpoint) -> Result<ChunkStat, PeerError>;
    async fn reconcile(&self, at: &Endpoint, chunk: ChunkId, peers: Vec<Replica>) -> Result<ChunkStat, PeerError>;
}

type Channel = Reconnecting<ChunkServiceRequest, ChunkServiceResponse>;

/// The real ones, over the wire. One connection to each chunkserver.
#[derive(Debug, Default)]
pub struct RemotePeers {
    channels: Mutex<HashMap<Endpoint, Known>>,
}

#[derive(Debug)]
struct Known {
    channel: Channel,
    used: Instant,
}

impl RemotePeers {
    fn client(&self, at: &Endpoint) -> ChunkServiceClient<Channel> {
        let mut channels = self.channels.lock();
        if channels.len() >= MAX_CONNECTIONS && !channels.contains_key(at) {
            let oldest = channels.iter().min_by_key(|(_, known)| known.used).map(|(endpoint, _)| endpoint.clone());
            oldest.and_then(|endpoint| channels.remove(&endpoint));
        }
        let now = Instant::now();
        let known = channels.entry(at.clone()).or_insert_with(|| {
            let options = ConnectOptions::new(Service::Chunk, PeerKind::Metaserver).with_timeout(PROBE);
            Known { channel: Reconnecting::new(at.clone(), options), used: now }
        });
        known.used = now;
        ChunkServiceClient::from(known.channel.clone())
    }
}

fn within(limit: Duration) -> Context {
    let mut context = tarpc::context::current();
    context.deadline = Instant::now() + limit;
    context
}

fn unreachable(at: &Endpoint) -> impl Fn(RpcError) -> PeerError {
    move |error| PeerError::Unreachable { endpoint: at.clone(), cause: error.to_string() }
}

#[async_trait]
impl Peers for RemotePeers {
    async fn identity(&self, at: &Endpoint) -> Result<ServerId, PeerError> {
        self.client(at).identity(within(PROBE)).await.map_err(unreachable(at))
    }

    async fn stat(&self, at: &Endpoint, handle: ChunkHandle) -> Result<ChunkStat, PeerError> {
        Ok(self.client(at).stat(within(SHORT_CALL), handle).await.map_err(unreachable(at))??)
    }

    async fn block_table(&self, at: &Endpoint, handle: ChunkHandle) -> Result<BlockTable, PeerError> {
        Ok(self.client(at).block_table(within(SHORT_CALL), handle).await.map_err(unreachable(at))??)
    }

    async fn verify(&self, at: &Endpoint, handle: ChunkHandle) -> Result<VerifyReport, PeerError> {
        Ok(self.client(at).verify(within(WHOLE_CHUNK), handle).await.map_err(unreachable(at))??)
    }

    async fn fence(&self, at: &Endpoint, handle: ChunkHandle, version: ChunkVersion) -> Result<ChunkStat, PeerError> {
        Ok(self.client(at).fence(within(SHORT_CALL), handle, version).await.map_err(unreachable(at))??)
    }

    async fn fence_sessions(&self, at: &Endpoint, sessions: Vec<SessionId>) -> Result<(), PeerError> {
        Ok(self.client(at).fence_sessions(within(SHORT_CALL), sessions).await.map_err(unreachable(at))??)
    }

    async fn create(&self, at: &Endpoint, chunk: ChunkId) -> Result<ChunkStat, PeerError> {
        Ok(self.client(at).create(within(SHORT_CALL), chunk).await.map_err(unreachable(at))??)
    }

    async fn scrub(&self, at: &Endpoint, order: ScrubOrder) -> Result<(), PeerError> {
        Ok(self.client(at).scrub(within(SHORT_CALL), order).await.map_err(unreachable(at))??)
    }

    async fn copy_from(&self, at: &Endpoint, chunk: ChunkId, source: Endpoint) -> Result<ChunkStat, PeerError> {
        Ok(self.client(at).copy_from(within(WHOLE_CHUNK), chunk, source).await.map_err(unreachable(at))??)
    }

    async fn reconcile(&self, at: &Endpoint, chunk: ChunkId, peers: Vec<Replica>) -> Result<ChunkStat, PeerError> {
        Ok(self.client(at).reconcile(within(WHOLE_CHUNK), chunk, peers).await.map_err(unreachable(at))??)
    }
}
