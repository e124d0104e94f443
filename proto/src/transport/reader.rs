//! The receiving half of a connection.
//!
//! Heads and small payloads are read many at a time into one buffer that is used again and again. A large payload is read
//! straight into a pooled buffer of its own: what was read of it along with its head (at most a few KiB) is all that is
//! ever copied. Lengths are checked before anything is allocated for them.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

use super::envelope::Incoming;
use super::error::TransportError;
use super::frame::{self, Prefix};
use super::limits::{READ_BYTES, READ_KEEP_BYTES, SMALL_PAYLOAD_BYTES};
use super::pool::PooledBuf;

/// Bytes received and not yet decoded.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    /// Starts at the start of a frame.
    buffer: BytesMut,
    /// A frame whose large payload is arriving.
    large: Option<LargeFrame>,
}

#[derive(Debug)]
struct LargeFrame {
    prefix: Prefix,
    head: BytesMut,
    payload: PooledBuf,
}

impl FrameReader {
    /// The next message; `None` when the peer closed the connection between two frames.
    pub(super) fn poll_message<M: Incoming, Io: AsyncRead + Unpin>(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<M, TransportError>>> {
        loop {
            if let Some(large) = &mut self.large
                && let Err(error) = ready!(large.poll_fill(io, cx))
            {
                return Poll::Ready(Some(Err(error)));
            }
            if let Some(LargeFrame { prefix, head, payload }) = self.large.take() {
                return Poll::Ready(Some(frame::decode(prefix, &head, payload.freeze())));
            }
            match self.take_frame() {
                Ok(Step::Message(message)) => return Poll::Ready(Some(Ok(message))),
                Ok(Step::Large) => continue,
                Ok(Step::NeedsBytes(missing)) => match ready!(self.poll_read(io, cx, missing)) {
                    Ok(0) if self.buffer.is_empty() => return Poll::Ready(None),
                    Ok(0) => return Poll::Ready(Some(Err(TransportError::Truncated))),
                    Ok(_) => continue,
                    Err(error) => return Poll::Ready(Some(Err(error.into()))),
                },
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    /// Decodes a frame that is complete in the buffer, or says what is missing.
    fn take_frame<M: Incoming>(&mut self) -> Result<Step<M>, TransportError> {
        let have = self.buffer.len();
        let Some(prefix) = Prefix::parse(&self.buffer)? else {
            return Ok(Step::NeedsBytes(frame::PREFIX_BYTES - have));
        };
        let head_len = prefix.head_len();
        if have < head_len {
            return Ok(Step::NeedsBytes(head_len - have));
        }
        if prefix.payload_len > SMALL_PAYLOAD_BYTES {
            self.large = Some(self.begin_large(prefix));
            return Ok(Step::Large);
        }
        let total = head_len + prefix.payload_len;
        if have < total {
            return Ok(Step::NeedsBytes(total - have));
        }
        let payload = Bytes::copy_from_slice(&self.buffer[head_len..total]);
        let message = frame::decode(prefix, &self.buffer[..head_len], payload);
        self.buffer.advance(total);
        message.map(Step::Message)
    }

    fn begin_large(&mut self, prefix: Prefix) -> LargeFrame {
        let head = self.buffer.split_to(prefix.head_len());
        let mut payload = PooledBuf::with_room(prefix.payload_len);
        let arrived = self.buffer.len().min(prefix.payload_len);
        payload.get_mut().extend_from_slice(&self.buffer[..arrived]);
        self.buffer.advance(arrived);
        LargeFrame { prefix, head, payload }
    }

    fn poll_read<Io: AsyncRead + Unpin>(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
        missing: usize,
    ) -> Poll<std::io::Result<usize>> {
        if self.buffer.is_empty() && self.buffer.capacity() > READ_KEEP_BYTES {
            self.buffer = BytesMut::new();
        }
        self.buffer.reserve(missing.max(READ_BYTES));
        poll_read_buf(Pin::new(io), cx, &mut self.buffer)
    }
}

enum Step<M> {
    Message(M),
    Large,
    /// At least this many more bytes, in the buffer.
    NeedsBytes(usize),
}

impl LargeFrame {
    fn poll_fill<Io: AsyncRead + Unpin>(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), TransportError>> {
        let payload = self.payload.get_mut();
        while payload.len() < self.prefix.payload_len {
            let missing = self.prefix.payload_len - payload.len();
            if ready!(poll_read_buf(Pin::new(&mut *io), cx, &mut payload.limit(missing)))? == 0 {
                return Poll::Ready(Err(TransportError::Truncated));
            }
        }
        Poll::Ready(Ok(()))
    }
}
