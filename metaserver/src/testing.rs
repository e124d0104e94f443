//! What unit tests of several modules stand on: a log without a disk, chunkservers without a network, a clock that stands.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use cairn_proto::attr::Credentials;
use cairn_proto::chunk::{ChunkId, Replica};
use cairn_proto::chunkserver::{BlockTable, ChunkStat, ChunkState, VerifyReport};
use cairn_proto::cluster::{ChunkChange, Heartbeat, Order, Registration, Report, Space};
use cairn_proto::disk::DiskStatus;
use cairn_proto::error::{ChainFailure, ChunkError};
use cairn_proto::ids::{BootId, ChunkHandle, ChunkIndex, ChunkVersion, ClusterId, InodeId, OpId, ServerId, SessionId};
use cairn_proto::labels::Labels;
use cairn_proto::meta::{ClientInfo, Mutation, NewNode};
use cairn_proto::name::Name;
use cairn_proto::policy::Policy;
use cairn_proto::scrub::ScrubOrder;
use cairn_proto::transport::Endpoint;
use cairn_runtime::clock::{Clock, ManualClock};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::cluster::balance::BalanceSettings;
use crate::cluster::peers::{PeerError, Peers};
use crate::cluster::registry::Registry;
use crate::cluster::repair::throttle::Throttle;
use crate::cluster::state::Thresholds;
use crate::cluster::{Cluster, reports};
use crate::command::{Command, Decided, Internal, Origin, Placement};
use crate::local_log::LocalLog;
use crate::namespace::Reply;
use crate::namespace::chunk::Chunk;
use crate::session::Clients;
use crate::state::State;
use crate::store::{Keyspace, MemoryStore};

/// One chunkserver of [`FakePeers`].
#[derive(Debug, Default)]
pub struct FakeServer {
    pub copies: HashMap<ChunkHandle, ChunkStat>,
    /// It does not answer.
    pub silent: bool,
    /// It falls silent when it has said what it has.
    pub dying: bool,
    /// It takes no copies.
    pub full: bool,
    /// Chunks whose copies here have damaged blocks.
    pub damaged: Vec<ChunkHandle>,
    /// Of these, chunks with a damaged block that no other copy has.
    pub lost: Vec<ChunkHandle>,
    /// Sessions whose writes it refuses.
    pub fenced: Vec<SessionId>,
}

/// Chunkservers in memory, at the endpoints that [`endpoint_of`] gives them.
#[derive(Debug, Default)]
pub struct FakePeers {
    servers: Mutex<HashMap<Endpoint, (ServerId, FakeServer)>>,
}

impl FakePeers {
    pub fn add(&self, server: ServerId) {
        self.servers.lock().insert(endpoint_of(server), (server, FakeServer::default()));
    }

    /// Looks at, or changes, one of the servers.
    pub fn with<T>(&self, server: ServerId, look: impl FnOnce(&mut FakeServer) -> T) -> T {
        look(&mut self.servers.lock().get_mut(&endpoint_of(server)).unwrap().1)
    }

    fn at<T>(
        &self,
        at: &Endpoint,
        answer: impl FnOnce(ServerId, &mut FakeServer) -> Result<T, ChunkError>,
    ) -> Result<T, PeerError> {
        match self.servers.lock().get_mut(at) {
            Some((id, server)) if !server.silent => Ok(answer(*id, server)?),
            _ => Err(PeerError::Unreachable { endpoint: at.clone(), cause: "silent".into() }),
        }
    }
}

fn find(server: &mut FakeServer, handle: ChunkHandle) -> Result<&mut ChunkStat, ChunkError> {
    server.copies.get_mut(&handle).ok_or(ChunkError::NotFound(handle))
}

#[async_trait]
impl Peers for FakePeers {
    async fn identity(&self, at: &Endpoint) -> Result<ServerId, PeerError> {
        self.at(at, |id, _| Ok(id))
    }

    async fn stat(&self, at: &Endpoint, handle: ChunkHandle) -> Result<ChunkStat, PeerError> {
        self.at(at, |_, server| {
            server.silent = server.dying;
            find(server, handle).copied()
        })
    }

    async fn block_table(&self, at: &Endpoint, handle: ChunkHandle) -> Result<BlockTable, PeerError> {
        self.at(at, |_, server| Ok(BlockTable { stat: *find(server, handle)?, sums: vec![], damaged: vec![] }))
    }

    async fn verify(&self, at: &Endpoint, handle: ChunkHandle) -> Result<VerifyReport, PeerError> {
        self.at(at, |_, server| {
            let stat = *find(server, handle)?;
            let damaged = if server.damaged.contains(&handle) { vec![3] } else { vec![] };
            Ok(VerifyReport { stat, blocks: 1, damaged })
        })
    }

