//! A client's lasting handle on a service: connects when it is first used, and again after the connection was lost.
//!
//! It does not repeat requests: whether that is safe is for the caller to know (see [`CallFailure`]).
//!
//! [`CallFailure`]: super::CallFailure

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tarpc::RequestName;
use tarpc::client::stub::Stub;
use tarpc::client::{Channel, RpcError};
use tarpc::context::Context;
use tokio::task::AbortHandle;

use super::backoff::Backoff;
use super::client::{ConnectOptions, connect_channel};
use super::endpoint::Endpoint;
use super::error::{CallFailure, ConnectError, ConnectFailure, classify};

/// Wait after a first failed attempt to connect; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(20);

/// Longest wait between two attempts to connect.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// A tarpc stub that (re)connects as needed. Clones share one connection.
///
/// `MetaServiceClient::from(Reconnecting::new(…))` is a client with all the methods of the service. There is one attempt to
/// connect at a time; after a failed one, calls fail at once until the back-off has passed. A call never outlives its
/// deadline, wherever it waits. A connection is given up when a call on it fails in a way that only a new one can mend.
pub struct Reconnecting<Req, Resp> {
    shared: Arc<Shared<Req, Resp>>,
}

struct Shared<Req, Resp> {
    endpoint: Endpoint,
    options: ConnectOptions,
    current: Mutex<Option<Connection<Req, Resp>>>,
    /// Held during an attempt to connect.
    attempts: tokio::sync::Mutex<Attempts>,
}

struct Connection<Req, Resp> {
    channel: Channel<Req, Resp>,
    task: AbortHandle,
}

struct Attempts {
    backoff: Backoff,
    /// The last failure and when the next attempt is due.
    failed: Option<(ConnectFailure, Instant)>,
}

impl<Req, Resp> Reconnecting<Req, Resp> {
    /// Does not connect yet.
    pub fn new(endpoint: Endpoint, options: ConnectOptions) -> Self {
        let attempts = Attempts { backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT), failed: None };
        let shared = Shared { endpoint, options, current: Mutex::default(), attempts: attempts.into() };
        Self { shared: Arc::new(shared) }
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.shared.endpoint
    }

    /// Whether there is a connection that is not known to be broken.
    pub fn is_connected(&self) -> bool {
        self.live().is_some()
    }

    /// Gives the connection up: its calls fail as lost, the next call connects anew.
    pub fn disconnect(&self) {
        if let Some(connection) = self.lock().take() {
            connection.task.abort();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Connection<Req, Resp>>> {
        self.shared.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self) -> Option<Connection<Req, Resp>> {
        self.lock().as_ref().filter(|connection| !connection.task.is_finished()).cloned()
    }

    /// Forgets `broken`, unless a newer connection has taken its place.
    fn forget(&self, broken: &AbortHandle) {
        let mut current = self.lock();
        if current.as_ref().is_some_and(|connection| connection.task.id() == broken.id()) {
            *current = None;
            broken.abort();
        }
    }
}

impl<Req, Resp> Reconnecting<Req, Resp>
where
    Req: RequestName + Serialize + Send + 'static,
    Resp: DeserializeOwned + Send + 'static,
{
    /// Makes sure that there is a connection, without calling anything.
    pub async fn connect(&self) -> Result<(), ConnectError> {
        self.connection().await.map(|_| ())
    }

    async fn connection(&self) -> Result<Connection<Req, Resp>, ConnectError> {
        if let Some(connection) = self.live() {
            return Ok(connection);
        }
        let mut attempts = self.shared.attempts.lock().await;
        // Whoever held the lock before us may have connected.
        if let Some(connection) = self.live() {
            return Ok(connection);
        }
        attempts.check_due(&self.shared.endpoint)?;
        match connect_channel(&self.shared.endpoint, &self.shared.options).await {
            Ok((channel, task)) => {
                attempts.succeeded();
                let connection = Connection { channel, task };
                *self.lock() = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                attempts.failed(&error);
                Err(error)
            }
        }
    }

    async fn call_unbounded(&self, context: Context, request: Req) -> Result<Resp, RpcError> {
        let connection = self.connection().await.map_err(|error| RpcError::Send(Box::new(error)))?;
        let result = connection.channel.call(context, request).await;
        if let Err(error) = &result {
            match classify(error) {
                CallFailure::Lost | CallFailure::NotSent => self.forget(&connection.task),
                CallFailure::Unsendable | CallFailure::TimedOut | CallFailure::Refused => {}
            }
        }
        result
    }
}

impl<Req, Resp> Stub for Reconnecting<Req, Resp>
where
    Req: RequestName + Serialize + Send + 'static,
    Resp: DeserializeOwned + Send + 'static,
{
    type Req = Req;
    type Resp = Resp;

    /// tarpc starts to watch a deadline only once the request has reached the connection's task, which it may not while
    /// the peer does not read; hence the time-out around all of it.
    async fn call(&self, context: Context, request: Req) -> Result<Resp, RpcError> {
        let deadline = tokio::time::Instant::from_std(context.deadline);
        let call = self.call_unbounded(context, request);
        tokio::time::timeout_at(deadline, call).await.unwrap_or(Err(RpcError::DeadlineExceeded))
    }
}

impl Attempts {
    fn check_due(&self, endpoint: &Endpoint) -> Result<(), ConnectError> {
        let Some((last, due)) = &self.failed else { return Ok(()) };
        let retry_in = due.saturating_duration_since(Instant::now());
        if retry_in.is_zero() {
            return Ok(());
        }
        let failure = ConnectFailure::BackingOff { retry_in, last: last.to_string() };
        Err(ConnectError { endpoint: endpoint.clone(), failure })
    }

    fn failed(&mut self, error: &ConnectError) {
        let wait = self.backoff.after_failure();
        // Once per streak: the callers have the rest.
        if self.failed.is_none() {
            tracing::info!(%error, "will try again when needed");
        }
        self.failed = Some((error.failure.clone(), Instant::now() + wait));
    }

    fn succeeded(&mut self) {
        self.backoff.reset();
        self.failed = None;
    }
}

impl<Req, Resp> Clone for Reconnecting<Req, Resp> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<Req, Resp> Clone for Connection<Req, Resp> {
    fn clone(&self) -> Self {
        Self { channel: self.channel.clone(), task: self.task.clone() }
    }
}

impl<Req, Resp> fmt::Debug for Reconnecting<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnecting")
            .field("endpoint", &self.shared.endpoint)
            .field("service", &self.shared.options.service)
            .field("connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}
