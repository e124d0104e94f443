//! Several servers in one process, over real sockets and real files.

mod chain;
mod copying;
#[cfg(feature = "faults")]
mod dying;
mod handing_back;
mod losing;
mod reconciling;
mod reporting;
mod speed;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_proto::chunk::{BLOCK_SIZE, ChunkId, Replica, fragment_crcs};
use cairn_proto::chunkserver::{
    ChainRequest, ChunkService, ChunkServiceClient, ChunkServiceRequest, ChunkServiceResponse, MemberAck, ReadRequest,
    WriteRequest, ZeroRequest,
};
use cairn_proto::error::ChunkError;
use cairn_proto::ids::{BootId, ChunkHandle, ChunkIndex, ChunkVersion, ClusterId, InodeId, ServerId, SessionId};
use cairn_proto::transport::{
    ConnectOptions, Endpoint, Listener, Payload, PeerKind, Reconnecting, Server, ServerLimits, Service as WireService,
};
use cairn_runtime::shutdown::Shutdown;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tarpc::context::Context;
use tarpc::server::Serve;
use tokio_util::sync::DropGuard;
use uuid::Uuid;

use crate::load::Load;
use crate::replication::Replication;
use crate::scrub::Scrub;
use crate::service::Service;
use crate::store::disk::OsDisk;
use crate::store::{DATA_OFFSET, Layout, Place, Store, StoreLimits};

const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(77));
const BLOCK: usize = BLOCK_SIZE;
const MIB: usize = 1 << 20;

type Client = ChunkServiceClient<Reconnecting<ChunkServiceRequest, ChunkServiceResponse>>;

/// A server without metaservers.
struct Node {
    dir: tempfile::TempDir,
    server: ServerId,
    store: Store,
    replica: Replica,
    client: Client,
    shutdown: Shutdown,
    _stops: DropGuard,
}

impl Node {
    async fn start(n: u128) -> Self {
        Self::on(tempfile::tempdir().unwrap(), n, ChunkHandle(0)).await
    }

    /// `given_out`: chunks from here on are given out after it registers.
    async fn on(dir: tempfile::TempDir, n: u128, given_out: ChunkHandle) -> Self {
        let server = ServerId(Uuid::from_u128(n));
        let limits = StoreLimits { reserve_bytes: 0, open_chunks: NonZeroUsize::new(64).unwrap() };
        let place = Place::only(Arc::new(OsDisk), Layout::new(dir.path()));
        let (store, _) = Store::open(vec![place], server, Some(CLUSTER), limits).unwrap();
        store.join(CLUSTER, given_out);
        let shutdown = Shutdown::new();
        let replication = Replication::new(store.clone(), MemberAck { server, boot: BootId(n) });
        let service = Service::new(
            store.clone(),
            replication,
            Load::default(),
            Arc::default(),
            Scrub::default(),
            shutdown.clone(),
        );
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
        let replica = Replica { server, endpoint: listener.endpoint().clone(), up: true };
        let wire = Server::new(PeerKind::Chunkserver, ServerLimits::default())
            .with(WireService::Chunk, move |context, request| service.clone().serve().serve(context, request));
        shutdown.spawn(wire.run(listener, shutdown.token()));
        let client = client(&replica.endpoint);
        let stops = shutdown.token().drop_guard();
        Self { dir, server, store, replica, client, shutdown, _stops: stops }
    }

    /// Stops it, and starts another one on its data. All chunks of these tests were given out before.
    async fn restart(self) -> Self {
        self.restart_after(|_| {}).await
    }

    /// The same, after something was done to its directory.
    async fn restart_after(self, change: impl FnOnce(&Layout)) -> Self {
        self.shutdown.finish(Duration::from_secs(10)).await.unwrap();
        let Self { dir, server, client, store, .. } = self;
        drop((client, store));
        change(&Layout::new(dir.path()));
        Self::on(dir, server.0.as_u128(), ChunkHandle(1000)).await
    }

    /// Flips a bit of the byte at `offset` of a chunk.
    fn flip(&self, id: ChunkId, offset: u64) {
        use std::os::unix::fs::FileExt;
        let path = Layout::new(self.dir.path()).chunk(id.handle);
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let (mut byte, at) = ([0], DATA_OFFSET + offset);
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
    }

    async fn contents(&self, id: ChunkId) -> Vec<u8> {
        let length = self.store.stat(id.handle).unwrap().length as usize;
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let len = (length - bytes.len()).min(MIB) as u32;
            let at_least = ChunkVersion::FIRST;
            let request = ReadRequest { handle: id.handle, at_least, offset: bytes.len() as u32, len };
            bytes.extend_from_slice(&self.client.read(soon(), request).await.unwrap().unwrap().data);
        }
        bytes
    }
}

async fn nodes<const N: usize>() -> [Node; N] {
    let nodes = futures::future::join_all((1..=N as u128).map(Node::start)).await;
    nodes.try_into().map_err(|_| ()).unwrap()
}

fn client(endpoint: &Endpoint) -> Client {
    let options = ConnectOptions::new(WireService::Chunk, PeerKind::Client);
    Client::from(Reconnecting::new(endpoint.clone(), options))
}

fn soon() -> Context {
    let mut context = tarpc::context::current();
    context.deadline = Instant::now() + Duration::from_secs(20);
    context
}

fn chunk(handle: u64) -> ChunkId {
    ChunkId { handle: ChunkHandle(handle), version: ChunkVersion::FIRST, inode: InodeId(5), index: ChunkIndex(0) }
}

fn at_version(id: ChunkId, version: u32) -> ChunkId {
    ChunkId { version: ChunkVersion(version), ..id }
}

fn write_request(id: ChunkId, offset: usize, data: &[u8], rest: &[&Node]) -> WriteRequest {
    WriteRequest {
        chunk: id,
        writer: SessionId::SERVERS,
        offset: offset as u32,
        crcs: fragment_crcs(offset as u64, data),
        rest: rest.iter().map(|node| node.replica.clone()).collect(),
        sync: false,
        data: Payload(Bytes::copy_from_slice(data)),
    }
}

fn chain_request(id: ChunkId, rest: &[&Node]) -> ChainRequest {
    ChainRequest { chunk: id, writer: SessionId::SERVERS, rest: rest.iter().map(|node| node.replica.clone()).collect() }
}

fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    StdRng::seed_from_u64(seed).fill(&mut bytes[..]);
    bytes
}
