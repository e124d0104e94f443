//! Connections to other chunkservers, one to each, and what their failures mean.

use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use cairn_proto::chunkserver::{ChunkServiceClient, ChunkServiceRequest, ChunkServiceResponse};
use cairn_proto::error::{ChainFailure, ChunkError};
use cairn_proto::ids::ServerId;
use cairn_proto::transport::{CallFailure, ConnectOptions, Endpoint, PeerKind, Reconnecting, Service, classify};
use lru::LruCache;
use parking_lot::Mutex;
use tarpc::client::RpcError;
use tarpc::context::Context;

/// Connections that are kept; the least recently used goes first.
const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(256).expect("256 is not zero");

/// A peer's service.
pub type Client = ChunkServiceClient<Channel>;

type Channel = Reconnecting<ChunkServiceRequest, ChunkServiceResponse>;

/// All peers. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Peers {
    channels: Arc<Mutex<LruCache<Endpoint, Channel>>>,
}

impl Default for Peers {
    fn default() -> Self {
        Self { channels: Arc::new(Mutex::new(LruCache::new(MAX_CONNECTIONS))) }
    }
}

impl Peers {
    /// Connects when it is first used.
    pub fn client(&self, endpoint: &Endpoint) -> Client {
        let mut channels = self.channels.lock();
        let channel = channels.get_or_insert_ref(endpoint, || {
            let options = ConnectOptions::new(Service::Chunk, PeerKind::Chunkserver);
            Reconnecting::new(endpoint.clone(), options)
        });
        ChunkServiceClient::from(channel.clone())
    }
}

/// The caller's deadline, a little earlier: so that it hears from us who was silent, before it calls us silent.
pub fn one_hop_less(mut context: Context) -> Context {
    let now = Instant::now();
    let left = context.deadline.saturating_duration_since(now);
    context.deadline = now + left * 7 / 8;
    context
}

/// Calls `server`, once more where the connection was lost. For calls that may be repeated, as all of these may.
///
/// What goes wrong there is an error of the chain; what a later member reports is passed on as it is.
pub async fn call<T, F>(server: ServerId, attempt: impl Fn() -> F) -> Result<T, ChunkError>
where
    F: Future<Output = Result<Result<T, ChunkError>, RpcError>>,
{
    let mut outcome = attempt().await;
    if let Err(error) = &outcome
        && matches!(classify(error), CallFailure::NotSent | CallFailure::Lost)
    {
        outcome = attempt().await;
    }
    match outcome {
        Ok(answer) => answered(server, answer),
        Err(error) => Err(unreachable(server, with_cause(&error))),
    }
}

/// What `server` answered, as an error of the chain where it is one.
pub fn answered<T>(server: ServerId, answer: Result<T, ChunkError>) -> Result<T, ChunkError> {
    answer.map_err(|error| match error {
        ChunkError::Chain { .. } => error,
        error => refused(server, error),
    })
}

/// `server` answered: no.
pub fn refused(server: ServerId, error: ChunkError) -> ChunkError {
    ChunkError::Chain { server, cause: ChainFailure::Refused(Box::new(error)) }
}

/// No answer of `server`'s.
pub fn unreachable(server: ServerId, why: String) -> ChunkError {
    ChunkError::Chain { server, cause: ChainFailure::Unreachable(why) }
}

fn with_cause(error: &RpcError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
