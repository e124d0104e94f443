//! The serving end: accepts connections, shakes hands, and runs the requests of each connection side by side.
//!
//! A request runs on the task of its connection up to its first wait, and as a task of its own from there on. So a handler
//! answers from memory at once, and lets others have a turn (`yield_now`, `spawn_blocking`) before work that takes longer
//! than some tens of microseconds.
//!
//! Whatever a peer sends ends at most its own connection. A request whose deadline passes, whose caller cancels it (by
//! dropping its future) or whose connection breaks is dropped at its next await: a handler that must not stop half way
//! spawns that part.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, SinkExt, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tarpc::context::Context;
use tarpc::server::{BaseChannel, Channel, Config, serve};
use tarpc::{ChannelError, ClientMessage, RequestName, Response, ServerError};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::describe;
use super::error::TransportError;
use super::framed::Framed;
use super::handshake::{self, HandshakeError, PeerKind, Service, Verdict};
use super::limits::{CLIENT_IN_FLIGHT, SERVER_QUEUE};
use super::listener::Listener;
use super::requests::RequestCounters;
use super::socket::BoxedIo;

/// Pause after a failed `accept`, which mostly means that the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a server allows.
#[derive(Clone, Debug)]
pub struct ServerLimits {
    /// Connections at once; further ones are turned down with a clear answer.
    pub connections: usize,
    /// Requests in flight on one connection; further ones are turned down.
    pub requests_per_connection: usize,
    /// For a client to say hello.
    pub handshake_timeout: Duration,
    /// For requests in flight to finish when the server stops.
    pub drain_timeout: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            requests_per_connection: CLIENT_IN_FLIGHT,
            handshake_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Serves one connection until it ends, or until the token is cancelled and its requests are answered.
type Handler =
    Arc<dyn Fn(BoxedIo, String, Arc<RequestCounters>, CancellationToken) -> BoxFuture<'static, ()> + Send + Sync>;

/// One or more services behind one or more listeners.
#[derive(Clone)]
pub struct Server {
    us: PeerKind,
    limits: ServerLimits,
    services: HashMap<Service, Handler>,
    connections: Arc<Semaphore>,
    counters: Arc<RequestCounters>,
}

impl Server {
    pub fn new(us: PeerKind, limits: ServerLimits) -> Self {
        let connections = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
        Self { us, limits, services: HashMap::new(), connections, counters: Arc::default() }
    }

    /// Counts requests there, where others can read them.
    pub fn counting(mut self, counters: Arc<RequestCounters>) -> Self {
        self.counters = counters;
        self
    }

    /// Offers `service`. For a tarpc service: `.with(Service::Chunk, move |context, request|
    /// handler.clone().serve().serve(context, request))`.
    pub fn with<Req, Resp, F, Fut>(mut self, service: Service, handler: F) -> Self
    where
        Req: RequestName + DeserializeOwned + Send + 'static,
        Resp: Serialize + Send + 'static,
        F: Fn(Context, Req) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Resp, ServerError>> + Send + 'static,
    {
        let in_flight = self.limits.requests_per_connection;
        let connection: Handler = Arc::new(move |io, peer, counters, stop| {
            serve_connection(io, service, peer, in_flight, handler.clone(), counters, stop).boxed()
        });
        self.services.insert(service, connection);
        self
    }

