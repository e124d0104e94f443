//! How tarpc's messages look on the wire.
//!
//! tarpc's own serde forms are not used: a hostile deadline in a request overflows the receiver's clock, the kind of an
//! error does not survive a format with signed integers of their own, and the wire must not change because a library did.

use std::io;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tarpc::{ClientMessage, Request, Response, ServerError, context, trace};

use super::error::TransportError;
use super::limits::MAX_DEADLINE;

/// A message that can be written into a frame.
pub trait Outgoing: Sized {
    /// What is serialised for it.
    type Wire<'a>: Serialize
    where
        Self: 'a;

    /// The form that is serialised.
    fn wire(&self) -> Result<Self::Wire<'_>, TransportError>;

    /// What to send in its place when it cannot be sent, so that its receiver does not wait in vain.
    fn substitute(&self, error: &TransportError) -> Option<Self>;
}

/// A message that can be read out of a frame.
pub trait Incoming: Sized {
    /// What is deserialised for it.
    type Wire: DeserializeOwned;

    /// The message behind its serialised form.
    fn from_wire(wire: Self::Wire) -> Self;
}

/// A [`ClientMessage`], owned for reading, or by reference (`T = &Req`) for writing.
#[derive(Debug, Serialize, Deserialize)]
pub enum Call<T> {
    /// `deadline_micros` counts from the receipt: clocks of two machines are never compared.
    Request {
        id: u64,
        deadline_micros: u64,
        trace: trace::Context,
        body: T,
    },
    Cancel {
        id: u64,
        trace: trace::Context,
    },
}

impl<Req: Serialize> Outgoing for ClientMessage<Req> {
    type Wire<'a>
        = Call<&'a Req>
    where
        Req: 'a;

    fn wire(&self) -> Result<Call<&Req>, TransportError> {
        match self {
            Self::Request(Request { context, id, message }) => {
                let left = context.deadline.saturating_duration_since(Instant::now()).min(MAX_DEADLINE);
                let deadline_micros = left.as_micros() as u64;
                Ok(Call::Request { id: *id, deadline_micros, trace: context.trace_context, body: message })
            }
            Self::Cancel { trace_context, request_id } => Ok(Call::Cancel { id: *request_id, trace: *trace_context }),
            _ => Err(TransportError::UnknownMessage),
        }
    }

    /// A request needs none: tarpc reports the error to its caller.
    fn substitute(&self, _error: &TransportError) -> Option<Self> {
        None
    }
}

impl<Req: DeserializeOwned> Incoming for ClientMessage<Req> {
    type Wire = Call<Req>;

    fn from_wire(wire: Call<Req>) -> Self {
        match wire {
            Call::Request { id, deadline_micros, trace, body } => {
                let mut context = context::current();
                context.deadline = Instant::now() + Duration::from_micros(deadline_micros).min(MAX_DEADLINE);
                context.trace_context = trace;
                Self::Request(Request { context, id, message: body })
            }
            Call::Cancel { id, trace } => Self::Cancel { trace_context: trace, request_id: id },
        }
    }
}

/// A [`Response`], owned for reading, or by reference (`T = &Resp`) for writing.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer<T> {
    id: u64,
    result: Result<T, Refusal>,
}

/// A [`ServerError`]: the server's framework turned the request down.
#[derive(Debug, Serialize, Deserialize)]
struct Refusal {
    kind: RefusalKind,
    detail: String,
}

/// The kinds of [`ServerError`] that a caller can tell apart.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum RefusalKind {
    Overload,
    InvalidData,
    TimedOut,
    Other,
}

impl From<io::ErrorKind> for RefusalKind {
    fn from(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::WouldBlock => Self::Overload,
            io::ErrorKind::InvalidData => Self::InvalidData,
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Other,
        }
    }
}

impl From<RefusalKind> for io::ErrorKind {
    fn from(kind: RefusalKind) -> Self {
        match kind {
            RefusalKind::Overload => Self::WouldBlock,
            RefusalKind::InvalidData => Self::InvalidData,
            RefusalKind::TimedOut => Self::TimedOut,
            RefusalKind::Other => Self::Other,
        }
    }
}

impl<Resp: Serialize> Outgoing for Response<Resp> {
    type Wire<'a>
        = Answer<&'a Resp>
    where
        Resp: 'a;

    fn wire(&self) -> Result<Answer<&Resp>, TransportError> {
        let result =
            self.message.as_ref().map_err(|error| Refusal { kind: error.kind.into(), detail: error.detail.clone() });
        Ok(Answer { id: self.request_id, result })
    }

    fn substitute(&self, error: &TransportError) -> Option<Self> {
        let error = ServerError::new(io::ErrorKind::InvalidData, format!("the response was not sent: {error}"));
        Some(Self { request_id: self.request_id, message: Err(error) })
    }
}

impl<Resp: DeserializeOwned> Incoming for Response<Resp> {
    type Wire = Answer<Resp>;

    fn from_wire(wire: Answer<Resp>) -> Self {
        let message = wire.result.map_err(|refusal| ServerError::new(refusal.kind.into(), refusal.detail));
        Self { request_id: wire.id, message }
    }
}