    async fn fence(&self, at: &Endpoint, handle: ChunkHandle, version: ChunkVersion) -> Result<ChunkStat, PeerError> {
        self.at(at, |_, server| {
            let stat = find(server, handle)?;
            if stat.id.version > version {
                return Err(ChunkError::VersionFenced { handle, asked: version, have: stat.id.version });
            }
            stat.id.version = version;
            Ok(*stat)
        })
    }

    async fn fence_sessions(&self, at: &Endpoint, sessions: Vec<SessionId>) -> Result<(), PeerError> {
        self.at(at, |_, server| {
            server.fenced.extend(sessions);
            Ok(())
        })
    }

    async fn create(&self, at: &Endpoint, chunk: ChunkId) -> Result<ChunkStat, PeerError> {
        self.at(at, |_, server| {
            if server.full {
                return Err(ChunkError::NoSpace);
            }
            let new =
                ChunkStat { id: chunk, state: ChunkState::Dirty, length: 0, allocated: 0, disk: Default::default() };
            Ok(*server.copies.entry(chunk.handle).or_insert(new))
        })
    }

    async fn scrub(&self, at: &Endpoint, _: ScrubOrder) -> Result<(), PeerError> {
        self.at(at, |_, _| Ok(()))
    }

    async fn copy_from(&self, at: &Endpoint, chunk: ChunkId, source: Endpoint) -> Result<ChunkStat, PeerError> {
        let from = self.at(&source, |id, server| {
            if server.damaged.contains(&chunk.handle) {
                let cause = Box::new(ChunkError::DamagedOnDisk { handle: chunk.handle, block: 3 });
                return Err(ChunkError::Chain { server: id, cause: ChainFailure::Refused(cause) });
            }
            find(server, chunk.handle).copied()
        })?;
        self.at(at, |_, server| {
            if server.full {
                return Err(ChunkError::NoSpace);
            }
            let stat = ChunkStat { id: chunk, state: ChunkState::Clean, ..from };
            server.copies.insert(chunk.handle, stat);
            server.damaged.retain(|&handle| handle != chunk.handle);
            Ok(stat)
        })
    }

    async fn reconcile(&self, at: &Endpoint, chunk: ChunkId, peers: Vec<Replica>) -> Result<ChunkStat, PeerError> {
        let settle = |server: &mut FakeServer| {
            let stat = find(server, chunk.handle)?;
            stat.state = ChunkState::Clean;
            if !server.lost.contains(&chunk.handle) {
                server.damaged.retain(|&handle| handle != chunk.handle);
            }
            find(server, chunk.handle).copied()
        };
        for peer in peers {
            self.at(&peer.endpoint, |_, server| settle(server))?;
        }
        self.at(at, |_, server| settle(server))
    }
}

pub fn server(n: u128) -> ServerId {
    ServerId(Uuid::from_u128(n))
}

pub fn endpoint_of(server: ServerId) -> Endpoint {
    Endpoint::Tcp { host: "fake".into(), port: server.0.as_u128() as u16 }
}

pub fn registration(server: ServerId) -> Registration {
    Registration {
        server,
        cluster: None,
        name: format!("cs{}", server.0.as_u128()),
        labels: Labels::default(),
        endpoint: endpoint_of(server),
        boot: BootId(1),
        space: Space { total: 100 << 30, free: 90 << 30, used: 10 << 30 },
        version: "0".into(),
    }
}

/// A metaserver's insides, with one client session, and chunkservers 1 to n.
#[derive(Debug)]
pub struct World {
    pub clock: Arc<ManualClock>,
    pub state: Arc<State>,
    pub clients: Arc<Clients>,
    pub cluster: Arc<Cluster>,
    pub peers: Arc<FakePeers>,
    pub session: SessionId,
    seq: Mutex<u64>,
    beats: Mutex<HashMap<ServerId, u64>>,
}

pub const TERM: Duration = Duration::from_secs(15);

