//! Opening one connection to a service. For a handle that survives lost connections see [`Reconnecting`].
//!
//! [`Reconnecting`]: super::Reconnecting

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tarpc::client::{Channel, Config};
use tarpc::{ClientMessage, Response};
use tokio::task::AbortHandle;

use super::endpoint::Endpoint;
use super::error::{ConnectError, ConnectFailure};
use super::framed::Framed;
use super::handshake::{self, PeerKind, Service};
use super::limits::{CLIENT_IN_FLIGHT, CLIENT_QUEUE};
use super::socket::{self, BoxedIo};

/// What tarpc's client runs on.
pub type ClientTransport<Req, Resp> = Framed<BoxedIo, Response<Resp>, ClientMessage<Req>>;

/// Time for name resolution, connecting and the handshake together, unless configured.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How to connect.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The service that is wanted.
    pub service: Service,
    /// What this process is.
    pub us: PeerKind,
    /// For name resolution, connecting and the handshake together.
    pub timeout: Duration,
    /// Requests on the wire at once; further ones wait in this process, their deadlines running.
    pub max_in_flight: usize,
}

impl ConnectOptions {
    pub fn new(service: Service, us: PeerKind) -> Self {
        Self { service, us, timeout: CONNECT_TIMEOUT, max_in_flight: CLIENT_IN_FLIGHT }
    }

    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// Connects and shakes hands.
pub async fn connect<Req, Resp>(
    endpoint: &Endpoint,
    options: &ConnectOptions,
) -> Result<ClientTransport<Req, Resp>, ConnectError> {
    let attempt = async {
        let mut io = socket::open(endpoint).await?;
        handshake::greet(&mut io, options.service, options.us, options.timeout).await?;
        Ok(Framed::new(io))
    };
    let outcome = tokio::time::timeout(options.timeout, attempt).await;
    outcome
        .unwrap_or(Err(ConnectFailure::TimedOut(options.timeout)))
        .map_err(|failure| ConnectError { endpoint: endpoint.clone(), failure })
}

/// Connects, and spawns the task that owns the connection. The handle of the task ends with the connection.
pub async fn connect_channel<Req, Resp>(
    endpoint: &Endpoint,
    options: &ConnectOptions,
) -> Result<(Channel<Req, Resp>, AbortHandle), ConnectError>
where
    Req: tarpc::RequestName + Serialize + Send + 'static,
    Resp: DeserializeOwned + Send + 'static,
{
    let transport = connect::<Req, Resp>(endpoint, options).await?;
    let mut config = Config::default();
    config.max_in_flight_requests = options.max_in_flight;
    config.pending_request_buffer = CLIENT_QUEUE;
    let tarpc::client::NewClient { client, dispatch } = tarpc::client::new(config, transport);
    let (endpoint, service) = (endpoint.clone(), options.service);
    let task = tokio::spawn(async move {
        match dispatch.await {
            Ok(()) => tracing::debug!(%endpoint, %service, "connection closed"),
            // Every caller gets the error with its own call; here it is for the reader of the log only.
            Err(error) => tracing::info!(%endpoint, %service, error = %describe(&error), "connection lost"),
        }
    });
    Ok((client, task.abort_handle()))
}

/// An error and its causes in one line.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
