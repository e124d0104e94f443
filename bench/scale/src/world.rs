//! A metaserver's insides and its simulated chunkservers: the code of the real one, over a log without a disk.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result};
use async_trait::async_trait;
use cairn_metaserver::cluster::balance::BalanceSettings;
use cairn_metaserver::cluster::peers::{PeerError, Peers};
use cairn_metaserver::cluster::registry::Registry;
use cairn_metaserver::cluster::repair::throttle::Throttle;
use cairn_metaserver::cluster::state::Thresholds;
use cairn_metaserver::cluster::{Cluster, reports};
use cairn_metaserver::command::{Command, Internal};
use cairn_metaserver::local_log::LocalLog;
use cairn_metaserver::state::{Log, State};
use cairn_metaserver::store::Keyspace;
use cairn_proto::chunk::{CHUNK_SIZE, ChunkId, Replica};
use cairn_proto::chunkserver::{BlockTable, ChunkStat, VerifyReport};
use cairn_proto::cluster::{Heartbeat, Registration, Space};
use cairn_proto::ids::{BootId, ChunkHandle, ChunkVersion, ClusterId, ServerId, SessionId};
use cairn_proto::policy::Policy;
use cairn_proto::scrub::ScrubOrder;
use cairn_proto::transport::Endpoint;
use cairn_runtime::clock::{Clock, ManualClock};
use uuid::Uuid;

use crate::table::{ChunkTable, SimulatedStore, number, server};

/// How many hosts stand in a rack, and racks in a zone.
pub const HOSTS: u16 = 20;
const RACKS: u16 = 25;
/// Between two heartbeats.
pub const BEAT: Duration = Duration::from_secs(3);
/// Of the metaserver's settings.
const READ_CACHE: usize = 64 << 20;

/// See the module.
#[derive(Debug)]
pub struct World {
    pub cluster: Arc<Cluster>,
    pub clock: Arc<ManualClock>,
    pub table: Arc<ChunkTable>,
    /// Copies on each server, and its size in bytes.
    pub servers: Vec<SimulatedServer>,
    seq: u64,
}

#[derive(Clone, Debug)]
pub struct SimulatedServer {
    pub id: ServerId,
    pub copies: u64,
    pub size: u64,
}

impl SimulatedServer {
    pub fn space(&self) -> Space {
        let used = self.copies * CHUNK_SIZE;
        Space { total: self.size, free: self.size.saturating_sub(used), used }
    }

    /// Part of it that is taken.
    pub fn fill(&self) -> f64 {
        self.space().used as f64 / self.size as f64
    }
}