impl World {
    pub async fn new(servers: u128, copies: u8) -> Self {
        let clock = Arc::new(ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000)));
        clock.advance(Duration::from_secs(1000));
        let dyn_clock: Arc<dyn Clock> = clock.clone();
        let keyspace = Keyspace::open(MemoryStore::default(), 1 << 20).unwrap();
        let state = State::new(Arc::new(LocalLog::new(keyspace)), dyn_clock.clone()).unwrap();
        let policy = Policy { copies, durability: Default::default(), placement: Default::default() };
        let create =
            Internal::CreateCluster { cluster: ClusterId(Uuid::from_u128(9)), mode: 0o755, uid: 0, gid: 0, policy };
        state.internal(create).await.unwrap();
        let state = Arc::new(State::new(state.into_log(), dyn_clock.clone()).unwrap());
        let clients =
            Arc::new(Clients::new(state.clone(), dyn_clock.clone(), TERM, 1 << 20, Default::default()).unwrap());
        let peers = Arc::new(FakePeers::default());
        let cluster = Arc::new(Cluster {
            state: state.clone(),
            registry: Registry::new(Thresholds::default(), Vec::new(), clock.monotonic()),
            busy: Default::default(),
            orders: Default::default(),
            left: Default::default(),
            repairs: Default::default(),
            damage: Default::default(),
            balance: BalanceSettings { threshold: 5, bytes_per_s: 1 << 30 },
            throttle: Throttle::new(Default::default(), Default::default()),
            accusations: Default::default(),
            peers: peers.clone(),
            clock: dyn_clock,
            placement_reserve: 0,
        });
        let client = ClientInfo { host: "h".into(), mountpoint: "/m".into(), pid: 1, version: "0".into() };
        let session = clients.open(client).await.unwrap();
        let world =
            Self { clock, state, clients, cluster, peers, session, seq: Mutex::new(0), beats: Mutex::default() };
        for n in 1..=servers {
            world.join(server(n)).await;
        }
        world
    }

    /// A chunkserver registers, and reports what its fake holds.
    pub async fn join(&self, server: ServerId) {
        if !self.peers.servers.lock().contains_key(&endpoint_of(server)) {
            self.peers.add(server);
        }
        reports::register(&self.cluster, &registration(server)).await.unwrap();
        let chunks = self.peers.with(server, |fake| fake.copies.values().copied().collect());
        reports::report(&self.cluster, &Report { server, chunks, last: true }).unwrap();
        self.beats.lock().insert(server, 0);
    }

    /// A heartbeat with what changed; answers the copies that are to be deleted.
    pub fn beat(&self, server: ServerId, changes: Vec<ChunkChange>) -> Vec<(ChunkHandle, ChunkVersion)> {
        self.beat_with(server, changes, Vec::new())
    }

    /// The same, with what it says of its disks.
    pub fn beat_with(
        &self,
        server: ServerId,
        changes: Vec<ChunkChange>,
        disks: Vec<DiskStatus>,
    ) -> Vec<(ChunkHandle, ChunkVersion)> {
        let seq = {
            let mut beats = self.beats.lock();
            let seq = beats.entry(server).or_default();
            *seq += 1;
            *seq
        };
        let space = registration(server).space;
        let heartbeat = Heartbeat { server, seq, space, load: 0, changes, disks, scrub: Default::default() };
        let reply = reports::heartbeat(&self.cluster, &heartbeat).unwrap();
        reply.orders.into_iter().flat_map(|Order::Delete(copies)| copies).collect()
    }

    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    pub fn origin(&self) -> Origin {
        let mut seq = self.seq.lock();
        *seq += 1;
        Origin { op: OpId { session: self.session, seq: *seq }, acked: 0 }
    }

    pub async fn mutate(&self, mutation: Mutation, decided: Decided) -> Reply {
        let command = Command::mutation(self.origin(), self.state.wall(), mutation, decided);
        self.state.propose(command).await.unwrap()
    }

    /// A new file in the root directory.
    pub async fn create(&self, name: &str) -> InodeId {
        let inode = self.state.next_inode();
        let create = Mutation::Create {
            parent: InodeId::ROOT,
            name: Name::new(name).unwrap(),
            node: NewNode::File,
            mode: 0o644,
            umask: 0,
            owner: Credentials { uid: 0, gid: 0 },
            exclusive: true,
            open: false,
        };
        self.mutate(create, Decided::Inode(inode)).await;
        inode
    }

    /// A chunk of a new file, of `length` committed bytes, on the given servers, which hold it clean and report it.
    pub async fn chunk_on(&self, name: &str, servers: &[ServerId], length: u32) -> ChunkHandle {
        let inode = self.create(name).await;
        let (index, handle) = (ChunkIndex(0), self.state.next_handle());
        let placement = Placement { index, handle, members: servers.to_vec() };
        let allocate = Mutation::AllocateChunks { inode, first: index, count: 1 };
        self.mutate(allocate, Decided::Chunks(vec![placement])).await;
        if length > 0 {
            let extent = cairn_proto::meta::ChunkExtent { index, handle, length, allocated: length };
            let commit = Mutation::CommitWrite {
                inode,
                size: u64::from(length),
                mtime: self.state.wall(),
                extents: vec![extent],
                kill_suid_sgid: false,
            };
            self.mutate(commit, Decided::Nothing).await;
            for &server in servers {
                let id = ChunkId { handle, version: ChunkVersion::FIRST, inode, index };
                self.hold(
                    server,
                    ChunkStat { id, state: ChunkState::Clean, length, allocated: length, disk: Default::default() },
                );
            }
        }
        handle
    }

    /// A server has a copy, and says so.
    pub fn hold(&self, server: ServerId, stat: ChunkStat) {
        self.peers.with(server, |fake| fake.copies.insert(stat.id.handle, stat));
        self.beat(server, vec![ChunkChange::Now(stat)]);
    }

    pub fn chunk(&self, handle: ChunkHandle) -> Chunk {
        self.cluster.chunk(handle).unwrap().unwrap()
    }
}
