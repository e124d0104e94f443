//! A tarpc service over real sockets: calls, limits, shutdown, and coming back after a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tarpc::client::RpcError;
use tarpc::context::{self, Context};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::super::{
    CallFailure, ConnectOptions, Endpoint, Listener, MAX_PAYLOAD_BYTES, Payload, PeerKind, Reconnecting,
    RequestCounters, RequestCounts, Server, ServerLimits, Service, classify,
};

#[tarpc::service]
trait Toy {
    /// Returns the parts in reverse order.
    async fn reverse(parts: Vec<Payload>) -> Vec<Payload>;
    /// Returns that many zeros.
    async fn zeros(bytes: u32) -> Payload;
    /// Returns after a while.
    async fn sleep(millis: u64) -> ();
    /// Has a bug, at once or after a wait.
    async fn panic(wait: bool) -> ();
}

#[derive(Clone, Default)]
struct ToyServer {
    finished: Arc<AtomicUsize>,
}

impl Toy for ToyServer {
    async fn reverse(self, _: Context, mut parts: Vec<Payload>) -> Vec<Payload> {
        parts.reverse();
        parts
    }

    async fn zeros(self, _: Context, bytes: u32) -> Payload {
        vec![0; bytes as usize].into()
    }

    async fn sleep(self, _: Context, millis: u64) {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        self.finished.fetch_add(1, Ordering::Relaxed);
    }

    async fn panic(self, _: Context, wait: bool) {
        if wait {
            tokio::task::yield_now().await;
        }
        panic!("a bug in a handler");
    }
}

type Stub = Reconnecting<ToyRequest, ToyResponse>;

struct Running {
    endpoint: Endpoint,
    stop: CancellationToken,
    task: JoinHandle<()>,
    toy: ToyServer,
    counters: Arc<RequestCounters>,
}

impl Running {
    async fn start(endpoint: &Endpoint, limits: ServerLimits) -> Self {
        let listener = Listener::bind(endpoint).await.unwrap();
        let toy = ToyServer::default();
        let handler = toy.clone();
        let counters = Arc::<RequestCounters>::default();
        let server = Server::new(PeerKind::Chunkserver, limits)
            .with(Service::Chunk, move |context, request| {
                tarpc::server::Serve::serve(handler.clone().serve(), context, request)
            })
            .counting(counters.clone());
        let stop = CancellationToken::new();
        let endpoint = listener.endpoint().clone();
        let task = tokio::spawn(server.run(listener, stop.clone()));
        Self { endpoint, stop, task, toy, counters }
    }

    async fn start_tcp() -> Self {
        Self::start(&any_port(), ServerLimits::default()).await
    }

    fn stub(&self) -> Stub {
        Stub::new(self.endpoint.clone(), options())
    }

    /// What was counted of one call.
    fn counts(&self, name: &str) -> Option<RequestCounts> {
        self.counters.counts().into_iter().find(|counts| counts.name == name)
    }

