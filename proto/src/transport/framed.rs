//! Messages over a byte stream: the transport that tarpc's client and server run on.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite};

use super::envelope::{Incoming, Outgoing};
use super::error::TransportError;
use super::reader::FrameReader;
use super::writer::FrameWriter;

/// A stream of `In` and a sink of `Out` over a TCP, Unix or TLS stream whose handshake is done.
///
/// After an error of the stream the connection is of no more use. An error of `start_send` that
/// [spares the connection](TransportError::spares_connection) leaves it as it was.
pub struct Framed<Io, In, Out> {
    io: Io,
    reader: FrameReader,
    writer: FrameWriter,
    messages: PhantomData<fn(Out) -> In>,
}

impl<Io, In, Out> Framed<Io, In, Out> {
    pub fn new(io: Io) -> Self {
        Self { io, reader: FrameReader::default(), writer: FrameWriter::default(), messages: PhantomData }
    }

    /// The byte stream underneath.
    pub fn get_ref(&self) -> &Io {
        &self.io
    }
}

impl<Io: AsyncRead + Unpin, In: Incoming, Out> Stream for Framed<Io, In, Out> {
    type Item = Result<In, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.reader.poll_message(&mut this.io, cx)
    }
}

impl<Io: AsyncWrite + Unpin, In, Out: Outgoing> Sink<Out> for Framed<Io, In, Out> {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let this = &mut *self;
        this.writer.poll_write(&mut this.io, cx, |writer| !writer.is_full()).map_err(Into::into)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Out) -> Result<(), TransportError> {
        let Err(error) = self.writer.push(&message) else { return Ok(()) };
        match message.substitute(&error) {
            Some(substitute) if error.spares_connection() => self.writer.push(&substitute),
            Some(_) | None => Err(error),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let this = &mut *self;
        ready!(this.writer.poll_write(&mut this.io, cx, |_| false))?;
        Pin::new(&mut this.io).poll_flush(cx).map_err(Into::into)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx).map_err(Into::into)
    }
}

impl<Io, In, Out> fmt::Debug for Framed<Io, In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framed").field("reader", &self.reader).field("writer", &self.writer).finish_non_exhaustive()
    }
}
