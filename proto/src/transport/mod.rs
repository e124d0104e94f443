//! The wire: how tarpc messages travel between CairnFS processes.
//!
//! From the bottom up: an [`Endpoint`] names a TCP port or a Unix socket; [`socket`] opens and tunes it; [`handshake`]
//! makes sure that both ends speak the same protocol version and mean the same [`Service`]; [`Framed`] turns the byte
//! stream into messages, with bulk bytes ([`Payload`]) beside the serialised part and never through it; [`Reconnecting`]
//! is the client's handle, [`Server`] the other end, which counts what it is asked ([`RequestCounters`]).
//!
//! Nothing here knows what the messages say: the service traits stand elsewhere in this crate.

mod backoff;
mod client;
mod dial;
mod endpoint;
mod envelope;
mod error;
mod frame;
mod framed;
pub mod handshake;
mod limits;
mod listener;
mod payload;
mod pool;
mod reader;
mod reconnecting;
mod requests;
mod server;
pub mod socket;
mod writer;

#[cfg(test)]
mod tests;

pub use backoff::Backoff;
pub use client::{ClientTransport, ConnectOptions, connect, connect_channel};
pub use endpoint::{Endpoint, EndpointError};
pub use envelope::{Incoming, Outgoing};
pub use error::{CallFailure, ConnectError, ConnectFailure, TransportError, classify};
pub use framed::Framed;
pub use handshake::{HandshakeError, PROTOCOL_VERSION, PeerKind, Service};
pub use limits::{MAX_DEADLINE, MAX_FRAME_BYTES, MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES};
pub use listener::Listener;
pub use payload::Payload;
pub use reconnecting::Reconnecting;
pub use requests::{RequestCounters, RequestCounts};
pub use server::{Server, ServerLimits};
