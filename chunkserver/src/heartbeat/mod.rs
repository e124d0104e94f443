//! What this server tells the metaservers: who it is, every chunk it holds, and from then on what changes.
//!
//! One [`Reporter`] for each metaserver, independent of each other. It registers, reports everything in pages, and sends a
//! heartbeat at every interval with what has changed since the last one that was answered. Where the metaserver does not
//! know it any more, it begins anew. Nothing is lost in between: the feed of changes is emptied before the full report is
//! taken, and what a heartbeat has taken out of it is sent until it is answered.

mod orders;
mod standing;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_proto::cluster::{
    ClusterError, ClusterServiceClient, ClusterServiceRequest, ClusterServiceResponse, Heartbeat, HeartbeatReply,
    MAX_REPORT_CHUNKS, Registered, Registration, Report,
};
use cairn_proto::ids::{BootId, ServerId};
use cairn_proto::labels::Labels;
use cairn_proto::transport::{Backoff, ConnectOptions, Endpoint, PeerKind, Reconnecting, Service};
use tarpc::client::RpcError;
use tarpc::context::Context;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::load::Load;
use crate::scrub::Scrub;
use crate::store::Store;
use crate::store::changes::Feed;
use crate::store::data_dir::{DataDirError, DataDirs};
use crate::writers::Writers;

pub use orders::{OrderQueue, carry_out};
pub use standing::Standing;

/// For a metaserver to answer.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// For a metaserver to take note that this server stops.
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);
/// Wait after a first failure; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// For another process with this server's identity to go away: the one that this one replaces may still be stopping.
const DUPLICATE_PATIENCE: Duration = Duration::from_secs(30);

/// Why this server cannot be a part of the cluster: for an operator to resolve.
#[derive(Debug, thiserror::Error)]
pub enum Unwelcome {
    #[error("metaserver {metaserver}: {reason}")]
    Refused { metaserver: Endpoint, reason: ClusterError },
    #[error("metaserver {metaserver}")]
    DataDir { metaserver: Endpoint, source: DataDirError },
}

/// Who this server is, to every metaserver alike.
#[derive(Clone, Debug)]
pub struct Myself {
    pub server: ServerId,
    pub name: String,
    pub labels: Labels,
    pub endpoint: Endpoint,
    pub boot: BootId,
    /// Where not as the metaserver says.
    pub heartbeat: Option<Duration>,
}

/// What the reporters of all metaservers share.
#[derive(Clone, Debug)]
pub struct Sources {
    pub myself: Myself,
    pub store: Store,
    pub data_dirs: Arc<DataDirs>,
    pub load: Load,
    pub orders: OrderQueue,
    pub writers: Arc<Writers>,
    pub scrub: Scrub,
    pub standing: Standing,
}

/// Keeps one metaserver up to date.
#[derive(Debug)]
pub struct Reporter {
    metaserver: Endpoint,
    client: ClusterServiceClient<Reconnecting<ClusterServiceRequest, ClusterServiceResponse>>,
    sources: Sources,
    feed: Arc<Feed>,
}

/// What an answer means for what comes next.
enum Outcome<T> {
    Done(T),
    /// Not now. What is wrong, for people.
    Again(String),
    /// The metaserver does not know this server.
    Unknown,
}

impl Reporter {
    pub fn new(metaserver: Endpoint, sources: Sources) -> Self {
        let options = ConnectOptions::new(Service::Cluster, PeerKind::Chunkserver);
        let client = ClusterServiceClient::from(Reconnecting::new(metaserver.clone(), options));
        let feed = sources.store.subscribe();
        Self { metaserver, client, sources, feed }
    }

