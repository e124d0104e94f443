//! The first bytes of every connection: who speaks, which protocol version, to which service.
//!
//! The client sends a hello, the server answers with one, and each checks the other's. Sixteen bytes, little endian:
//!
//! ```text
//!  0  [u8; 8]  magic "CAIRNFS\n"
//!  8  u16      protocol version
//! 10  u16      service: the wanted one from the client, the same again from the server
//! 12  u16      kind of process that speaks
//! 14  u16      0 from the client; from the server 0 = welcome, otherwise why not
//! ```
//!
//! This layout is the one thing that never changes with the protocol version: it is how two versions tell each other
//! that they differ.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Version of everything behind the handshake: frames, envelopes, services and their types. No two versions mix.
pub const PROTOCOL_VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"CAIRNFS\n";
const HELLO_BYTES: usize = 16;

/// A service that a connection is for. One port may offer several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Service {
    /// Namespace operations of clients, at the metaserver.
    Meta = 1,
    /// Registration, heartbeats and reports of chunkservers, at the metaserver.
    Cluster = 2,
    /// Reading, writing and copying chunks, at a chunkserver.
    Chunk = 3,
    /// Status and administration, at the metaserver.
    Admin = 4,
    /// The replicated log, between metaservers.
    Raft = 5,
}

/// The kind of process at one end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum PeerKind {
    Client = 1,
    Metaserver = 2,
    Chunkserver = 3,
    /// The `cairn` command line.
    Admin = 4,
    Gateway = 5,
}

/// Why the two ends of a connection do not go together.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error("the peer does not speak CairnFS (it sent {got:02x?}): is this the right address and port?")]
    NotCairn { got: [u8; 8] },
    #[error(
        "this process speaks protocol version {ours}, the peer version {theirs}: {}",
        if ours < theirs { "upgrade this process to the peer's release" } else { "upgrade the peer to this release" }
    )]
    Version { ours: u16, theirs: u16 },
    #[error("the {service} service is not offered at this address: check host and port")]
    NoSuchService { service: ServiceCode },
    #[error("the server has as many connections as its limit allows: try again later, or raise the limit")]
    Busy,
    #[error("the server is stopping")]
    Stopping,
    #[error("the server turned the connection down (code {code})")]
    Refused { code: u16 },
    #[error("the peer speaks out of turn: its hello names service {got}, not {wanted}")]
    WrongService { wanted: ServiceCode, got: ServiceCode },
    #[error("the peer did not say hello within {0:?}")]
    TimedOut(Duration),
    #[error("the peer closed the connection before it said hello")]
    Closed,
    #[error("the connection failed: {0}")]
    Io(io::Error),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Closed } else { Self::Io(error) }
    }
}

/// A service number as received: a known [`Service`], or one of another release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceCode(u16);

impl ServiceCode {
    pub fn known(self) -> Option<Service> {
        [Service::Meta, Service::Cluster, Service::Chunk, Service::Admin, Service::Raft]
            .into_iter()
            .find(|service| Self::from(*service) == self)
    }
}

impl From<Service> for ServiceCode {
    fn from(service: Service) -> Self {
        Self(service as u16)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Meta => "metadata",
            Self::Cluster => "cluster",
            Self::Chunk => "chunk",
            Self::Admin => "admin",
            Self::Raft => "raft",
        })
    }
}

impl fmt::Display for ServiceCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some(service) => service.fmt(f),
            None => write!(f, "number {}", self.0),
        }
    }
}

/// What a server says to a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Verdict {
    Welcome = 0,
    /// The versions differ; the hello says the server's.
    Version = 1,
    NoSuchService = 2,
    Busy = 3,
    Stopping = 4,
}

/// The sixteen bytes, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) version: u16,
    pub(super) service: ServiceCode,
    pub(super) peer: u16,
    pub(super) verdict: u16,
}

impl Hello {
    fn from_client(service: Service, us: PeerKind) -> Self {
        Self { version: PROTOCOL_VERSION, service: service.into(), peer: us as u16, verdict: 0 }
    }

    fn answer(service: ServiceCode, us: PeerKind, verdict: Verdict) -> Self {
        Self { version: PROTOCOL_VERSION, service, peer: us as u16, verdict: verdict as u16 }
    }

