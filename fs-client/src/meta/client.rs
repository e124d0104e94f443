//! The handle on the session, and its beginning and end.

use std::sync::Arc;
use std::time::Duration;

use cairn_proto::error::FsError;
use cairn_proto::ids::{ClusterId, SessionId};
use cairn_proto::meta::{MetaServiceClient, Mutation, MutationReply, NamedMutation};
use parking_lot::Mutex;
use tarpc::client::RpcError;
use tarpc::context::Context;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::config::{MetaConfig, StartError};
use super::error::MetaError;
use super::link::Link;
use super::locks::HeldLocks;
use super::opens::{Opens, RELEASE_DELAY};
use super::ops::Ticket;
use super::outage::Outage;
use super::retry::{Attempt, Limits, Patience};
use super::term::Term;

/// The metaserver, as the rest of the client sees it.
///
/// Every method waits until the metaserver has answered, across lost connections and restarts; see [`MetaError`] for what ends
/// the wait otherwise. Mutations are done once, however often they had to be sent.
#[derive(Debug)]
pub struct MetaClient {
    pub(super) config: MetaConfig,
    pub(super) opens: Arc<Opens>,
    pub(super) locks: Arc<HeldLocks>,
    term: Arc<Term>,
    link: Link,
    outage: Outage,
    stop: CancellationToken,
    releases: Mutex<Option<JoinHandle<()>>>,
}

