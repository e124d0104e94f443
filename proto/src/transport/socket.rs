//! Opening sockets and setting them up: TCP and Unix, the same type from here on.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::dial;
use super::endpoint::Endpoint;
use super::error::ConnectFailure;

/// A byte stream in both directions, of whatever make.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A TCP, Unix or TLS stream. The indirect call is nothing beside the system call behind it.
pub type BoxedIo = Box<dyn Duplex>;

/// Silence on a TCP connection after which its peer is asked for a sign of life.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);

/// Time between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// Unanswered questions after which the connection is given up.
const KEEPALIVE_PROBES: u32 = 3;

/// Sent bytes that stay unacknowledged for this long end the connection: its host or the path to it is gone.
const UNACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(25);

/// Wanted send buffer of a Unix socket, bytes. The kernel grants what `net.core.wmem_max` allows.
///
/// TCP is left alone: a fixed size there would switch off the kernel's own adjustment, which goes higher.
const UNIX_SEND_BUFFER_BYTES: usize = 1 << 20;

/// Opens a connection. Of several addresses of a name, the first that answers is taken.
pub async fn open(endpoint: &Endpoint) -> Result<BoxedIo, ConnectFailure> {
    match endpoint {
        Endpoint::Tcp { host, port } => {
            let addresses = tokio::net::lookup_host((host.as_str(), *port)).await?;
            let stream = dial::first_of(addresses).await.ok_or(ConnectFailure::Unresolved)??;
            tune_tcp(&stream)?;
            Ok(Box::new(stream))
        }
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path).await?;
            tune_unix(&stream)?;
            Ok(Box::new(stream))
        }
    }
}

/// Small frames leave at once, and a vanished peer is noticed.
pub fn tune_tcp(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_LIMIT))
}

/// Room for a large frame in one go.
pub fn tune_unix(stream: &UnixStream) -> io::Result<()> {
    SockRef::from(stream).set_send_buffer_size(UNIX_SEND_BUFFER_BYTES)
}
