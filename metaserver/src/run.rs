//! The daemon put together: open, serve, stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cairn_proto::admin::AdminService;
use cairn_proto::cluster::ClusterService;
use cairn_proto::error::FsError;
use cairn_proto::ids::{ClusterId, ServerId};
use cairn_proto::meta::MetaService;
use cairn_proto::time::Timestamp;
use cairn_proto::transport::{Endpoint, Listener, PeerKind, Server, ServerLimits, Service};
use cairn_runtime::clock::{Clock, SystemClock};
use cairn_runtime::health::{Condition, Health, HealthServer};
use cairn_runtime::shutdown::Shutdown;
use cairn_runtime::worker::{NameTaken, Pace, Workers};
use thiserror::Error;

use crate::Moment;
use crate::attention::Attention;
use crate::cluster::Cluster;
use crate::cluster::balance::BalanceWorker;
use crate::cluster::garbage::GarbageWorker;
use crate::cluster::left::LeftWorker;
use crate::cluster::orders::Orders;
use crate::cluster::peers::RemotePeers;
use crate::cluster::reconcile::ReconcileWorker;
use crate::cluster::registry::Registry;
use crate::cluster::repair::census::{Census, CensusWorker};
use crate::cluster::repair::throttle::Throttle;
use crate::cluster::repair::worker::RepairWorker;
use crate::cluster::server::Known;
use crate::cluster::state::Thresholds;
use crate::command::{Command, Internal};
use crate::config::{ConfigProblem, MetaserverConfig, NewCluster, Settings};
use crate::namespace::query;
use crate::namespace::server::Server as KnownServer;
use crate::node_log::{NamespaceMachine, NodeLog};
use crate::raft::{MetaNode, NodeConfig, OpenError};
use crate::room::{Room, RoomWorker};
use crate::service::{AdminFace, ClusterFace, MetaFace, Shared};
use crate::session::Clients;
use crate::session::crowding::CrowdingWorker;
use crate::session::expiry::ExpiryWorker;
use crate::session::reaper::Reaper;
use crate::session::trash::TrashWorker;
use crate::state::{Log, State, refusal};
use crate::store::StoreError;

/// For requests in flight and units of background work to end when the metaserver stops.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Chunks that the census looks at in a second.
const CENSUS_PACE: Pace = Pace::PerSecond(100_000);