/// Why a session did not end in good order. The metaserver ends it by itself after its term.
#[derive(Debug, thiserror::Error)]
#[error("the session was not closed in good order")]
pub struct CloseError(#[source] pub MetaError);

impl MetaClient {
    /// Opens a session.
    pub async fn start(config: MetaConfig) -> Result<Arc<Self>, StartError> {
        let stop = CancellationToken::new();
        let opens = Arc::new(Opens::default());
        let locks = Arc::new(HeldLocks::default());
        let term = Arc::new(Term::default());
        let link = Link::start(config.clone(), opens.clone(), locks.clone(), term.clone(), stop.clone()).await?;
        let (outage, releases) = (Outage::default(), Mutex::default());
        let client = Arc::new(Self { config, opens, locks, term, link, outage, stop, releases });
        tokio::spawn(watch_connection(client.clone()));
        let task = tokio::spawn(release_in_background(client.clone()));
        *client.releases.lock() = Some(task);
        Ok(client)
    }

    /// For how long what the session has been granted is to be relied on.
    pub fn term(&self) -> &Arc<Term> {
        &self.term
    }

    /// The cluster that the session is with, where there is a connection.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.link.current().map(|established| established.session.cluster)
    }

    /// Tells `see` whether the session has a connection, now and whenever that changes, until the client is closed.
    pub async fn follow_connection(&self, see: impl FnMut(bool)) {
        self.link.follow(see).await;
    }

    /// The session, where there is a connection.
    pub fn session(&self) -> Option<SessionId> {
        self.link.current().map(|established| established.session.id)
    }

    /// Ends the session of a client that is known to be dead, so that nobody waits for what it had for itself. Asks once: the metaserver
    /// ends it by itself after its term.
    pub async fn bury(&self, session: SessionId) -> Result<(), MetaError> {
        self.close_once(&mut self.patience("close_session"), session).await
    }

    /// Since when the metaserver is away, if it is.
    pub fn outage(&self) -> &Outage {
        &self.outage
    }

    /// How long a call may wait for the metaserver. `None`: for as long as it takes.
    pub fn timeout(&self) -> Option<Duration> {
        self.config.timeout
    }

    /// Ends the session in good order, within `limit`; afterwards, or when it runs out, every call fails with
    /// [`MetaError::Stopping`].
    pub async fn close(&self, limit: Duration) -> Result<(), CloseError> {
        let releases = self.releases.lock().take();
        if let Some(task) = releases {
            task.abort();
            let _ = task.await;
        }
        let goodbye = async {
            self.release_all().await?;
            self.close_session().await
        };
        let timed_out = || MetaError::TimedOut { endpoint: self.config.endpoint.clone(), waited: limit };
        let result = tokio::time::timeout(limit, goodbye).await.unwrap_or_else(|_| Err(timed_out()));
        self.stop.cancel();
        result.map_err(CloseError)
    }

    /// Makes every call fail from now on, those under way included.
    pub fn abandon(&self) {
        self.stop.cancel();
    }

    /// A query, or anything else that may be done twice.
    pub(super) async fn query<T, F, Fut>(&self, asked: &'static str, mut call: F) -> Result<T, MetaError>
    where
        F: FnMut(MetaServiceClient, Context) -> Fut,
        Fut: Future<Output = Result<Result<T, FsError>, RpcError>>,
    {
        let mut patience = self.patience(asked);
        loop {
            let over = patience.established().await?;
            if let Attempt::Done(value) = patience.attempt(&over, &mut call).await? {
                return Ok(value);
            }
        }
    }

    /// A mutation, done once.
    pub(super) async fn mutate(&self, asked: &'static str, mutation: Mutation) -> Result<MutationReply, MetaError> {
        self.mutate_in_session(asked, mutation).await.map(|(_, reply)| reply)
    }

    /// The same, with the session in which it was done.
    pub(super) async fn mutate_in_session(
        &self,
        asked: &'static str,
        mutation: Mutation,
    ) -> Result<(SessionId, MutationReply), MetaError> {
        let mut patience = self.patience(asked);
        let mut named: Option<Ticket> = None;
        loop {
            let over = patience.established().await?;
            if is_of_data(&mutation) && !self.term.is_written_in(over.session.id) {
                return Err(MetaError::SessionLost);
            }
            let in_doubt = named.is_some();
            let ticket = match named.take() {
                Some(ticket) if ticket.op().session == over.session.id => ticket,
                // A new session does not know the name, and nobody can tell any more whether the old one did it.
                Some(_) => return Err(MetaError::SessionLost),
                None => over.session.ops.open().await,
            };
            let ops = vec![NamedMutation { op: ticket.op(), mutation: mutation.clone(), ahead: None }];
            let acked = over.session.ops.acked();
            let call = async |rpc: MetaServiceClient, context| {
                let results = rpc.mutate(context, ops, acked).await?;
                Ok(results.and_then(|mut results| results.pop().unwrap_or(Err(FsError::InvalidArgument))))
            };
            match patience.attempt(&over, call).await? {
                Attempt::Done(reply) => return Ok((over.session.id, reply)),
                // Refused for now, and never in doubt: it may take a new name, and so does not hold the window up.
                Attempt::NotDone if !in_doubt => {}
                Attempt::NotDone | Attempt::InDoubt => named = Some(ticket),
            }
        }
    }

    /// Several mutations in one call, each on its own. For what nobody waits for: transient refusals are not retried.
    pub(super) async fn mutate_batch(&self, asked: &'static str, mutations: &[Mutation]) -> Result<(), MetaError> {
        let mut patience = self.patience(asked);
        let over = patience.established().await?;
        let mut tickets = Vec::with_capacity(mutations.len());
        for _ in mutations {
            tickets.push(over.session.ops.open().await);
        }
        let acked = over.session.ops.acked();
        let named = |(ticket, mutation): (&Ticket, &Mutation)| NamedMutation {
            op: ticket.op(),
            mutation: mutation.clone(),
            ahead: None,
        };
        loop {
            let ops: Vec<NamedMutation> = tickets.iter().zip(mutations).map(named).collect();
            let call = async |rpc: MetaServiceClient, context| rpc.mutate(context, ops, acked).await;
            if let Attempt::Done(_) = patience.attempt(&over, call).await? {
                return Ok(());
            }
            if patience.established().await?.session.id != over.session.id {
                return Err(MetaError::SessionLost);
            }
        }
    }

    pub(super) fn unexpected(&self, asked: &'static str) -> MetaError {
        MetaError::Unexpected { endpoint: self.config.endpoint.clone(), asked }
    }

    /// The session that calls are made in now.
    pub(super) async fn with_session<T, F, Fut>(&self, asked: &'static str, mut call: F) -> Result<T, MetaError>
    where
        F: FnMut(MetaServiceClient, Context, SessionId) -> Fut,
        Fut: Future<Output = Result<Result<T, FsError>, RpcError>>,
    {
        let mut patience = self.patience(asked);
        loop {
            let over = patience.established().await?;
            let session = over.session.id;
            if let Attempt::Done(value) = patience.attempt(&over, |rpc, context| call(rpc, context, session)).await? {
                return Ok(value);
            }
        }
    }

    async fn release_all(&self) -> Result<(), MetaError> {
        loop {
            let batch = self.opens.take_batch();
            if batch.is_empty() {
                return Ok(());
            }
            self.with_session("release", |rpc, context, session| {
                let batch = batch.clone();
                async move { rpc.release(context, session, batch).await }
            })
            .await?;
        }
    }

    async fn close_session(&self) -> Result<(), MetaError> {
        let mut patience = self.patience("close_session");
        let session = patience.established().await?.session.id;
        self.close_once(&mut patience, session).await
    }

    /// A session that is gone needs no closing, so this asks once where the others ask again.
    async fn close_once(&self, patience: &mut Patience<'_>, session: SessionId) -> Result<(), MetaError> {
        let over = patience.established().await?;
        patience
            .attempt(&over, async |rpc: MetaServiceClient, context| rpc.close_session(context, session).await)
            .await?;
        Ok(())
    }

    pub(super) fn patience(&self, asked: &'static str) -> Patience<'_> {
        let limits = Limits { stop: &self.stop, outage: &self.outage, timeout: self.config.timeout };
        Patience::new(&self.link, &self.config.endpoint, limits, asked)
    }
}

/// Whether it is about bytes that programs have written, which belong to the session in which they were.
fn is_of_data(mutation: &Mutation) -> bool {
    matches!(
        mutation,
        Mutation::AllocateChunks { .. }
            | Mutation::CommitWrite { .. }
            | Mutation::ReplaceFailed { .. }
            | Mutation::ClearTrim { .. }
    )
}

/// Keeps account of outages until the client is closed.
async fn watch_connection(client: Arc<MetaClient>) {
    client.follow_connection(|connected| client.outage.connected(connected)).await;
}

/// Sends releases in batches until the client is closed.
async fn release_in_background(client: Arc<MetaClient>) {
    loop {
        client.opens.due().await;
        tokio::time::sleep(RELEASE_DELAY).await;
        if let Err(error) = client.release_all().await {
            if error == MetaError::Stopping {
                return;
            }
            // Taking the session up again says which files are still open.
            tracing::debug!(%error, "files were not released at the metaserver");
        }
    }
}
