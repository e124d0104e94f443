//! Connections to chunkservers: a few to each, kept while they are used.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cairn_proto::chunkserver::{ChunkServiceClient, ChunkServiceRequest, ChunkServiceResponse};
use cairn_proto::transport::{ConnectOptions, Endpoint, PeerKind, Reconnecting, Service};
use lru::LruCache;
use parking_lot::Mutex;

use super::config::IoConfig;

/// Chunkservers to which connections are kept at most.
const MAX_SERVERS: std::num::NonZeroUsize = std::num::NonZeroUsize::new(1024).expect("not zero");

/// What a call without bulk weighs among the calls of a connection, in bytes.
const CALL_WEIGHT_BYTES: usize = 4096;

type Stub = ChunkServiceClient<Reconnecting<ChunkServiceRequest, ChunkServiceResponse>>;

/// See the module.
#[derive(Debug)]
pub(super) struct Connections {
    per_server: usize,
    options: ConnectOptions,
    servers: Mutex<LruCache<Endpoint, Arc<[Connection]>>>,
}

#[derive(Debug)]
struct Connection {
    stub: Stub,
    /// Bytes of the calls under way.
    load: AtomicUsize,
}

/// A connection with one more call on it, until dropped.
pub(super) struct Loaded {
    server: Arc<[Connection]>,
    index: usize,
    bytes: usize,
}

impl Connections {
    pub(super) fn new(config: &IoConfig) -> Self {
        Self {
            per_server: config.connections_per_server.max(1),
            options: ConnectOptions::new(Service::Chunk, PeerKind::Client).with_timeout(config.connect_timeout),
            servers: Mutex::new(LruCache::new(MAX_SERVERS)),
        }
    }

    /// The connection to `endpoint` with the least to do.
    pub(super) fn least_loaded(&self, endpoint: &Endpoint, bulk_bytes: usize) -> Loaded {
        let server = self.servers.lock().get_or_insert_ref(endpoint, || self.new_server(endpoint)).clone();
        let load = |connection: &Connection| connection.load.load(Ordering::Relaxed);
        let index = (0..server.len()).min_by_key(|index| load(&server[*index])).unwrap_or(0);
        let bytes = bulk_bytes + CALL_WEIGHT_BYTES;
        server[index].load.fetch_add(bytes, Ordering::Relaxed);
        Loaded { server, index, bytes }
    }

    fn new_server(&self, endpoint: &Endpoint) -> Arc<[Connection]> {
        (0..self.per_server)
            .map(|_| Connection {
                stub: ChunkServiceClient::from(Reconnecting::new(endpoint.clone(), self.options.clone())),
                load: AtomicUsize::new(0),
            })
            .collect()
    }
}

impl Loaded {
    pub(super) fn stub(&self) -> &Stub {
        &self.server[self.index].stub
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.server[self.index].load.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
