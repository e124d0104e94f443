//! Keeps one connection to the metaserver with the session open on it.
//!
//! A task of its own connects, opens the session or takes it up again with the inodes that are held open, publishes the
//! connection, and keeps the session alive until the connection ends; then it starts over. Calls wait for what it publishes, and tell it
//! what they found wrong.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_proto::error::FsError;
use cairn_proto::ids::SessionId;
use cairn_proto::lock::MAX_RECLAIMED;
use cairn_proto::meta::{MetaServiceClient, SessionGrant};
use cairn_proto::transport::{Backoff, ConnectError, ConnectOptions, PeerKind, Service, connect};
use tarpc::client::RpcError;
use tarpc::context::Context;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::config::{CALL_DEADLINE, MetaConfig, StartError};
use super::locks::HeldLocks;
use super::opens::Opens;
use super::session::{Established, Session};
use super::term::Term;

/// Wait after a first failure to connect; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(20);
/// Longest wait between two attempts to connect.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Signs of life in one session term.
const BEATS_PER_TERM: u32 = 4;
/// Shortest time between two signs of life.
const SHORTEST_BEAT: Duration = Duration::from_millis(50);
/// Pieces of bad news that wait for the link; more say nothing new.
const DOUBTS: usize = 64;

/// What a call found wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Doubt {
    /// The connection of this epoch is broken.
    Connection(u64),
    /// The metaserver does not know the session.
    Session(SessionId),
}

/// The calls' side of the link.
#[derive(Debug)]
pub(super) struct Link {
    established: watch::Receiver<Option<Established>>,
    doubts: mpsc::Sender<Doubt>,
}

impl Link {
    /// Tries for a first session for as long as the configuration allows, and leaves a task that keeps it.
    pub async fn start(
        config: MetaConfig,
        opens: Arc<Opens>,
        locks: Arc<HeldLocks>,
        term: Arc<Term>,
        stop: CancellationToken,
    ) -> Result<Self, StartError> {
        let (publish, established) = watch::channel(None);
        let (doubts, heard) = mpsc::channel(DOUBTS);
        let mut keeper = Keeper {
            config,
            opens,
            locks,
            term,
            publish,
            doubts: heard,
            stop,
            session: None,
            incarnation: 0,
            epoch: 0,
        };
        let connection = keeper.first_connection().await?;
        tokio::spawn(keeper.run(connection));
        Ok(Self { established, doubts })
    }

    /// A connection with the session open, as soon as there is one; `None` once the link has stopped.
    pub async fn established(&self) -> Option<Established> {
        let mut established = self.established.clone();
        let current = established.wait_for(Option::is_some).await.ok()?;
        (*current).clone()
    }

    /// The same, where it is there now.
    pub fn current(&self) -> Option<Established> {
        self.established.borrow().clone()
    }

    /// Tells `see` whether there is a connection, now and whenever that changes, until the link has stopped.
    pub async fn follow(&self, mut see: impl FnMut(bool)) {
        let mut established = self.established.clone();
        loop {
            see(established.borrow_and_update().is_some());
            if established.changed().await.is_err() {
                return;
            }
        }
    }

    pub fn doubt(&self, doubt: Doubt) {
        // A full queue means that the link is already busy with the same news.
        let _ = self.doubts.try_send(doubt);
    }
}

struct Keeper {
    config: MetaConfig,
    opens: Arc<Opens>,
    locks: Arc<HeldLocks>,
    publish: watch::Sender<Option<Established>>,
    doubts: mpsc::Receiver<Doubt>,
    stop: CancellationToken,
    session: Option<Arc<Session>>,
    /// Of the metaserver that was last connected to.
    incarnation: u64,
    epoch: u64,
    term: Arc<Term>,
}

