//! Receive buffers for large payloads, reused across frames and connections.
//!
//! A fresh megabyte costs more in page faults than in copying. A buffer goes back when the last [`Bytes`] that shares it
//! is dropped, wherever that happens.

use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};

use super::limits::{MAX_PAYLOAD_BYTES, POOL_KEEP_BYTES, POOL_MIN_BUFFER_BYTES};

/// Size classes: powers of two from the smallest buffer to the largest payload.
const CLASSES: usize = (MAX_PAYLOAD_BYTES / POOL_MIN_BUFFER_BYTES).ilog2() as usize + 1;

struct Pool {
    /// Free buffers by class, the most recently used last: it is the warmest.
    free: [Vec<BytesMut>; CLASSES],
    /// Capacity of all free buffers.
    kept_bytes: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { free: [const { Vec::new() }; CLASSES], kept_bytes: 0 });

/// A buffer that returns to the pool when it is dropped.
#[derive(Debug)]
pub(super) struct PooledBuf(BytesMut);

impl PooledBuf {
    /// An empty buffer with room for `len` bytes, at most [`MAX_PAYLOAD_BYTES`].
    pub(super) fn with_room(len: usize) -> Self {
        let class = class_of(len);
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(buffer) = pool.free[class].pop() {
            pool.kept_bytes -= class_bytes(class);
            return Self(buffer);
        }
        drop(pool);
        Self(BytesMut::with_capacity(class_bytes(class)))
    }

    pub(super) fn get_mut(&mut self) -> &mut BytesMut {
        &mut self.0
    }

    /// The bytes written so far. No copy.
    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for PooledBuf {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for PooledBuf {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        let class = class_of(buffer.capacity());
        // `capacity` is exact unless someone grew the buffer; such a one is not kept.
        if buffer.capacity() != class_bytes(class) {
            return;
        }
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.kept_bytes + class_bytes(class) <= POOL_KEEP_BYTES {
            buffer.clear();
            pool.kept_bytes += class_bytes(class);
            pool.free[class].push(buffer);
        }
    }
}

fn class_of(len: usize) -> usize {
    let size = len.clamp(POOL_MIN_BUFFER_BYTES, MAX_PAYLOAD_BYTES).next_power_of_two();
    (size / POOL_MIN_BUFFER_BYTES).ilog2() as usize
}

fn class_bytes(class: usize) -> usize {
    POOL_MIN_BUFFER_BYTES << class
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_cover_every_payload() {
        for len in [1, POOL_MIN_BUFFER_BYTES, POOL_MIN_BUFFER_BYTES + 1, 1 << 20, MAX_PAYLOAD_BYTES] {
            let bytes = class_bytes(class_of(len));
            assert!(bytes >= len && (bytes < 2 * len || bytes == POOL_MIN_BUFFER_BYTES), "{len}: {bytes}");
            assert!(class_of(len) < CLASSES);
        }
    }

    #[test]
    fn comes_back_when_the_last_slice_goes() {
        // 4 MiB: no other test of this process receives payloads of that class.
        let mut buffer = PooledBuf::with_room(4 << 20);
        let address = buffer.get_mut().as_ptr();
        buffer.get_mut().extend_from_slice(b"abc");
        let all = buffer.freeze();
        let part = all.slice(1..);
        drop(all);
        assert_eq!(part, &b"bc"[..]);
        drop(part);
        let again = PooledBuf::with_room((4 << 20) - 5);
        assert_eq!(again.0.as_ptr(), address);
        assert!(again.0.is_empty());
    }
}