impl World {
    /// So many servers; every other one is twice as large. `chunks` in `copies` fill about half of all.
    pub async fn new(servers: u16, chunks: u64, copies: u8) -> Result<Self> {
        let clock = Arc::new(ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000)));
        let dyn_clock: Arc<dyn Clock> = clock.clone();
        let table = Arc::new(ChunkTable::new(copies, chunks as usize));
        let keyspace = Keyspace::open(SimulatedStore::new(table.clone()), READ_CACHE)?;
        let log: Arc<dyn Log> = Arc::new(LocalLog::new(keyspace));
        let policy = Policy { copies, durability: Default::default(), placement: Default::default() };
        let create =
            Internal::CreateCluster { cluster: ClusterId(Uuid::from_u128(9)), mode: 0o755, uid: 0, gid: 0, policy };
        log.propose(Command::internal(dyn_clock.wall().into(), create)).await?.context("create the cluster")?;
        let state = Arc::new(State::new(log, dyn_clock.clone())?);
        for _ in 0..chunks {
            state.next_handle();
        }
        let cluster = Arc::new(Cluster {
            state,
            registry: Registry::new(Thresholds::default(), Vec::new(), clock.monotonic()),
            busy: Default::default(),
            orders: Default::default(),
            left: Default::default(),
            repairs: Default::default(),
            damage: Default::default(),
            balance: BalanceSettings { threshold: 5, bytes_per_s: 0 },
            throttle: Throttle::new(Default::default(), Default::default()),
            accusations: Default::default(),
            peers: Arc::new(Nobody),
            clock: dyn_clock,
            placement_reserve: 0,
        });
        // Of a small one and a large one together.
        let pair = 4 * chunks * u64::from(copies) * CHUNK_SIZE / u64::from(servers);
        let size = |n: u16| pair * u64::from(1 + n % 2) / 3;
        let servers = (0..servers).map(|n| SimulatedServer { id: server(n), copies: 0, size: size(n) }).collect();
        Ok(Self { cluster, clock, table, servers, seq: 0 })
    }

    pub async fn register_all(&self) -> Result<()> {
        for simulated in &self.servers {
            let n = number(simulated.id);
            let registration = Registration {
                server: simulated.id,
                cluster: None,
                name: format!("cs{n}"),
                labels: labels(n).parse().context("labels")?,
                endpoint: Endpoint::Tcp { host: format!("cs{n}.example.org"), port: 7410 },
                boot: BootId(1),
                space: simulated.space(),
                version: env!("CARGO_PKG_VERSION").into(),
            };
            reports::register(&self.cluster, &registration).await?;
        }
        Ok(())
    }

    /// A heartbeat of each server that `speaks`, without changes, after the time between two.
    pub fn beat(&mut self, speaks: impl Fn(ServerId) -> bool) -> Result<()> {
        self.clock.advance(BEAT);
        self.seq += 1;
        for simulated in self.servers.iter().filter(|simulated| speaks(simulated.id)) {
            let heartbeat = Heartbeat {
                server: simulated.id,
                seq: self.seq,
                space: simulated.space(),
                load: 0,
                changes: Vec::new(),
                disks: Vec::new(),
                scrub: Default::default(),
            };
            reports::heartbeat(&self.cluster, &heartbeat)?;
        }
        Ok(())
    }
}

/// Where a server stands.
pub fn labels(n: u16) -> String {
    let rack = n / HOSTS;
    format!("zone=z{},rack=r{},host=h{n}", rack / RACKS, rack % RACKS)
}

/// Whether both stand in one rack.
pub fn share_rack(one: u16, other: u16) -> bool {
    one / HOSTS == other / HOSTS
}

/// No chunkserver answers: nothing that is measured waits for one.
#[derive(Debug)]
struct Nobody;

impl Nobody {
    fn silence<T>(at: &Endpoint) -> Result<T, PeerError> {
        Err(PeerError::Unreachable { endpoint: at.clone(), cause: "simulated".into() })
    }
}

#[async_trait]
impl Peers for Nobody {
    async fn identity(&self, at: &Endpoint) -> Result<ServerId, PeerError> {
        Self::silence(at)
    }

    async fn stat(&self, at: &Endpoint, _: ChunkHandle) -> Result<ChunkStat, PeerError> {
        Self::silence(at)
    }

    async fn block_table(&self, at: &Endpoint, _: ChunkHandle) -> Result<BlockTable, PeerError> {
        Self::silence(at)
    }

    async fn verify(&self, at: &Endpoint, _: ChunkHandle) -> Result<VerifyReport, PeerError> {
        Self::silence(at)
    }

    async fn fence(&self, at: &Endpoint, _: ChunkHandle, _: ChunkVersion) -> Result<ChunkStat, PeerError> {
        Self::silence(at)
    }

    async fn fence_sessions(&self, at: &Endpoint, _: Vec<SessionId>) -> Result<(), PeerError> {
        Self::silence(at)
    }

    async fn create(&self, at: &Endpoint, _: ChunkId) -> Result<ChunkStat, PeerError> {
        Self::silence(at)
    }

    async fn scrub(&self, at: &Endpoint, _: ScrubOrder) -> Result<(), PeerError> {
        Self::silence(at)
    }

    async fn copy_from(&self, at: &Endpoint, _: ChunkId, _: Endpoint) -> Result<ChunkStat, PeerError> {
        Self::silence(at)
    }

    async fn reconcile(&self, at: &Endpoint, _: ChunkId, _: Vec<Replica>) -> Result<ChunkStat, PeerError> {
        Self::silence(at)
    }
}
