//! The daemon: data directory, store, listeners, reporters; started, served, stopped.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use cairn_proto::chunkserver::{ChunkService, MemberAck};
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
use crate::ground;
use crate::heartbeat::{Myself, OrderQueue, Reporter, Sources, Standing, Unwelcome, carry_out};
use crate::load::Load;
use crate::replication::Replication;
use crate::scrub::{Scrub, ScrubWorker};
use crate::service::Service;
use crate::store::data_dir::{DataDir, DataDirError};
use crate::store::{LoadError, Store, StoreLimits};
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
    #[error("cannot use the disk of the data directory")]
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
    data_dir: Arc<DataDir>,
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
        let (data_dir, store) = open_store(&settings).await?;
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
        Ok(Self { settings, data_dir, store, boot, listener, endpoint, health, standing, health_server })
    }

    /// Who it is: the same at every start on the same directory.
    pub fn id(&self) -> ServerId {
        self.data_dir.server()
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
        let Self { settings, data_dir, store, boot, listener, endpoint, health, standing, health_server } = self;
        let server = data_dir.server();
        tracing::info!(%server, %endpoint, chunks = store.chunk_count(), data = %settings.data_dir.display(), "serving");
        let load = Load::default();
        let (orders, received_orders) = OrderQueue::new();
        let writers = Arc::new(Writers::default());
        let scrub = Scrub::default();
        let scrub_path = data_dir.layout().scrub();
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
            data_dir,
            load: load.clone(),
            orders,
            writers: writers.clone(),
            scrub: scrub.clone(),
            standing,
        };
        let replication = Replication::new(store.clone(), MemberAck { server, boot });
        let service = Service::new(store.clone(), replication, load.clone(), writers, scrub.clone(), shutdown.clone());
        let scrubber =
            ScrubWorker::new(store.clone(), load, scrub, settings.scrub_period, Arc::new(SystemClock), scrub_path);
        // Its pace is its own: it has a time to be done by.
        Workers::new(shutdown.clone()).spawn(scrubber, Pace::Unlimited)?;

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

async fn open_store(settings: &Settings) -> Result<(Arc<DataDir>, Store), RunError> {
    let (root, limits) = (settings.data_dir.clone(), settings.limits);
    let opening = tokio::task::spawn_blocking(move || {
        let data_dir = DataDir::open(&root)?;
        let limits = StoreLimits { open_chunks: affordable(limits.open_chunks), ..limits };
        let (layout, server, cluster) = (data_dir.layout().clone(), data_dir.server(), data_dir.cluster());
        let (store, report) =
            Store::open(ground::disk(&root).map_err(RunError::Disk)?, layout, server, cluster, limits)?;
        tracing::info!(?report, "read the chunks");
        Ok((Arc::new(data_dir), store))
    });
    opening.await.unwrap_or(Err(RunError::Interrupted))
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