    /// Accepts connections until `stop` is cancelled; then answers the requests in flight, for at most the drain time.
    pub async fn run(self, listener: Listener, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let abandon = CancellationToken::new();
        let _abandon_on_drop = abandon.clone().drop_guard();
        let endpoint = listener.endpoint().clone();
        let server = Arc::new(self);
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((io, peer)) => server.clone().admit(io, peer, &tasks, &stop, &abandon),
                Err(error) => {
                    tracing::warn!(%endpoint, %error, "cannot accept connections");
                    stop.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await;
                }
            }
        }
        drop(listener);
        tasks.close();
        if tokio::time::timeout(server.limits.drain_timeout, tasks.wait()).await.is_err() {
            tracing::warn!(%endpoint, connections = tasks.len(), "requests still in flight are abandoned");
            abandon.cancel();
            tasks.wait().await;
        }
    }

    /// Gives a new connection its task, or turns it down.
    fn admit(
        self: Arc<Self>,
        mut io: BoxedIo,
        peer: String,
        tasks: &TaskTracker,
        stop: &CancellationToken,
        abandon: &CancellationToken,
    ) {
        let Ok(permit) = self.connections.clone().try_acquire_owned() else {
            tracing::warn!(peer, limit = self.limits.connections, "connection turned down: too many");
            // Sixteen bytes always fit into the buffer of a fresh socket, so this need not be waited for.
            let _ = handshake::turn_down(&mut io, self.us, Verdict::Busy).now_or_never();
            return;
        };
        let (stop, abandon) = (stop.clone(), abandon.clone());
        tasks.spawn(async move {
            let _permit = permit;
            abandon.run_until_cancelled(self.serve(io, peer, stop)).await;
        });
    }

    async fn serve(&self, mut io: BoxedIo, peer: String, stop: CancellationToken) {
        let offered: Vec<Service> = self.services.keys().copied().collect();
        let hello = handshake::receive(&mut io, &offered, self.us, self.limits.handshake_timeout);
        let service = match stop.run_until_cancelled(hello).await {
            Some(Ok(service)) => service,
            // A port scan or a load balancer's probe, most of the time.
            Some(Err(HandshakeError::Closed)) => return tracing::debug!(peer, "closed before its hello"),
            Some(Err(error)) => return tracing::warn!(peer, %error, "handshake failed"),
            None => {
                let _ = handshake::turn_down(&mut io, self.us, Verdict::Stopping).now_or_never();
                return;
            }
        };
        if let Some(handler) = self.services.get(&service) {
            handler(io, peer, self.counters.clone(), stop).await;
        }
    }
}

async fn serve_connection<Req, Resp, F, Fut>(
    io: BoxedIo,
    service: Service,
    peer: String,
    max_in_flight: usize,
    handler: F,
    counters: Arc<RequestCounters>,
    stop: CancellationToken,
) where
    Req: RequestName + DeserializeOwned + Send + 'static,
    Resp: Serialize + Send + 'static,
    F: Fn(Context, Req) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<Resp, ServerError>> + Send + 'static,
{
    tracing::debug!(peer, %service, "connected");
    let guarded = move |context, request: Req| {
        let (handler, in_flight) = (handler.clone(), counters.begin(request.name()));
        async move {
            let answer = AssertUnwindSafe(async move { handler(context, request).await });
            let result = answer.catch_unwind().await.unwrap_or_else(|_| Err(after_panic()));
            match result {
                Ok(_) => in_flight.answered(),
                Err(_) => in_flight.failed(),
            }
            result
        }
    };
    // Once `stop` is cancelled no more is read, which makes tarpc answer what it has and end the stream.
    let transport = Framed::<_, ClientMessage<Req>, Response<Resp>>::new(io).take_until(stop.cancelled_owned());
    let channel = BaseChannel::new(Config { pending_response_buffer: SERVER_QUEUE }, transport);
    let mut requests = pin!(channel.max_concurrent_requests(max_in_flight).requests());
    while let Some(request) = requests.next().await {
        match request {
            Ok(request) => {
                // What can be answered from memory is answered here and now: a third less time per call than by way of
                // another task.
                let mut request = Box::pin(request.execute(serve(guarded.clone())));
                if futures::poll!(&mut request).is_pending() {
                    tokio::spawn(request);
                }
            }
            Err(error) if was_lost(&error) => {
                return tracing::info!(peer, %service, error = %describe(&error), "connection lost");
            }
            Err(error) => return tracing::warn!(peer, %service, error = %describe(&error), "connection dropped"),
        }
    }
    let _ = requests.as_mut().channel_pin_mut().close().await;
    tracing::debug!(peer, %service, "disconnected");
}

/// The panic hook has logged it; the caller gets an answer, and the connection goes on.
fn after_panic() -> ServerError {
    ServerError::new(io::ErrorKind::Other, "the server panicked while it handled the request".to_owned())
}

/// Whether the peer or the network went away, as they do; anything else is a peer that does not keep to the protocol.
fn was_lost(error: &ChannelError<TransportError>) -> bool {
    match error {
        ChannelError::Read(cause) => matches!(**cause, TransportError::Io(_) | TransportError::Truncated),
        ChannelError::Ready(_) | ChannelError::Write(_) | ChannelError::Flush(_) | ChannelError::Close(_) => true,
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("us", &self.us)
            .field("limits", &self.limits)
            .field("services", &self.services.keys())
            .finish_non_exhaustive()
    }
}