/// A connection and the task that drives it, which ends with it.
struct Connection {
    rpc: MetaServiceClient,
    driver: JoinHandle<()>,
    abort: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

/// Why an attempt to have a session failed.
enum Failure {
    Connect(ConnectError),
    Call(RpcError),
    Refused(FsError),
}

impl Keeper {
    async fn first_connection(&mut self) -> Result<Connection, StartError> {
        let endpoint = self.config.endpoint.clone();
        let waited = self.config.start_timeout;
        let due = Instant::now() + waited;
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let failure = match self.connect().await {
                Ok(connection) => return Ok(connection),
                Err(failure) => failure,
            };
            let wait = backoff.after_failure();
            let last = Instant::now() + wait >= due;
            match failure {
                Failure::Refused(source) if last || !source.is_transient() => {
                    return Err(StartError::Refused { endpoint, source });
                }
                Failure::Connect(source) if last => return Err(StartError::Unreachable { endpoint, source }),
                Failure::Call(_) if last => return Err(StartError::TimedOut { endpoint, waited }),
                Failure::Refused(_) | Failure::Connect(_) | Failure::Call(_) => tokio::time::sleep(wait).await,
            }
        }
    }

    async fn run(mut self, mut connection: Connection) {
        let stop = self.stop.clone();
        let _ = stop
            .run_until_cancelled(async {
                loop {
                    self.publish(&connection);
                    self.keep(&mut connection).await;
                    self.publish.send_replace(None);
                    drop(connection);
                    connection = self.reconnect().await;
                }
            })
            .await;
        // Dropping the sender tells the waiting calls.
    }

    fn publish(&mut self, connection: &Connection) {
        self.epoch += 1;
        if let Some(session) = self.session.clone() {
            let (rpc, incarnation) = (connection.rpc.clone(), self.incarnation);
            let established = Established { epoch: self.epoch, rpc, session, incarnation };
            self.publish.send_replace(Some(established));
        }
    }

    /// Returns when the connection, or the session, is lost.
    async fn keep(&mut self, connection: &mut Connection) {
        let Some(session) = self.session.clone() else { return };
        let period = (session.term / BEATS_PER_TERM).max(SHORTEST_BEAT);
        let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
        loop {
            tokio::select! {
                _ = &mut connection.driver => return tracing::info!(metaserver = %self.config.endpoint, "connection lost"),
                Some(doubt) = self.doubts.recv() => match doubt {
                    Doubt::Connection(epoch) if epoch == self.epoch => return,
                    Doubt::Session(id) if id == session.id => return,
                    Doubt::Connection(_) | Doubt::Session(_) => {}
                },
                _ = beat.tick() => {
                    let sent = self.term.now();
                    let alive = timed(connection.rpc.keep_alive(context(period), session.id), period).await;
                    match alive {
                        Ok(Ok(())) => self.term.renewed(sent, session.term),
                        Ok(Err(error)) if error.is_transient() => {}
                        Ok(Err(error)) => return tracing::warn!(session = %session.id, %error, "the session is not kept"),
                        Err(error) => return tracing::info!(metaserver = %self.config.endpoint, %error, "no answer to a sign of life"),
                    }
                }
            }
        }
    }

    async fn reconnect(&mut self) -> Connection {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        let mut announced = false;
        loop {
            match self.connect().await {
                Ok(connection) => {
                    if announced {
                        tracing::info!(metaserver = %self.config.endpoint, "connected again");
                    }
                    return connection;
                }
                Err(failure) if !announced => {
                    announced = true;
                    tracing::warn!(metaserver = %self.config.endpoint, %failure, "cannot reach the metaserver; operations wait");
                }
                Err(failure) => tracing::debug!(%failure, "still no metaserver"),
            }
            tokio::time::sleep(backoff.after_failure()).await;
        }
    }

    /// Connects, and opens the session or takes it up again.
    async fn connect(&mut self) -> Result<Connection, Failure> {
        let options = ConnectOptions::new(Service::Meta, PeerKind::Client);
        let transport = connect(&self.config.endpoint, &options).await.map_err(Failure::Connect)?;
        let mut limits = tarpc::client::Config::default();
        limits.max_in_flight_requests = options.max_in_flight;
        let tarpc::client::NewClient { client, dispatch } = MetaServiceClient::new(limits, transport);
        let driver = tokio::spawn(async move {
            if let Err(error) = dispatch.await {
                tracing::debug!(%error, "connection to the metaserver ended");
            }
        });
        let connection = Connection { rpc: client, abort: driver.abort_handle(), driver };
        self.open_session(&connection.rpc).await?;
        Ok(connection)
    }

