//! Every limit of the wire, with its unit.

use std::time::Duration;

/// Most payload bytes that one frame may carry.
pub const MAX_PAYLOAD_BYTES: usize = 8 << 20;

/// Most bytes that the serialised part of one frame may have.
pub const MAX_HEADER_BYTES: usize = 1 << 20;

/// Most bytes of one frame on the wire, its prefix included.
pub const MAX_FRAME_BYTES: usize = super::frame::PREFIX_BYTES + MAX_HEADER_BYTES + MAX_PAYLOAD_BYTES;

/// Longest deadline that a request may ask for; longer ones are shortened to it.
///
/// It also keeps a hostile deadline from overflowing the clocks and timers of the receiver.
pub const MAX_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// Payloads up to this many bytes are copied next to their header, so that small frames leave in one piece.
pub(super) const COPY_PAYLOAD_BYTES: usize = 8 << 10;

/// Received payloads up to this many bytes get an allocation of their own size instead of a pooled buffer, so that a
/// cached 4 KiB block does not keep a large buffer alive.
pub(super) const SMALL_PAYLOAD_BYTES: usize = 16 << 10;

/// Bytes queued for sending above which the writer asks its caller to wait for the socket.
pub(super) const WRITE_QUEUE_BYTES: usize = 256 << 10;

/// Most slices handed to one vectored write.
pub(super) const WRITE_SLICES: usize = 64;

/// Least room offered to the kernel for a read of small frames.
pub(super) const READ_BYTES: usize = 16 << 10;

/// A read buffer that a large header made bigger than this is given back once it is empty.
pub(super) const READ_KEEP_BYTES: usize = 128 << 10;

/// Bytes of receive buffers that the process keeps for reuse.
pub(super) const POOL_KEEP_BYTES: usize = 64 << 20;

/// Smallest pooled receive buffer, bytes. Larger ones are powers of two.
pub(super) const POOL_MIN_BUFFER_BYTES: usize = 32 << 10;

/// Requests that a client keeps in flight on one connection; further ones wait in the client.
pub(super) const CLIENT_IN_FLIGHT: usize = 4096;

/// Requests that wait between a client's callers and the task that owns the connection.
pub(super) const CLIENT_QUEUE: usize = 1024;

/// Responses that wait between a server's handlers and the task that owns the connection.
pub(super) const SERVER_QUEUE: usize = 1024;
