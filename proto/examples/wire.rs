//! How fast the wire is over loopback: `cargo run -p cairn-proto --example wire`.
//!
//! Prints the rate of 1 MiB pieces sent and fetched with sixteen calls in flight, and the time of an empty call.

use std::future::Future;
use std::time::{Duration, Instant};

use cairn_proto::transport::{
    ConnectOptions, Endpoint, Listener, Payload, PeerKind, Reconnecting, Server, ServerLimits, Service,
};
use futures::StreamExt;
use tarpc::context::{self, Context};
use tarpc::server::Serve;
use tokio_util::sync::CancellationToken;

const PIECE_BYTES: usize = 1 << 20;
const IN_FLIGHT: usize = 16;
const RUN_TIME: Duration = Duration::from_secs(2);

#[tarpc::service]
trait Wire {
    async fn put(piece: Payload) -> u64;
    async fn get(bytes: u32) -> Payload;
    async fn nothing() -> ();
}

#[derive(Clone)]
struct WireServer {
    piece: Payload,
}

impl Wire for WireServer {
    async fn put(self, _: Context, piece: Payload) -> u64 {
        piece.len() as u64
    }

    async fn get(self, _: Context, bytes: u32) -> Payload {
        Payload(self.piece.0.slice(..bytes as usize))
    }

    async fn nothing(self, _: Context) {}
}

type Client = WireClient<Reconnecting<WireRequest, WireResponse>>;
type BoxError = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let socket = std::env::temp_dir().join(format!("cairn-wire-{}.sock", std::process::id()));
    for endpoint in ["127.0.0.1:0".parse()?, Endpoint::Unix(socket)] {
        measure(&endpoint).await?;
    }
    Ok(())
}

async fn measure(endpoint: &Endpoint) -> Result<(), BoxError> {
    let listener = Listener::bind(endpoint).await?;
    let options = ConnectOptions::new(Service::Chunk, PeerKind::Client);
    let client = Client::from(Reconnecting::new(listener.endpoint().clone(), options));
    let piece = Payload::from(vec![7; PIECE_BYTES]);
    let handler = WireServer { piece: piece.clone() };
    let server = Server::new(PeerKind::Chunkserver, ServerLimits::default())
        .with(Service::Chunk, move |context, request| handler.clone().serve().serve(context, request));
    let stop = CancellationToken::new();
    let server = tokio::spawn(server.run(listener, stop.clone()));

    let (put, _) = rate(IN_FLIGHT, || client.put(context::current(), piece.clone())).await;
    let (get, _) = rate(IN_FLIGHT, || client.get(context::current(), PIECE_BYTES as u32)).await;
    let (_, alone) = rate(1, || client.nothing(context::current())).await;
    let (busy, _) = rate(64, || client.nothing(context::current())).await;
    let gigabytes = |calls: f64| calls * PIECE_BYTES as f64 / 1e9;
    println!(
        "{endpoint}: put {:.2} GB/s, get {:.2} GB/s, empty call {:.1} µs alone, {busy:.0}/s with 64 in flight",
        gigabytes(put),
        gigabytes(get),
        alone.as_secs_f64() * 1e6,
    );
    stop.cancel();
    server.await?;
    Ok(())
}

/// Calls a second, and the time of one call.
async fn rate<T, E, Fut>(in_flight: usize, call: impl Fn() -> Fut) -> (f64, Duration)
where
    E: std::fmt::Debug,
    Fut: Future<Output = Result<T, E>>,
{
    let began = Instant::now();
    let calls = futures::stream::repeat_with(call)
        .take_while(|_| std::future::ready(began.elapsed() < RUN_TIME))
        .buffer_unordered(in_flight)
        .fold(0u32, |done, result| {
            result.expect("a call over loopback succeeds");
            std::future::ready(done + 1)
        })
        .await;
    (f64::from(calls) / began.elapsed().as_secs_f64(), began.elapsed() / calls)
}
