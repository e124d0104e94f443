//! Calls to chunkservers over the wire: a few connections to each, kept while they are used.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cairn_proto::chunkserver::{
    ChainAck, ChainRequest, ChunkServiceClient, ChunkServiceRequest, ChunkServiceResponse, ReadReply, ReadRequest,
    WriteRequest, ZeroRequest,
};
use cairn_proto::error::ChunkError;
use cairn_proto::ids::ChunkHandle;
use cairn_proto::transport::{ConnectOptions, Endpoint, PeerKind, Reconnecting, Service, classify};
use lru::LruCache;
use parking_lot::Mutex;
use tarpc::client::RpcError;
use tarpc::context::Context;

use super::chunk_transport::ChunkTransport;
use super::config::IoConfig;
use super::error::CallError;

/// Chunkservers to which connections are kept at most.
const MAX_SERVERS: std::num::NonZeroUsize = std::num::NonZeroUsize::new(1024).expect("not zero");

/// What a call without bulk weighs among the calls of a connection, in bytes.
const CALL_WEIGHT_BYTES: usize = 4096;

type Stub = ChunkServiceClient<Reconnecting<ChunkServiceRequest, ChunkServiceResponse>>;

/// The [`ChunkTransport`] of a mount.
#[derive(Debug)]
pub struct ChunkClient {
    connections_per_server: usize,
    connect: ConnectOptions,
    write_timeout: Duration,
    read_timeout: Duration,
    sync_timeout: Duration,
    servers: Mutex<LruCache<Endpoint, Arc<[Connection]>>>,
}

#[derive(Debug)]
struct Connection {
    stub: Stub,
    /// Bytes of the calls under way.
    load: AtomicUsize,
}

/// A connection with one more call on it, until dropped.
struct Loaded {
    server: Arc<[Connection]>,
    index: usize,
    bytes: usize,
}

impl ChunkClient {
    pub fn new(config: &IoConfig) -> Self {
        Self {
            connections_per_server: config.connections_per_server.max(1),
            connect: ConnectOptions::new(Service::Chunk, PeerKind::Client).with_timeout(config.connect_timeout),
            write_timeout: config.write_timeout,
            read_timeout: config.read_timeout,
            sync_timeout: config.sync_timeout,
            servers: Mutex::new(LruCache::new(MAX_SERVERS)),
        }
    }

    /// The connection to `endpoint` with the least to do.
    fn connection(&self, endpoint: &Endpoint, bulk_bytes: usize) -> Loaded {
        let server = self.servers.lock().get_or_insert_ref(endpoint, || self.new_server(endpoint)).clone();
        let load = |connection: &Connection| connection.load.load(Ordering::Relaxed);
        let index = (0..server.len()).min_by_key(|index| load(&server[*index])).unwrap_or(0);
        let bytes = bulk_bytes + CALL_WEIGHT_BYTES;
        server[index].load.fetch_add(bytes, Ordering::Relaxed);
        Loaded { server, index, bytes }
    }

    fn new_server(&self, endpoint: &Endpoint) -> Arc<[Connection]> {
        (0..self.connections_per_server)
            .map(|_| Connection {
                stub: ChunkServiceClient::from(Reconnecting::new(endpoint.clone(), self.connect.clone())),
                load: AtomicUsize::new(0),
            })
            .collect()
    }
}

impl Loaded {
    fn stub(&self) -> &Stub {
        &self.server[self.index].stub
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.server[self.index].load.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[async_trait]
impl ChunkTransport for ChunkClient {
    async fn write(&self, head: &Endpoint, request: WriteRequest) -> Result<ChainAck, CallError> {
        let connection = self.connection(head, request.data.0.len());
        answer(connection.stub().write(within(self.write_timeout), request).await)
    }

    async fn zero(&self, head: &Endpoint, request: ZeroRequest) -> Result<ChainAck, CallError> {
        answer(self.connection(head, 0).stub().zero(within(self.write_timeout), request).await)
    }

    async fn sync(&self, head: &Endpoint, request: ChainRequest) -> Result<ChainAck, CallError> {
        answer(self.connection(head, 0).stub().sync(within(self.sync_timeout), request).await)
    }

    async fn hand_back(&self, head: &Endpoint, request: ChainRequest) -> Result<ChainAck, CallError> {
        answer(self.connection(head, 0).stub().hand_back(within(self.sync_timeout), request).await)
    }

    async fn read(&self, from: &Endpoint, request: ReadRequest) -> Result<ReadReply, CallError> {
        let connection = self.connection(from, request.len as usize);
        answer(connection.stub().read(within(self.read_timeout), request).await)
    }

    async fn extents(&self, from: &Endpoint, handle: ChunkHandle) -> Result<Vec<(u32, u32)>, CallError> {
        answer(self.connection(from, 0).stub().extents(within(self.read_timeout), handle).await)
    }
}

fn within(timeout: Duration) -> Context {
    let mut context = tarpc::context::current();
    context.deadline = Instant::now() + timeout;
    context
}

fn answer<T>(result: Result<Result<T, ChunkError>, RpcError>) -> Result<T, CallError> {
    match result {
        Ok(answer) => answer.map_err(CallError::Chunk),
        Err(error) => Err(CallError::Transport { failure: classify(&error), detail: describe(&error) }),
    }
}

/// An error and its causes in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