    async fn open_session(&mut self, rpc: &MetaServiceClient) -> Result<(), Failure> {
        if let Some(session) = &self.session {
            match self.call_open(rpc, Some(session.id)).await {
                Ok(grant) if grant.session == session.id => {
                    self.incarnation = grant.incarnation;
                    return self.reclaim_locks(rpc, grant.session).await;
                }
                Ok(grant) => {
                    self.replace_session(grant);
                    return Ok(());
                }
                Err(Failure::Refused(FsError::SessionUnknown(_))) => {}
                Err(failure) => return Err(failure),
            }
        }
        let grant = self.call_open(rpc, None).await?;
        let session = grant.session;
        self.replace_session(grant);
        // A session holds nothing open when it is new; taking it up says what it should.
        if !self.opens.held().is_empty() {
            self.call_open(rpc, Some(session)).await?;
        }
        Ok(())
    }

    /// The metaserver may have restarted, and lets nobody lock anything before it has heard this.
    async fn reclaim_locks(&self, rpc: &MetaServiceClient, session: SessionId) -> Result<(), Failure> {
        let held = self.locks.all();
        let mut batches = held.chunks(MAX_RECLAIMED).peekable();
        loop {
            let batch = batches.next().unwrap_or_default().to_vec();
            let last = batches.peek().is_none();
            let call = rpc.reclaim_locks(context(CALL_DEADLINE), session, batch, last);
            match timed(call, CALL_DEADLINE).await.map_err(Failure::Call)? {
                Ok(()) => {}
                Err(FsError::Stale(inode)) => {
                    tracing::error!(%inode, "a lock that a program held was given to somebody else meanwhile");
                }
                Err(refusal) => return Err(Failure::Refused(refusal)),
            }
            if last {
                return Ok(());
            }
        }
    }

    /// Opens a session, or takes one up; in either case it has a term from now on.
    async fn call_open(&self, rpc: &MetaServiceClient, resume: Option<SessionId>) -> Result<SessionGrant, Failure> {
        let open = if resume.is_some() { self.opens.held() } else { Vec::new() };
        let sent = self.term.now();
        let call = rpc.open_session(context(CALL_DEADLINE), self.config.info.clone(), resume, open);
        let grant = timed(call, CALL_DEADLINE).await.map_err(Failure::Call)?.map_err(Failure::Refused)?;
        if resume.is_none() {
            self.term.begun(grant.session);
        }
        self.term.renewed(sent, Duration::from_millis(grant.term_ms));
        Ok(grant)
    }

    fn replace_session(&mut self, grant: SessionGrant) {
        self.incarnation = grant.incarnation;
        let session = Session::from(grant);
        match &self.session {
            Some(old) => tracing::warn!(
                old = %old.id,
                new = %session.id,
                "the metaserver gave the session up: files that were open and unlinked are gone, mutations under way may fail"
            ),
            None => tracing::info!(session = %session.id, cluster = %session.cluster, "session opened"),
        }
        let lost = self.locks.lose();
        if lost > 0 {
            tracing::error!(
                locks = lost,
                "locks of programs were lost with the session: others may have them now; what was open when they were cannot be written to any more (EIO)"
            );
        }
        self.session = Some(Arc::new(session));
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "{error}: {}", error.failure),
            Self::Call(error) => error.fmt(f),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

/// A tarpc context that ends in `deadline`.
pub(super) fn context(deadline: Duration) -> Context {
    let mut context = tarpc::context::current();
    context.deadline = Instant::now() + deadline;
    context
}

/// tarpc watches a deadline only once the request has reached the connection's task, which it may not while the peer does not
/// read; hence the time-out around all of it.
pub(super) async fn timed<T>(
    call: impl Future<Output = Result<T, RpcError>>,
    deadline: Duration,
) -> Result<T, RpcError> {
    tokio::time::timeout(deadline, call).await.unwrap_or(Err(RpcError::DeadlineExceeded))
}