    pub(super) fn to_bytes(self) -> [u8; HELLO_BYTES] {
        let mut bytes = [0; HELLO_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&self.version.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.service.0.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.peer.to_le_bytes());
        bytes[14..16].copy_from_slice(&self.verdict.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: [u8; HELLO_BYTES]) -> Result<Self, HandshakeError> {
        let [m0, m1, m2, m3, m4, m5, m6, m7, v0, v1, s0, s1, p0, p1, a0, a1] = bytes;
        let magic = [m0, m1, m2, m3, m4, m5, m6, m7];
        if magic != MAGIC {
            return Err(HandshakeError::NotCairn { got: magic });
        }
        Ok(Self {
            version: u16::from_le_bytes([v0, v1]),
            service: ServiceCode(u16::from_le_bytes([s0, s1])),
            peer: u16::from_le_bytes([p0, p1]),
            verdict: u16::from_le_bytes([a0, a1]),
        })
    }
}

async fn say<Io: AsyncWrite + Unpin>(io: &mut Io, hello: Hello) -> io::Result<()> {
    io.write_all(&hello.to_bytes()).await?;
    io.flush().await
}

async fn read_hello<Io: AsyncRead + Unpin>(io: &mut Io) -> Result<Hello, HandshakeError> {
    let mut bytes = [0; HELLO_BYTES];
    io.read_exact(&mut bytes).await?;
    Hello::from_bytes(bytes)
}

/// The client's part: asks for `service` and checks the answer.
pub async fn greet<Io>(io: &mut Io, service: Service, us: PeerKind, timeout: Duration) -> Result<(), HandshakeError>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let exchange = async {
        let said = say(io, Hello::from_client(service, us)).await;
        // A server that turns us down may have closed before our hello reached it: its answer is there all the same.
        match (said, read_hello(io).await) {
            (Err(error), Err(_)) => Err(error.into()),
            (_, answer) => answer,
        }
    };
    let answer = tokio::time::timeout(timeout, exchange).await.map_err(|_| HandshakeError::TimedOut(timeout))??;
    check_answer(service, answer)
}

fn check_answer(service: Service, answer: Hello) -> Result<(), HandshakeError> {
    if answer.version != PROTOCOL_VERSION {
        return Err(HandshakeError::Version { ours: PROTOCOL_VERSION, theirs: answer.version });
    }
    let wanted = ServiceCode::from(service);
    match answer.verdict {
        0 if answer.service == wanted => Ok(()),
        0 => Err(HandshakeError::WrongService { wanted, got: answer.service }),
        code if code == Verdict::NoSuchService as u16 => Err(HandshakeError::NoSuchService { service: wanted }),
        code if code == Verdict::Busy as u16 => Err(HandshakeError::Busy),
        code if code == Verdict::Stopping as u16 => Err(HandshakeError::Stopping),
        code => Err(HandshakeError::Refused { code }),
    }
}

/// The server's part: reads the hello of a client, answers, and returns the service that the client wants.
///
/// A client that cannot be served is told so before this returns the error.
pub async fn receive<Io>(
    io: &mut Io,
    offered: &[Service],
    us: PeerKind,
    timeout: Duration,
) -> Result<Service, HandshakeError>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let exchange = async {
        let hello = read_hello(io).await?;
        let verdict = judge(&hello, offered);
        let code = verdict.as_ref().map_or_else(|(code, _)| *code, |_| Verdict::Welcome);
        say(io, Hello::answer(hello.service, us, code)).await?;
        verdict.map_err(|(_, error)| error)
    };
    tokio::time::timeout(timeout, exchange).await.map_err(|_| HandshakeError::TimedOut(timeout))?
}

fn judge(hello: &Hello, offered: &[Service]) -> Result<Service, (Verdict, HandshakeError)> {
    if hello.version != PROTOCOL_VERSION {
        let error = HandshakeError::Version { ours: PROTOCOL_VERSION, theirs: hello.version };
        return Err((Verdict::Version, error));
    }
    match hello.service.known() {
        Some(service) if offered.contains(&service) => Ok(service),
        Some(_) | None => Err((Verdict::NoSuchService, HandshakeError::NoSuchService { service: hello.service })),
    }
}

/// Turns a client down without waiting for what it has to say.
pub(super) async fn turn_down<Io>(io: &mut Io, us: PeerKind, verdict: Verdict) -> io::Result<()>
where
    Io: AsyncWrite + Unpin,
{
    say(io, Hello::answer(ServiceCode(0), us, verdict)).await
}
