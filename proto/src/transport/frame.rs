//! The layout of a frame, and its encoding and decoding. No I/O.
//!
//! ```text
//!  0  u32  magic                        all integers little endian
//!  4  u32  bytes of the header (h)
//!  8  u32  bytes of the payload (p)
//! 12  u32  CRC-32 of bytes 0..12 and of the header
//! 16  h    header: the message, in postcard; a `Payload` in it is a tag and a length
//! 16+h  p  the bytes of all payloads, in the order of their appearance in the header
//! ```
//!
//! The checksum covers what steers us; file data carries CRCs of its own, from its writer to its reader.
//! A change here is a new [`PROTOCOL_VERSION`](super::PROTOCOL_VERSION).

use bytes::{BufMut, Bytes, BytesMut};
use postcard::ser_flavors::Flavor;

use super::envelope::{Incoming, Outgoing};
use super::error::TransportError;
use super::limits::{MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES};
use super::payload;

/// "CFrm" as it appears on the wire.
const MAGIC: u32 = u32::from_le_bytes(*b"CFrm");

/// Bytes before the header.
pub(super) const PREFIX_BYTES: usize = 16;

/// Bytes of the prefix that the checksum covers.
const CHECKED_PREFIX_BYTES: usize = 12;

/// The first bytes of a frame, within the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    header_len: usize,
    pub(super) payload_len: usize,
    crc: u32,
}

impl Prefix {
    /// Reads the prefix off `bytes`, or `None` while there are too few of them.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, TransportError> {
        let Some((prefix, _)) = bytes.split_first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let [m0, m1, m2, m3, h0, h1, h2, h3, p0, p1, p2, p3, c0, c1, c2, c3] = *prefix;
        let magic = u32::from_le_bytes([m0, m1, m2, m3]);
        if magic != MAGIC {
            return Err(TransportError::BadMagic { got: magic });
        }
        let header_len = u32::from_le_bytes([h0, h1, h2, h3]) as usize;
        if header_len > MAX_HEADER_BYTES {
            return Err(TransportError::HeaderTooLarge { bytes: header_len });
        }
        let payload_len = u32::from_le_bytes([p0, p1, p2, p3]) as usize;
        if payload_len > MAX_PAYLOAD_BYTES {
            return Err(TransportError::PayloadTooLarge { bytes: payload_len });
        }
        Ok(Some(Self { header_len, payload_len, crc: u32::from_le_bytes([c0, c1, c2, c3]) }))
    }

    /// Bytes of prefix and header.
    pub(super) fn head_len(&self) -> usize {
        PREFIX_BYTES + self.header_len
    }
}

/// Appends prefix and header of `message` to `out`, and returns its payloads. On error `out` is as it was.
pub(super) fn encode<M: Outgoing>(message: &M, out: &mut BytesMut) -> Result<Vec<Bytes>, TransportError> {
    let start = out.len();
    let encoded = encode_at(message, out, start);
    if encoded.is_err() {
        out.truncate(start);
    }
    encoded
}

fn encode_at<M: Outgoing>(message: &M, out: &mut BytesMut, start: usize) -> Result<Vec<Bytes>, TransportError> {
    let wire = message.wire()?;
    out.put_bytes(0, PREFIX_BYTES);
    let limit = start + PREFIX_BYTES + MAX_HEADER_BYTES;
    let (written, attached) = payload::collect(|| postcard::serialize_with_flavor(&wire, HeaderBuf { out, limit }));
    written.map_err(TransportError::Encode)?;

    let payload_len = attached.iter().map(Bytes::len).sum();
    if payload_len > MAX_PAYLOAD_BYTES {
        return Err(TransportError::PayloadTooLarge { bytes: payload_len });
    }
    let header_len = out.len() - start - PREFIX_BYTES;
    let head = &mut out[start..];
    head[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    head[4..8].copy_from_slice(&(header_len as u32).to_le_bytes());
    head[8..12].copy_from_slice(&(payload_len as u32).to_le_bytes());
    let crc = checksum(head);
    head[12..16].copy_from_slice(&crc.to_le_bytes());
    Ok(attached)
}

/// Reads the message of a frame: `head` is its prefix and header, `payload` the rest.
pub(super) fn decode<M: Incoming>(prefix: Prefix, head: &[u8], payload: Bytes) -> Result<M, TransportError> {
    let got = checksum(head);
    if got != prefix.crc {
        return Err(TransportError::Checksum { expected: prefix.crc, got });
    }
    let header = &head[PREFIX_BYTES..];
    let (read, unclaimed) = payload::provide(payload, || postcard::take_from_bytes::<M::Wire>(header));
    let (wire, rest) = read.map_err(TransportError::Decode)?;
    match rest.len() + unclaimed.len() {
        0 => Ok(M::from_wire(wire)),
        bytes => Err(TransportError::Unclaimed { bytes }),
    }
}

/// `head` is prefix and header.
fn checksum(head: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head[..CHECKED_PREFIX_BYTES]);
    hasher.update(&head[PREFIX_BYTES..]);
    hasher.finalize()
}

/// Lets postcard write straight into the send buffer, up to a limit.
struct HeaderBuf<'a> {
    out: &'a mut BytesMut,
    /// Length that `out` must not pass.
    limit: usize,
}

impl Flavor for HeaderBuf<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        if self.out.len() + data.len() > self.limit {
            return Err(postcard::Error::SerializeBufferFull);
        }
        self.out.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.try_extend(&[data])
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