/// Why a metaserver did not start.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("configuration: {0}")]
    Config(#[from] ConfigProblem),
    #[error("cannot open the metadata: {0}")]
    Open(#[from] OpenError),
    #[error("cannot read the metadata: {0}")]
    Metadata(#[from] FsError),
    #[error("cannot listen at {endpoint}: {source}")]
    Listen { endpoint: Endpoint, source: io::Error },
    #[error("cannot answer health checks at {address}: {source}")]
    Health { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Worker(#[from] NameTaken),
}

/// Why a metaserver ended otherwise than asked to.
#[derive(Debug, Error)]
pub enum RunError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the metadata cannot be kept any more: {0}")]
    Failed(String),
    #[error("the metadata were not left in good order (the next start takes longer): {0}")]
    Stop(#[from] StoreError),
}

/// Runs a metaserver until `shutdown` is triggered, or it cannot go on.
pub async fn run(config: MetaserverConfig, shutdown: Shutdown) -> Result<(), RunError> {
    let server = Metaserver::start(config).await?;
    let reason = tokio::select! {
        () = shutdown.stopping() => None,
        reason = server.failed() => Some(reason),
    };
    let stopped = server.shutdown().await;
    match reason {
        Some(reason) => Err(RunError::Failed(reason)),
        None => Ok(stopped?),
    }
}

/// A running metaserver. Dropped, it stops as by a crash: nothing acknowledged is lost, but [`Metaserver::shutdown`] makes the next
/// start a quick one.
#[derive(Debug)]
pub struct Metaserver {
    endpoint: Endpoint,
    health_addr: Option<SocketAddr>,
    id: ClusterId,
    node: MetaNode,
    shutdown: Shutdown,
    serving: Condition,
}

impl Metaserver {
    /// Opens the metadata, or makes a new cluster where there are none, and serves. Returns once it does.
    pub async fn start(config: MetaserverConfig) -> Result<Self, StartError> {
        let settings = config.check()?;
        let shutdown = Shutdown::new();
        // Whatever was spawned ends when this function fails half way.
        let stop_on_failure = shutdown.token().drop_guard();
        let health = Health::new();
        let serving = health.condition("metadata");
        let health_addr = serve_health(&settings, health, &shutdown).await?;
        let node = MetaNode::open(node_config(&settings), Arc::new(NamespaceMachine)).await?;
        let clock: Arc<dyn Clock> = Arc::new(Attention::new(Arc::new(SystemClock)));
        let log = NodeLog { node: node.clone() };
        let id = ensure_cluster(&log, &*clock, settings.new_cluster).await?;
        let workers = Workers::new(shutdown.clone());
        let shared = assemble(&settings, &shutdown, id, log, clock, workers.clone())?;
        let endpoint = serve(&settings, shared.clone(), &shutdown).await?;
        node.spawn_workers(&workers)?;
        spawn_workers(&settings, &shared, &workers)?;
        serving.set_ready();
        tracing::info!(cluster = %id, %endpoint, dir = %settings.data_dir.display(), "metaserver serves");
        stop_on_failure.disarm();
        Ok(Self { endpoint, health_addr, id, node, shutdown, serving })
    }

    /// Where clients and chunkservers reach it.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Where it answers health checks, if it does.
    pub fn health_addr(&self) -> Option<SocketAddr> {
        self.health_addr
    }

    pub fn cluster(&self) -> ClusterId {
        self.id
    }

    /// Resolves, with the reason, when it cannot go on and has to be stopped.
    pub async fn failed(&self) -> String {
        let reason = self.node.failed().await;
        self.serving.set_not_ready(&reason);
        tracing::error!(reason, "the metaserver cannot go on");
        reason
    }

    /// Stops in good order: answers what is in flight, ends background work, leaves the state on disk.
    pub async fn shutdown(self) -> Result<(), StoreError> {
        self.serving.set_not_ready("stopping");
        if let Err(late) = self.shutdown.finish(STOP_LIMIT).await {
            tracing::warn!(%late, "stopping all the same");
        }
        self.node.shutdown().await?;
        tracing::info!("metaserver stopped");
        Ok(())
    }
}

impl Drop for Metaserver {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

fn node_config(settings: &Settings) -> NodeConfig {
    let mut config = NodeConfig::new(&settings.data_dir);
    config.reserve_bytes = settings.reserve / 2;
    config.checkpoint_every = settings.checkpoint_every;
    config
}

/// The id of the cluster that the metadata belong to. New metadata become a new cluster.
async fn ensure_cluster(log: &NodeLog, clock: &dyn Clock, new: NewCluster) -> Result<ClusterId, FsError> {
    let known = query::cluster(&log.keyspace().view()).map_err(|error| refusal(error.into()))?;
    if let Some(cluster) = known {
        return Ok(cluster.id);
    }
    let cluster = ClusterId::random();
    let NewCluster { policy, root_mode: mode, root_uid: uid, root_gid: gid } = new;
    let create = Internal::CreateCluster { cluster, mode, uid, gid, policy };
    log.propose(Command::internal(clock.wall().into(), create)).await??;
    tracing::info!(%cluster, copies = policy.copies, "a new cluster");
    Ok(cluster)
}

fn assemble(
    settings: &Settings,
    shutdown: &Shutdown,
    id: ClusterId,
    log: NodeLog,
    clock: Arc<dyn Clock>,
    workers: Workers,
) -> Result<Arc<Shared>, StartError> {
    let state = State::new(Arc::new(log), clock.clone()).map_err(|error| refusal(error.into()))?;
    let state = Arc::new(state);
    let known = state.read(query::servers)?;
    let registry = registry_of(known, settings.thresholds, state.wall(), clock.monotonic());
    let clients = Arc::new(Clients::new(
        state.clone(),
        clock.clone(),
        settings.session_term,
        settings.max_leases,
        shutdown.token(),
    )?);
    let cluster = Arc::new(Cluster {
        state: state.clone(),
        registry,
        busy: Arc::default(),
        orders: Orders::new(settings.garbage_grace),
        left: Default::default(),
        repairs: Default::default(),
        damage: Default::default(),
        balance: settings.balance,
        throttle: Throttle::new(settings.repair.limits, state.read(query::tunables)?),
        accusations: Default::default(),
        peers: Arc::new(RemotePeers::default()),
        clock,
        placement_reserve: settings.placement_reserve,
    });
    let (census, room) = (Arc::<Census>::default(), Arc::<Room>::default());
    let (requests, heartbeat) = (Arc::default(), settings.heartbeat);
    Ok(Arc::new(Shared { id, state, clients, cluster, census, room, workers, requests, heartbeat }))
}

/// The servers that registered with earlier runs; `wall` and `now` are the same moment.
fn registry_of(known: Vec<(ServerId, KnownServer)>, thresholds: Thresholds, wall: Timestamp, now: Moment) -> Registry {
    let modes: Vec<_> = known.iter().map(|(id, server)| (*id, server.mode)).collect();
    let known = known.into_iter().map(|(server, KnownServer { name, endpoint, labels, mode: _ })| Known {
        server,
        name,
        endpoint,
        labels,
    });
    let registry = Registry::new(thresholds, known.collect(), now);
    for (server, mode) in modes {
        registry.set_mode(server, mode, wall, now);
    }
    registry
}

/// Answers health checks from now on, also while the metadata are still being opened.
async fn serve_health(
    settings: &Settings,
    health: Health,
    shutdown: &Shutdown,
) -> Result<Option<SocketAddr>, StartError> {
    let Some(address) = settings.health_listen else { return Ok(None) };
    let server = HealthServer::bind(address).await.map_err(|source| StartError::Health { address, source })?;
    let bound = server.address();
    let stop = shutdown.token();
    shutdown.spawn(async move {
        if let Err(error) = server.run(health, stop).await {
            tracing::error!(%error, "health checks are answered no more");
        }
    });
    Ok(Some(bound))
}

/// Serves, and answers where.
async fn serve(settings: &Settings, shared: Arc<Shared>, shutdown: &Shutdown) -> Result<Endpoint, StartError> {
    let endpoint = settings.listen.clone();
    let listener = Listener::bind(&endpoint).await.map_err(|source| StartError::Listen { endpoint, source })?;
    let endpoint = settings.advertise.clone().unwrap_or_else(|| listener.endpoint().clone());
    let requests = shared.requests.clone();
    let (meta, cluster, admin) = (MetaFace(shared.clone()), ClusterFace(shared.clone()), AdminFace(shared));
    let server = Server::new(PeerKind::Metaserver, ServerLimits::default())
        .counting(requests)
        .with(Service::Meta, move |context, request| serve_one(meta.clone().serve(), context, request))
        .with(Service::Cluster, move |context, request| serve_one(cluster.clone().serve(), context, request))
        .with(Service::Admin, move |context, request| serve_one(admin.clone().serve(), context, request));
    shutdown.spawn(server.run(listener, shutdown.token()));
    Ok(endpoint)
}

/// Lets one of the generated services answer a request.
async fn serve_one<S: tarpc::server::Serve>(
    service: S,
    context: tarpc::context::Context,
    request: S::Req,
) -> Result<S::Resp, tarpc::ServerError> {
    service.serve(context, request).await
}

fn spawn_workers(settings: &Settings, shared: &Shared, workers: &Workers) -> Result<(), NameTaken> {
    let Shared { state, clients, cluster, census, room, .. } = shared;
    let room = RoomWorker::new(room.clone(), settings.data_dir.clone(), settings.reserve);
    workers.spawn(room, Pace::Unlimited)?;
    workers.spawn(ExpiryWorker::new(clients.clone(), cluster.clone()), Pace::Unlimited)?;
    workers.spawn(CrowdingWorker::new(clients.clone()), Pace::Unlimited)?;
    workers.spawn(Reaper::new(state.clone(), clients.clone()), Pace::Unlimited)?;
    workers.spawn(TrashWorker::new(state.clone()), Pace::Unlimited)?;
    workers.spawn(GarbageWorker::new(cluster.clone()), Pace::Unlimited)?;
    workers.spawn(LeftWorker::new(cluster.clone()), CENSUS_PACE)?;
    workers.spawn(BalanceWorker::new(cluster.clone()), Pace::Unlimited)?;
    let reconcile = ReconcileWorker::new(cluster.clone(), clients.clone(), settings.reconcile_after);
    workers.spawn(reconcile, Pace::Unlimited)?;
    let repair = settings.repair;
    workers.spawn(CensusWorker::new(cluster.clone(), census.clone(), repair.census_interval), CENSUS_PACE)?;
    for number in 1..=repair.concurrency {
        // Its pace is that of the throttle.
        workers.spawn(RepairWorker::new(cluster.clone(), number), Pace::Unlimited)?;
    }
    Ok(())
}
