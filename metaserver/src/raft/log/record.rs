//! One record of the log, as bytes.

use bytes::Bytes;

use super::{EntryId, LogError};

/// "CREC": lets a search for records in damaged bytes reject most places at once.
const MAGIC: u32 = u32::from_le_bytes(*b"CREC");

/// Bytes before the payload.
pub(super) const HEADER_BYTES: usize = 56;

/// Records begin at multiples of this.
pub(super) const ALIGN: usize = 8;

/// Largest payload of one record.
pub const MAX_PAYLOAD_BYTES: usize = 16 * 1024 * 1024;

/// An entry of the log, with what its writer knew of the log before it.
///
/// Layout, integers little-endian, padded with zeros to a multiple of 8:
///
/// | offset | bytes | |
/// |---|---|---|
/// | 0 | 4 | magic `CREC` |
/// | 4 | 4 | length of the payload |
/// | 8 | 4 | CRC-32 of the length and of everything from offset 16 to the end of the payload |
/// | 12 | 4 | zero |
/// | 16 | 8 | index |
/// | 24 | 8 | term |
/// | 32 | 8 | node that led the term |
/// | 40 | 8 | `synced` |
/// | 48 | 8 | `committed` |
/// | 56 | … | payload |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub id: EntryId,
    /// Entries up to this index were on stable storage before this record was written. So a bad record that a later one
    /// knows as synced is damage, and one that no later record vouches for is the torn end of the last write.
    pub synced: u64,
    /// Entries up to this index were committed. Saves a start from having to hold an election to know it.
    pub committed: u64,
    pub payload: Bytes,
}

impl Record {
    /// Appends the record's bytes, padding included, to `out`.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), LogError> {
        let bytes = self.payload.len();
        if bytes > MAX_PAYLOAD_BYTES {
            return Err(LogError::TooLarge { index: self.id.index, bytes, limit: MAX_PAYLOAD_BYTES });
        }
        let mut header = [0; HEADER_BYTES];
        let length = (bytes as u32).to_le_bytes();
        header[..4].copy_from_slice(&MAGIC.to_le_bytes());
        header[4..8].copy_from_slice(&length);
        let numbers = [self.id.index, self.id.term, self.id.node, self.synced, self.committed];
        for (at, number) in header[16..].chunks_exact_mut(8).zip(numbers) {
            at.copy_from_slice(&number.to_le_bytes());
        }
        let crc = checksum(&length, &header[16..], &self.payload);
        header[8..12].copy_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(&self.payload);
        out.resize(out.len().next_multiple_of(ALIGN), 0);
        Ok(())
    }

    /// Reads the record at the beginning of `bytes`; `None` where there is no valid one. Its length is [`Record::size`].
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..HEADER_BYTES)?;
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let number = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
        let length = word(4) as usize;
        if word(0) != MAGIC || length > MAX_PAYLOAD_BYTES {
            return None;
        }
        let payload = bytes.get(HEADER_BYTES..HEADER_BYTES + length)?;
        if checksum(&header[4..8], &header[16..], payload) != word(8) {
            return None;
        }
        Some(Self {
            id: EntryId { index: number(16), term: number(24), node: number(32) },
            synced: number(40),
            committed: number(48),
            payload: Bytes::copy_from_slice(payload),
        })
    }

    /// Bytes of the encoded record.
    pub(super) fn size(&self) -> usize {
        encoded_size(self.payload.len())
    }
}

/// Bytes of an encoded record with a payload of `payload` bytes.
pub(super) fn encoded_size(payload: usize) -> usize {
    (HEADER_BYTES + payload).next_multiple_of(ALIGN)
}

fn checksum(length: &[u8], numbers: &[u8], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(length);
    crc.update(numbers);
    crc.update(payload);
    crc.finalize()
}
