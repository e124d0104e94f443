//! The daemon: data directories, store, listeners, reporters; started, served, stopped.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use cairn_proto::chunkserver::{ChunkService, MemberAck};
use cairn_proto::disk::DiskState;
use cairn_proto::ids::{BootId, ServerId};
use cairn_proto::transport::{
    Endpoint, Listener, PeerKind, RequestCounters, Server, ServerLimits, Service as WireService,
};
use cairn_runtime::clock::SystemClock;
use cairn_runtime::health::{Health, HealthServer};
use cairn_runtime::shutdown::Shutdown;
use cairn_runtime::worker::{NameTaken, Pace, Workers};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tarpc::server::Serve;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{ChunkserverConfig, ConfigProblem, Settings};
use crate::disks::DiskWatch;
use crate::ground;
use crate::heartbeat::{Myself, OrderQueue, Reporter, Sources, Standing, Unwelcome, carry_out};
use crate::load::Load;
use crate::replication::Replication;
use crate::scrub::{Scrub, ScrubWorker};
use crate::service::Service;
use crate::store::data_dir::{DataDirError, DataDirs, DiskDir};
use crate::store::{LoadError, Place, Store, StoreLimits};
use crate::writers::Writers;

/// Requests in flight on one connection. Each may hold a piece of a megabyte.
const MAX_REQUESTS_PER_CONNECTION: usize = 1024;
/// File descriptors for everything but chunks: connections, above all.
const OTHER_DESCRIPTORS: u64 = 512;

/// Why a chunkserver does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Config(#[from] ConfigProblem),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("cannot listen at {endpoint}")]
    Listen { endpoint: Endpoint, source: io::Error },
    #[error("cannot answer for health at {address}")]
    Health { address: SocketAddr, source: io::Error },
    #[error("cannot learn which boot of the kernel this is")]
    Boot(#[source] io::Error),
    #[error("cannot use the disk of a data directory")]
    Disk(#[source] io::Error),
    #[error(transparent)]
    Unwelcome(#[from] Unwelcome),
    #[error("opening the store was interrupted")]
    Interrupted,
    #[error(transparent)]
    Worker(#[from] NameTaken),
}

/// Starts and serves until `shutdown`. See [`Chunkserver`] for the two in turn.
pub async fn run(config: ChunkserverConfig, shutdown: Shutdown) -> Result<(), RunError> {
    Chunkserver::start(config).await?.serve(shutdown).await
}

/// A chunkserver whose data are open and whose sockets are bound, but that does not answer yet.
#[derive(Debug)]
pub struct Chunkserver {
    settings: Settings,
    data_dirs: Arc<DataDirs>,
    store: Store,
    boot: BootId,
    listener: Listener,
    /// What others are told.
    endpoint: Endpoint,
    health: Health,
    standing: Standing,
    health_server: Option<HealthServer>,
}

impl Chunkserver {
    pub async fn start(config: ChunkserverConfig) -> Result<Self, RunError> {
        let settings = config.check()?;
        let boot = ground::boot().map_err(RunError::Boot)?;
        let (data_dirs, store) = open_store(&settings).await?;
        // What was acknowledged and not synced may have been on a disk that failed, and is not known to be kept when that one comes back.
        let boot = BootId(boot.0 ^ u128::from(data_dirs.generation()));
        let listener = Listener::bind(&settings.listen).await;
        let listener = listener.map_err(|source| RunError::Listen { endpoint: settings.listen.clone(), source })?;
        let health_server = match settings.health_listen {
            Some(address) => {
                let bound = HealthServer::bind(address).await;
                Some(bound.map_err(|source| RunError::Health { address, source })?)
            }
            None => None,
        };
        let endpoint = settings.told_endpoint(listener.endpoint());
        let health = Health::new();
        let standing = Standing::new(health.condition("registered"));
        Ok(Self { settings, data_dirs, store, boot, listener, endpoint, health, standing, health_server })
    }

    /// Who it is: the same at every start on the same directories.
    pub fn id(&self) -> ServerId {
        self.data_dirs.server()
    }

    /// Where others reach it, with the real port.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health_server.as_ref().map(HealthServer::address)
    }

    /// Its conditions, for a process that answers for its health itself.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Serves until `shutdown` is triggered and the requests in flight are answered. Triggers it itself where the cluster
    /// does not want this server.
    pub async fn serve(self, shutdown: Shutdown) -> Result<(), RunError> {
        let Self { settings, data_dirs, store, boot, listener, endpoint, health, standing, health_server } = self;
        let server = data_dirs.server();
        let data: Vec<_> = settings.data_dirs.iter().map(|dir| dir.display().to_string()).collect();
        tracing::info!(%server, %endpoint, chunks = store.chunk_count(), data = data.join(", "), "serving");
        let load = Load::default();
        let (orders, received_orders) = OrderQueue::new();
        let writers = Arc::new(Writers::default());
        let scrub = Scrub::default();
        let sources = Sources {
            myself: Myself {
                server,
                name: settings.name,
                labels: settings.labels,
                endpoint,
                boot,
                heartbeat: settings.heartbeat,
            },
            store: store.clone(),
            data_dirs: data_dirs.clone(),
            load: load.clone(),
            orders,
            writers: writers.clone(),
            scrub: scrub.clone(),
            standing,
        };
        let replication = Replication::new(store.clone(), MemberAck { server, boot });
        let service = Service::new(store.clone(), replication, load.clone(), writers, scrub.clone(), shutdown.clone());
        let scrubber = ScrubWorker::new(store.clone(), load, scrub, settings.scrub_period, Arc::new(SystemClock));
        let workers = Workers::new(shutdown.clone());
        // Its pace is its own: it has a time to be done by.
        workers.spawn(scrubber, Pace::Unlimited)?;
        for disk in store.disk_numbers() {
            workers.spawn(DiskWatch::new(store.clone(), &data_dirs, disk), Pace::Unlimited)?;
        }

        let health_stop = CancellationToken::new();
        let _health_stops_last = health_stop.clone().drop_guard();
        let requests = Arc::<RequestCounters>::default();
        health.page("stats", {
            let requests = requests.clone();
            move || requests.counts()
        });
        if let Some(health_server) = health_server {
            shutdown.spawn(health_server.run(health, health_stop));
        }
        shutdown.spawn(carry_out(store, received_orders, shutdown.token()));
        let mut reporters = JoinSet::new();
        for metaserver in settings.metaservers {
            reporters.spawn(Reporter::new(metaserver, sources.clone()).run(shutdown.token()));
        }
        let limits = ServerLimits { requests_per_connection: MAX_REQUESTS_PER_CONNECTION, ..ServerLimits::default() };
        let wire = Server::new(PeerKind::Chunkserver, limits)
            .counting(requests)
            .with(WireService::Chunk, move |context, request| service.clone().serve().serve(context, request));
        let serving = wire.run(listener, shutdown.token());
        let (welcome, ()) = tokio::join!(watch(reporters, &shutdown), serving);
        tracing::info!(%server, "stopped");
        Ok(welcome?)
    }
}

/// Waits for the reporters, and stops everything where one is turned down.
async fn watch(mut reporters: JoinSet<Result<(), Unwelcome>>, shutdown: &Shutdown) -> Result<(), Unwelcome> {
    let mut welcome = Ok(());
    while let Some(ended) = reporters.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(unwelcome)) => {
                shutdown.trigger();
                welcome = Err(unwelcome);
            }
            Err(error) => {
                tracing::error!(%error, "a reporter ended");
                shutdown.trigger();
            }
        }
    }
    welcome
}

