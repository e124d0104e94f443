//! The sending half of a connection: a queue of slices, written many at a time.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use super::envelope::Outgoing;
use super::error::TransportError;
use super::frame;
use super::limits::{COPY_PAYLOAD_BYTES, WRITE_QUEUE_BYTES, WRITE_SLICES};

/// Frames that wait for the socket.
///
/// Heads and small payloads of consecutive frames gather in `tail` and leave as one slice; a large payload is queued by
/// reference, and never copied.
#[derive(Debug, Default)]
pub(super) struct FrameWriter {
    queue: VecDeque<Bytes>,
    /// Bytes after everything in `queue`.
    tail: BytesMut,
    /// Bytes in `queue`.
    queued: usize,
}

impl FrameWriter {
    /// Queues a frame. On error nothing is queued.
    pub(super) fn push<M: Outgoing>(&mut self, message: &M) -> Result<(), TransportError> {
        for payload in frame::encode(message, &mut self.tail)? {
            if payload.len() <= COPY_PAYLOAD_BYTES {
                self.tail.extend_from_slice(&payload);
            } else {
                self.seal_tail();
                self.enqueue(payload);
            }
        }
        Ok(())
    }

    /// Whether so much is waiting that the caller should let the socket catch up.
    pub(super) fn is_full(&self) -> bool {
        self.queued + self.tail.len() >= WRITE_QUEUE_BYTES
    }

    /// Writes until `enough`, or until the socket takes no more.
    pub(super) fn poll_write<Io: AsyncWrite + Unpin>(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
        enough: impl Fn(&Self) -> bool,
    ) -> Poll<io::Result<()>> {
        while !enough(self) {
            self.seal_tail();
            if self.queue.is_empty() {
                break;
            }
            let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
            let mut used = 0;
            for (slot, bytes) in slices.iter_mut().zip(&self.queue) {
                *slot = IoSlice::new(bytes);
                used += 1;
            }
            let written = ready!(Pin::new(&mut *io).poll_write_vectored(cx, &slices[..used]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            let sealed = self.tail.split().freeze();
            self.enqueue(sealed);
        }
    }

    fn enqueue(&mut self, bytes: Bytes) {
        self.queued += bytes.len();
        self.queue.push_back(bytes);
    }

    fn advance(&mut self, mut written: usize) {
        self.queued -= written;
        while let Some(front) = self.queue.front_mut() {
            if written < front.len() {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.queue.pop_front();
        }
    }
}
