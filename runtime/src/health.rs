//! `/healthz` and `/readyz` over HTTP, for service managers, load balancers and people; and pages of figures beside them.
//!
//! Alive means that the process answers. Ready means that every named condition of the daemon holds; those that do not
//! are listed with their reasons.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What a condition says before its owner has said anything.
const STARTING: &str = "starting";

/// What a page shows at the moment.
type Show = Arc<dyn Fn() -> Response + Send + Sync>;

/// The conditions of a daemon, and its pages; clones are the same.
#[derive(Clone, Default)]
pub struct Health {
    conditions: Arc<Mutex<BTreeMap<String, Option<String>>>>,
    pages: Arc<Mutex<BTreeMap<&'static str, Show>>>,
}

/// One thing that has to hold for the daemon to be ready. Belongs to whoever knows.
#[derive(Clone, Debug)]
pub struct Condition {
    name: String,
    health: Health,
}

/// Whether a daemon is ready, and what stands in the way; the body of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    pub ready: bool,
    /// Condition → why it does not hold.
    pub reasons: BTreeMap<String, String>,
}

impl Health {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition, which does not hold until it is [set](Condition::set_ready).
    pub fn condition(&self, name: impl Into<String>) -> Condition {
        let condition = Condition { name: name.into(), health: self.clone() };
        condition.set_not_ready(STARTING);
        condition
    }

    /// Answers `/name` with what `show` says at the moment, as JSON.
    pub fn page<T: Serialize>(&self, name: &'static str, show: impl Fn() -> T + Send + Sync + 'static) {
        let show: Show = Arc::new(move || Json(show()).into_response());
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).insert(name, show);
    }

    pub fn readiness(&self) -> Readiness {
        let conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        let reasons: BTreeMap<_, _> =
            conditions.iter().filter_map(|(name, reason)| Some((name.clone(), reason.clone()?))).collect();
        Readiness { ready: reasons.is_empty(), reasons }
    }
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health").field("readiness", &self.readiness()).finish_non_exhaustive()
    }
}

impl Condition {
    pub fn set_ready(&self) {
        self.set(None);
    }

    /// `reason` is for people: what is wrong, with the ids that it concerns.
    pub fn set_not_ready(&self, reason: impl Into<String>) {
        self.set(Some(reason.into()));
    }

    fn set(&self, reason: Option<String>) {
        let mut conditions = self.health.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        conditions.insert(self.name.clone(), reason);
    }
}

/// The HTTP server, bound but not yet answering.
#[derive(Debug)]
pub struct HealthServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl HealthServer {
    /// Port 0 takes a free port, to be read from [`HealthServer::address`].
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is cancelled. While a daemon drains, it is better to keep this running, and to say so by a
    /// condition.
    pub async fn run(self, health: Health, stop: CancellationToken) -> io::Result<()> {
        axum::serve(self.listener, routes(health)).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

/// The routes, for daemons that have an HTTP server of their own.
pub fn routes(health: Health) -> Router {
    let routes = Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz));
    routes.route("/{page}", get(page)).with_state(health)
}

async fn healthz() -> &'static str {
    "alive\n"
}

async fn readyz(State(health): State<Health>) -> (StatusCode, Json<Readiness>) {
    let readiness = health.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness))
}

async fn page(State(health): State<Health>, Path(name): Path<String>) -> Response {
    let show = health.pages.lock().unwrap_or_else(PoisonError::into_inner).get(name.as_str()).cloned();
    show.map_or_else(|| StatusCode::NOT_FOUND.into_response(), |show| show())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    /// Status and body of a GET.
    async fn fetch(address: SocketAddr, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    #[tokio::test]
    async fn answers_for_its_conditions() {
        let server = HealthServer::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.address();
        assert_ne!(address.port(), 0);
        let health = Health::new();
        let stop = CancellationToken::new();
        let running = tokio::spawn(server.run(health.clone(), stop.clone()));

        assert_eq!(fetch(address, "/healthz").await, (200, "alive\n".to_owned()));
        assert_eq!(fetch(address, "/readyz").await, (200, r#"{"ready":true,"reasons":{}}"#.to_owned()));

        let log = health.condition("log");
        let registered = health.condition("registered");
        registered.set_not_ready("metaserver 10.0.0.1:7000 does not answer");
        let reasons = r#"{"log":"starting","registered":"metaserver 10.0.0.1:7000 does not answer"}"#;
        let expected = format!(r#"{{"ready":false,"reasons":{reasons}}}"#);
        assert_eq!(fetch(address, "/readyz").await, (503, expected));
        assert_eq!(fetch(address, "/healthz").await.0, 200);

        log.set_ready();
        registered.set_ready();
        assert_eq!(fetch(address, "/readyz").await.0, 200);
        assert_eq!(fetch(address, "/").await.0, 404);
        assert_eq!(fetch(address, "/stats").await.0, 404);
        health.page("stats", || BTreeMap::from([("reads", 7)]));
        assert_eq!(fetch(address, "/stats").await, (200, r#"{"reads":7}"#.to_owned()));

        stop.cancel();
        running.await.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