    /// Reports until `stop` is cancelled, or until the metaserver turns this server down for good.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Unwelcome> {
        match stop.run_until_cancelled(self.report_for_ever()).await {
            Some(Err(unwelcome)) => Err(unwelcome),
            Some(Ok(never)) => match never {},
            None => {
                let goodbye = self.client.goodbye(within(GOODBYE_LIMIT), self.sources.myself.server).await;
                tracing::debug!(metaserver = %self.metaserver, ?goodbye, "said goodbye");
                Ok(())
            }
        }
    }

    async fn report_for_ever(&self) -> Result<Infallible, Unwelcome> {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let registered = self.register().await?;
            match self.report_all().await {
                Outcome::Done(chunks) => {
                    backoff.reset();
                    tracing::info!(metaserver = %self.metaserver, cluster = %registered.cluster, chunks, "registered");
                    self.sources.standing.up(&self.metaserver);
                    self.send_heartbeats(&registered).await;
                    tracing::info!(metaserver = %self.metaserver, "not known there any more, registering anew");
                    self.sources.standing.down(&self.metaserver, "not registered");
                }
                Outcome::Unknown => tokio::time::sleep(backoff.after_failure()).await,
                Outcome::Again(why) => {
                    self.sources.standing.down(&self.metaserver, &why);
                    tokio::time::sleep(backoff.after_failure()).await;
                }
            }
        }
    }

    /// Registers, however long that takes.
    async fn register(&self) -> Result<Registered, Unwelcome> {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        let began = Instant::now();
        loop {
            let why = match self.client.register(within(CALL_LIMIT), self.registration()).await {
                Ok(Ok(registered)) => {
                    self.join(&registered)?;
                    return Ok(registered);
                }
                Ok(Err(reason @ ClusterError::ForeignCluster { .. })) => return Err(self.refused(reason)),
                Ok(Err(reason @ ClusterError::DuplicateServer { .. })) if began.elapsed() > DUPLICATE_PATIENCE => {
                    return Err(self.refused(reason));
                }
                Ok(Err(reason)) => reason.to_string(),
                Err(error) => describe(&error),
            };
            self.sources.standing.down(&self.metaserver, &why);
            tokio::time::sleep(backoff.after_failure()).await;
        }
    }

    fn refused(&self, reason: ClusterError) -> Unwelcome {
        Unwelcome::Refused { metaserver: self.metaserver.clone(), reason }
    }

    fn registration(&self) -> Registration {
        let Myself { server, name, labels, endpoint, boot, heartbeat: _ } = self.sources.myself.clone();
        let cluster = self.sources.data_dirs.cluster();
        Registration {
            server,
            cluster,
            name,
            labels,
            endpoint,
            boot,
            space: self.sources.store.space(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// The directory first, then the store: no chunk is made for a cluster that the directory does not know of.
    fn join(&self, registered: &Registered) -> Result<(), Unwelcome> {
        let joined = self.sources.data_dirs.join(registered.cluster);
        joined.map_err(|source| Unwelcome::DataDir { metaserver: self.metaserver.clone(), source })?;
        self.sources.store.join(registered.cluster, registered.next_chunk);
        self.sources.writers.registered(registered.sessions.clone());
        Ok(())
    }

    /// Reports every chunk, in pages. Returns how many there are.
    async fn report_all(&self) -> Outcome<usize> {
        let chunks = self.sources.store.begin_report(&self.feed);
        let server = self.sources.myself.server;
        let mut rest = chunks.as_slice();
        loop {
            let (page, behind) = rest.split_at(rest.len().min(MAX_REPORT_CHUNKS));
            rest = behind;
            let last = rest.is_empty();
            let report = Report { server, chunks: page.to_vec(), last };
            match sort(self.client.report(within(CALL_LIMIT), report).await) {
                Outcome::Done(()) if last => return Outcome::Done(chunks.len()),
                Outcome::Done(()) => {}
                Outcome::Again(why) => return Outcome::Again(why),
                Outcome::Unknown => return Outcome::Unknown,
            }
        }
    }

    /// Returns when the metaserver does not know this server any more.
    async fn send_heartbeats(&self, registered: &Registered) {
        let told = Duration::from_millis(registered.heartbeat_ms.max(1));
        let mut ticks = tokio::time::interval(self.sources.myself.heartbeat.unwrap_or(told));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for seq in 1.. {
            let changes = self.sources.store.take_changes(&self.feed, MAX_REPORT_CHUNKS);
            if changes.len() < MAX_REPORT_CHUNKS {
                ticks.tick().await;
            }
            let (server, load) = (self.sources.myself.server, self.sources.load.now());
            let (space, disks) = (self.sources.store.space(), self.sources.store.disks());
            let scrub = self.sources.scrub.status();
            match self.send(Heartbeat { server, seq, space, load, changes, disks, scrub }).await {
                Some(HeartbeatReply { orders }) => self.sources.orders.put(orders),
                None => return,
            }
        }
    }

    /// Sends a heartbeat until it is answered; `None` where this server is not known.
    async fn send(&self, heartbeat: Heartbeat) -> Option<HeartbeatReply> {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            match sort(self.client.heartbeat(within(CALL_LIMIT), heartbeat.clone()).await) {
                Outcome::Done(reply) => {
                    self.sources.standing.up(&self.metaserver);
                    return Some(reply);
                }
                Outcome::Unknown => return None,
                Outcome::Again(why) => {
                    self.sources.standing.down(&self.metaserver, &why);
                    tokio::time::sleep(backoff.after_failure()).await;
                }
            }
        }
    }
}

fn sort<T>(answer: Result<Result<T, ClusterError>, RpcError>) -> Outcome<T> {
    match answer {
        Ok(Ok(answer)) => Outcome::Done(answer),
        Ok(Err(ClusterError::NotReady)) => Outcome::Again(ClusterError::NotReady.to_string()),
        // Registering anew is the answer to all of them: it says for sure.
        Ok(Err(
            ClusterError::UnknownServer(_) | ClusterError::ForeignCluster { .. } | ClusterError::DuplicateServer { .. },
        )) => Outcome::Unknown,
        Err(error) => Outcome::Again(describe(&error)),
    }
}

fn within(limit: Duration) -> Context {
    let mut context = tarpc::context::current();
    context.deadline = Instant::now() + limit;
    context
}

fn describe(error: &RpcError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