    async fn until_in_flight(&self, name: &str, wanted: u64) {
        let waited = async {
            while self.counts(name).is_none_or(|counts| counts.in_flight != wanted) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), waited).await.unwrap();
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

fn any_port() -> Endpoint {
    "127.0.0.1:0".parse().unwrap()
}

fn options() -> ConnectOptions {
    ConnectOptions::new(Service::Chunk, PeerKind::Client)
}

fn within(limit: Duration) -> Context {
    let mut context = context::current();
    context.deadline = Instant::now() + limit;
    context
}

async fn roundtrips(client: &ToyClient<Stub>) {
    for size in [0, 1, 4096, 100_000, 1 << 20, 4 << 20] {
        let parts: Vec<Payload> = vec![vec![1; size].into(), vec![2; size / 2].into(), vec![].into()];
        let mut expected = parts.clone();
        expected.reverse();
        assert!(client.reverse(context::current(), parts).await.unwrap() == expected, "{size} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_over_tcp() {
    let server = Running::start_tcp().await;
    let client = ToyClient::from(server.stub());
    roundtrips(&client).await;
    let calls = (0..500).map(|i| {
        let client = client.clone();
        tokio::spawn(async move { client.zeros(context::current(), i * 100).await.unwrap().len() })
    });
    for (i, len) in futures::future::join_all(calls).await.into_iter().enumerate() {
        assert_eq!(len.unwrap(), i * 100);
    }
    server.stop().await;
}

#[tokio::test]
async fn calls_over_a_unix_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let endpoint = Endpoint::Unix(path.clone());
    // What a killed server leaves behind does not prevent the next one from starting.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = Running::start(&endpoint, ServerLimits::default()).await;
    assert!(Listener::bind(&endpoint).await.is_err(), "a socket in use is left alone");
    roundtrips(&ToyClient::from(server.stub())).await;
    server.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn too_large_fails_the_call_alone() {
    let server = Running::start_tcp().await;
    let stub = server.stub();
    let client = ToyClient::from(stub.clone());
    let sleeping = tokio::spawn({
        let client = client.clone();
        async move { client.sleep(context::current(), 300).await }
    });
    let parts = vec![vec![0; MAX_PAYLOAD_BYTES + 1].into()];
    let error = client.reverse(context::current(), parts).await.unwrap_err();
    assert_eq!(classify(&error), CallFailure::Unsendable, "{error:?}");
    let error = client.zeros(context::current(), MAX_PAYLOAD_BYTES as u32 + 1).await.unwrap_err();
    assert_eq!(classify(&error), CallFailure::Refused, "{error:?}");
    assert!(matches!(error, RpcError::Server(e) if e.detail.contains("8388609 payload bytes")));
    sleeping.await.unwrap().unwrap();
    assert!(stub.is_connected());
    server.stop().await;
}

#[tokio::test]
async fn a_panic_fails_the_call_alone() {
    let server = Running::start_tcp().await;
    let stub = server.stub();
    let client = ToyClient::from(stub.clone());
    for wait in [false, true] {
        let error = client.panic(context::current(), wait).await.unwrap_err();
        assert!(matches!(error, RpcError::Server(e) if e.detail.contains("panicked")));
    }
    assert!(stub.is_connected());
    server.stop().await;
}

#[tokio::test]
async fn every_call_is_counted_by_its_name() {
    let server = Running::start_tcp().await;
    let (one, two) = (ToyClient::from(server.stub()), ToyClient::from(server.stub()));
    for client in [&one, &two, &one] {
        client.zeros(context::current(), 1).await.unwrap();
    }
    let zeros = server.counts("Toy.zeros").unwrap();
    assert_eq!((zeros.calls, zeros.in_flight, zeros.failed, zeros.dropped), (3, 0, 0, 0));
    assert!(server.counts("Toy.reverse").is_none());

    one.panic(context::current(), true).await.unwrap_err();
    let panic = server.counts("Toy.panic").unwrap();
    assert_eq!((panic.calls, panic.in_flight, panic.failed, panic.dropped), (1, 0, 1, 0));

    one.sleep(context::current(), 20).await.unwrap();
    let given_up = tokio::spawn(async move { two.sleep(context::current(), 60_000).await });
    server.until_in_flight("Toy.sleep", 1).await;
    given_up.abort();
    server.until_in_flight("Toy.sleep", 0).await;
    let sleep = server.counts("Toy.sleep").unwrap();
    assert_eq!((sleep.calls, sleep.failed, sleep.dropped), (2, 0, 1));
    assert!(sleep.max_us >= 20_000 && sleep.total_us >= sleep.max_us, "{sleep:?}");
    server.stop().await;
}

#[tokio::test]
async fn comes_back_after_a_restart() {
    let server = Running::start_tcp().await;
    let endpoint = server.endpoint.clone();
    let stub = server.stub();
    let client = ToyClient::from(stub.clone());
    client.zeros(context::current(), 1).await.unwrap();
    server.stop().await;

    // While it is away: quick and clear errors, most of them without an attempt.
    let began = Instant::now();
    let mut texts = Vec::new();
    for _ in 0..100 {
        let error = client.zeros(context::current(), 1).await.unwrap_err();
        match error {
            RpcError::Send(cause) => texts.push(cause.to_string()),
            // The call that found the connection dead.
            other => assert_eq!(classify(&other), CallFailure::Lost),
        }
    }
    assert!(began.elapsed() < Duration::from_secs(2));
    assert!(texts.iter().all(|text| text.starts_with(&format!("cannot connect to {endpoint}: "))), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("the next one is due in")), "{texts:?}");

    let server = Running::start(&endpoint, ServerLimits::default()).await;
    let came_back = async {
        while client.zeros(context::current(), 1).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), came_back).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_given_up_connection_is_replaced() {
    let server = Running::start_tcp().await;
    let stub = server.stub();
    assert!(!stub.is_connected());
    stub.connect().await.unwrap();
    let client = ToyClient::from(stub.clone());
    let sleeping = tokio::spawn({
        let client = client.clone();
        async move { client.sleep(within(Duration::from_secs(1)), 60_000).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    stub.disconnect();
    assert_eq!(classify(&sleeping.await.unwrap().unwrap_err()), CallFailure::Lost);
    client.zeros(context::current(), 1).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn stopping_answers_what_is_in_flight_and_takes_no_more() {
    let server = Running::start_tcp().await;
    let client = ToyClient::from(server.stub());
    let idle = server.stub();
    idle.connect().await.unwrap();
    let sleeping = tokio::spawn({
        let client = client.clone();
        async move { client.sleep(context::current(), 300).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (endpoint, toy) = (server.endpoint.clone(), server.toy.clone());
    let began = Instant::now();
    server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5));
    sleeping.await.unwrap().unwrap();
    assert_eq!(toy.finished.load(Ordering::Relaxed), 1);
    assert!(Stub::new(endpoint, options()).connect().await.is_err());
}

#[tokio::test]
async fn stopping_abandons_what_takes_too_long() {
    let limits = ServerLimits { drain_timeout: Duration::from_millis(100), ..ServerLimits::default() };
    let server = Running::start(&any_port(), limits).await;
    let client = ToyClient::from(server.stub());
    let sleeping = tokio::spawn(async move { client.sleep(within(Duration::from_secs(100)), 60_000).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let toy = server.toy.clone();
    tokio::time::timeout(Duration::from_secs(5), server.stop()).await.unwrap();
    assert_eq!(classify(&sleeping.await.unwrap().unwrap_err()), CallFailure::Lost);
    assert_eq!(toy.finished.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let limits = ServerLimits { connections: 1, ..ServerLimits::default() };
    let server = Running::start(&any_port(), limits).await;
    let first = server.stub();
    first.connect().await.unwrap();
    for _ in 0..20 {
        let error = server.stub().connect().await.unwrap_err();
        assert!(error.to_string().contains("as many connections as its limit allows"), "{error}");
    }
    first.disconnect();
    let freed = async {
        while server.stub().connect().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), freed).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn garbage_ends_its_own_connection_only() {
    let server = Running::start_tcp().await;
    let client = ToyClient::from(server.stub());
    let address = server.endpoint.to_string();
    let hello = *b"CAIRNFS\n\x01\x00\x03\x00\x01\x00\x00\x00";
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &hello, b"CFrm", &[0xff; 64]] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        if garbage[0] != b'G' {
            stream.write_all(&hello).await.unwrap();
            stream.read_exact(&mut [0; 16]).await.unwrap();
        }
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        // Closed or reset, and soon.
        let end = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
        assert!(end.is_ok(), "{garbage:?} keeps its connection");
        client.zeros(context::current(), 1).await.unwrap();
    }
    server.stop().await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_cannot_hold_a_call_beyond_its_deadline() {
    let listener = Listener::bind(&any_port()).await.unwrap();
    let stub = Stub::new(listener.endpoint().clone(), options());
    let silent = tokio::spawn(async move {
        let (mut io, _) = listener.accept().await.unwrap();
        let timeout = Duration::from_secs(5);
        super::super::handshake::receive(&mut io, &[Service::Chunk], PeerKind::Chunkserver, timeout).await.unwrap();
        std::future::pending::<()>().await;
    });
    let client = ToyClient::from(stub);
    let piece = Payload::from(vec![0; 1 << 20]);
    let began = Instant::now();
    let calls = (0..64).map(|_| client.reverse(within(Duration::from_millis(500)), vec![piece.clone()]));
    for result in futures::future::join_all(calls).await {
        assert_eq!(classify(&result.unwrap_err()), CallFailure::TimedOut);
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    silent.abort();
}

#[tokio::test]
async fn a_dead_address_fails_in_time() {
    let nobody = Listener::bind(&any_port()).await.unwrap();
    let endpoint = nobody.endpoint().clone();
    let mute = Stub::new(endpoint.clone(), options().with_timeout(Duration::from_millis(200)));
    // The kernel accepts, but nobody says hello.
    let error = mute.connect().await.unwrap_err();
    assert!(error.to_string().contains("within 200ms"), "{error}");
    drop(nobody);
    let error = Stub::new(endpoint, options()).connect().await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}
