//! What can go wrong between two processes, sorted by what the caller must do about it.

use std::io;
use std::time::Duration;

use tarpc::client::RpcError;

use super::endpoint::Endpoint;
use super::handshake::HandshakeError;
use super::limits::{MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES};

/// A frame that could not be sent or understood.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    #[error("the connection ended in the middle of a frame")]
    Truncated,
    #[error("what arrived is no frame (it starts with {got:#010x}): the stream is damaged or out of step")]
    BadMagic { got: u32 },
    #[error("a frame announces {bytes} header bytes, more than the limit of {MAX_HEADER_BYTES}")]
    HeaderTooLarge { bytes: usize },
    #[error("a frame has {bytes} payload bytes, more than the limit of {MAX_PAYLOAD_BYTES}")]
    PayloadTooLarge { bytes: usize },
    #[error("the checksum of a frame header is {got:#010x} where {expected:#010x} was announced")]
    Checksum { expected: u32, got: u32 },
    #[error("a message could not be serialised (its header may have at most {MAX_HEADER_BYTES} bytes): {0}")]
    Encode(#[source] postcard::Error),
    #[error("a frame could not be decoded: {0}")]
    Decode(#[source] postcard::Error),
    #[error("a frame carries {bytes} bytes that no part of its message refers to")]
    Unclaimed { bytes: usize },
    #[error("a message of a kind that this version cannot send")]
    UnknownMessage,
}

impl TransportError {
    /// Whether only the message at hand is affected, and the connection goes on.
    pub fn spares_connection(&self) -> bool {
        matches!(self, Self::PayloadTooLarge { .. } | Self::Encode(_) | Self::UnknownMessage)
    }
}

/// A connection to `endpoint` that did not come about.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot connect to {endpoint}: {failure}")]
pub struct ConnectError {
    pub endpoint: Endpoint,
    pub failure: ConnectFailure,
}

/// Why a connection did not come about.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectFailure {
    #[error("its name has no address")]
    Unresolved,
    #[error(transparent)]
    Io(std::sync::Arc<io::Error>),
    #[error(transparent)]
    Handshake(std::sync::Arc<HandshakeError>),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The last attempt failed a moment ago; the next one is due in `retry_in`.
    #[error("the last attempt failed, the next one is due in {retry_in:?}: {last}")]
    BackingOff { retry_in: Duration, last: String },
}

impl From<io::Error> for ConnectFailure {
    fn from(error: io::Error) -> Self {
        Self::Io(std::sync::Arc::new(error))
    }
}

impl From<HandshakeError> for ConnectFailure {
    fn from(error: HandshakeError) -> Self {
        Self::Handshake(std::sync::Arc::new(error))
    }
}

/// What a failed call means for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFailure {
    /// The request did not leave this process: doing it again is always safe, elsewhere or later.
    NotSent,
    /// The request can never be sent as it is (too large): doing it again is useless.
    Unsendable,
    /// The connection was lost: the request may have been carried out, or not, or may still be.
    Lost,
    /// The deadline has passed: as with [`CallFailure::Lost`], nobody knows.
    TimedOut,
    /// The server's framework turned the request down (overload, a response too large to send).
    Refused,
}

/// Sorts the errors of tarpc by what they mean for the caller.
pub fn classify(error: &RpcError) -> CallFailure {
    match error {
        RpcError::Send(cause) => match cause.downcast_ref::<TransportError>() {
            Some(cause) if cause.spares_connection() => CallFailure::Unsendable,
            Some(_) | None => CallFailure::NotSent,
        },
        RpcError::Shutdown | RpcError::Channel(_) => CallFailure::Lost,
        RpcError::DeadlineExceeded => CallFailure::TimedOut,
        RpcError::Server(_) => CallFailure::Refused,
    }
}