async fn open_store(settings: &Settings) -> Result<(Arc<DataDirs>, Store), RunError> {
    let (roots, limits) = (settings.data_dirs.clone(), settings.limits);
    let opening = tokio::task::spawn_blocking(move || {
        let data_dirs = DataDirs::open(&roots)?;
        let limits = StoreLimits { open_chunks: affordable(limits.open_chunks), ..limits };
        let places = data_dirs.dirs().iter().map(place).collect::<Result<_, _>>()?;
        let (store, report) = Store::open(places, data_dirs.server(), data_dirs.cluster(), limits)?;
        tracing::info!(?report, "read the chunks");
        report_failed(&data_dirs, &store);
        Ok((Arc::new(data_dirs), store))
    });
    opening.await.unwrap_or(Err(RunError::Interrupted))
}

fn place(dir: &DiskDir) -> Result<Place, RunError> {
    let DiskDir { disk: id, layout, generation, failed, .. } = dir;
    let (id, layout, generation) = (*id, layout.clone(), *generation);
    match ground::disk(layout.root()) {
        Ok(disk) => Ok(Place { disk, id, layout, generation, failed: failed.clone() }),
        Err(source) => Err(RunError::Disk(source)),
    }
}

/// Says which disks the server starts without.
fn report_failed(data_dirs: &DataDirs, store: &Store) {
    let dirs = data_dirs.dirs().iter().enumerate();
    for ((number, dir), status) in dirs.zip(store.disks()).filter(|(_, status)| status.state == DiskState::Failed) {
        // Not known before: its chunks could not be read.
        if dir.failed.is_none() {
            data_dirs.gone(number);
        }
        let (path, why) = (dir.layout.root().display(), status.why.unwrap_or_default());
        tracing::error!(%path, disk = %dir.disk, why, "starting without a disk: what was on it is repaired elsewhere");
    }
}

/// How many chunks may be open, as far as the limit on file descriptors goes; raises that as far as allowed.
fn affordable(wanted: NonZeroUsize) -> NonZeroUsize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return wanted };
    let needed = wanted.get() as u64 + OTHER_DESCRIPTORS;
    let raised = soft >= needed || setrlimit(Resource::RLIMIT_NOFILE, needed.min(hard), hard).is_ok();
    let available = if raised { needed.min(hard.max(soft)) } else { soft };
    let chunks = NonZeroUsize::new(available.saturating_sub(OTHER_DESCRIPTORS) as usize);
    let chunks = chunks.unwrap_or(NonZeroUsize::MIN).min(wanted);
    if chunks < wanted {
        tracing::warn!(%wanted, %chunks, descriptors = available, "fewer chunks are kept open than configured: raise the limit on open files");
    }
    chunks
}
