//! Where small writes gather into a piece: a buffer that grows, and whose large form is used again and again.
//!
//! A fresh megabyte costs more in page faults than in copying, hence the pool.

use bytes::Bytes;
use cairn_proto::chunk::MAX_PIECE_BYTES;
use parking_lot::Mutex;

/// A buffer that would grow past this many bytes becomes one of [`MAX_PIECE_BYTES`].
const LARGE_FROM_BYTES: usize = 128 << 10;

/// Large buffers kept for reuse.
const KEEP_LARGE: usize = 48;

static LARGE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// At most [`MAX_PIECE_BYTES`] bytes.
#[derive(Debug, Default)]
pub(super) struct PieceBuffer(Vec<u8>);

impl PieceBuffer {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Writes `data` at `at`, at most at the end of what is there.
    pub(super) fn write(&mut self, at: usize, data: &[u8]) {
        debug_assert!(at <= self.0.len());
        let within = data.len().min(self.0.len() - at);
        self.0[at..at + within].copy_from_slice(&data[..within]);
        self.make_room(data.len() - within);
        self.0.extend_from_slice(&data[within..]);
    }

    /// The bytes, without a copy. The memory comes back to the pool when the last slice of them is dropped.
    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }

    fn make_room(&mut self, more: usize) {
        let len = self.0.len() + more;
        debug_assert!(len <= MAX_PIECE_BYTES);
        if len <= self.0.capacity() {
            return;
        }
        if len <= LARGE_FROM_BYTES {
            self.0.reserve(more);
            return;
        }
        let mut large = LARGE.lock().pop().unwrap_or_else(|| Vec::with_capacity(MAX_PIECE_BYTES));
        large.extend_from_slice(&self.0);
        self.0 = large;
    }
}

impl AsRef<[u8]> for PieceBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for PieceBuffer {
    fn drop(&mut self) {
        if self.0.capacity() == MAX_PIECE_BYTES {
            let mut buffer = std::mem::take(&mut self.0);
            buffer.clear();
            let mut pool = LARGE.lock();
            if pool.len() < KEEP_LARGE {
                pool.push(buffer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overwrites_and_grows() {
        let mut buffer = PieceBuffer::default();
        buffer.write(0, b"hello");
        buffer.write(3, b"p me");
        assert_eq!(buffer.as_slice(), b"help me");
        buffer.write(7, &vec![b'!'; LARGE_FROM_BYTES]);
        assert_eq!(buffer.len(), 7 + LARGE_FROM_BYTES);
        let bytes = buffer.freeze();
        assert_eq!(&bytes[..9], b"help me!!");
    }
}
