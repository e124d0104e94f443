//! Small records on disk that recognise themselves: magic, format, checksum, then a body in postcard.
//!
//! ```text
//!  0  [u8; 8]  magic: what this is
//!  8  u16      format version of the body
//! 10  u16      bytes of the body
//! 12  u32      CRC-32 of bytes 8..12 and of the body
//! 16  body
//! ```
//!
//! Integers are little endian. What follows the body is not looked at.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes before the body.
pub const SEAL_BYTES: usize = 16;

/// Why bytes are not the record that was looked for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    #[error("it does not begin with {}", String::from_utf8_lossy(.expected))]
    Magic { expected: [u8; 8] },
    #[error("it was written in format {found}, this release knows up to {known}: upgrade this server")]
    NewerFormat { found: u16, known: u16 },
    #[error("its checksum does not match")]
    Checksum,
    #[error("its body cannot be decoded")]
    Body,
}

/// The record of `body` as bytes.
pub fn seal<T: Serialize>(magic: [u8; 8], format: u16, body: &T) -> Result<Vec<u8>, postcard::Error> {
    let body = postcard::to_stdvec(body)?;
    let len = u16::try_from(body.len()).map_err(|_| postcard::Error::SerializeBufferFull)?;
    let mut bytes = Vec::with_capacity(SEAL_BYTES + body.len());
    bytes.extend_from_slice(&magic);
    bytes.extend_from_slice(&format.to_le_bytes());
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&checksum(&bytes[8..12], &body).to_le_bytes());
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// The body of a record.
pub fn unseal<T: DeserializeOwned>(magic: [u8; 8], known: u16, bytes: &[u8]) -> Result<T, SealError> {
    let (prefix, rest) = bytes.split_at_checked(SEAL_BYTES).ok_or(SealError::Magic { expected: magic })?;
    if prefix[..8] != magic {
        return Err(SealError::Magic { expected: magic });
    }
    let found = u16::from_le_bytes([prefix[8], prefix[9]]);
    let len = usize::from(u16::from_le_bytes([prefix[10], prefix[11]]));
    let sum = u32::from_le_bytes([prefix[12], prefix[13], prefix[14], prefix[15]]);
    let body = rest.get(..len).ok_or(SealError::Checksum)?;
    if checksum(&prefix[8..12], body) != sum {
        return Err(SealError::Checksum);
    }
    // After the checksum: a flipped bit in the format must not tell the operator to upgrade.
    if found > known {
        return Err(SealError::NewerFormat { found, known });
    }
    postcard::from_bytes(body).map_err(|_| SealError::Body)
}

/// The format of a record that [`unseal`] has read.
pub fn format_of(bytes: &[u8]) -> Option<u16> {
    bytes.get(8..10).map(|format| u16::from_le_bytes([format[0], format[1]]))
}

fn checksum(lengths: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(lengths);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; 8] = *b"TESTTEST";

    #[test]
    fn every_flipped_bit_is_noticed() {
        let sealed = seal(MAGIC, 3, &(7u64, "seven")).unwrap();
        assert_eq!(unseal::<(u64, String)>(MAGIC, 3, &sealed).unwrap(), (7, "seven".to_owned()));
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal::<(u64, String)>(MAGIC, 3, &damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_format_is_said_to_be_one() {
        let sealed = seal(MAGIC, 4, &1u8).unwrap();
        assert_eq!(unseal::<u8>(MAGIC, 3, &sealed), Err(SealError::NewerFormat { found: 4, known: 3 }));
        assert_eq!(unseal::<u8>(*b"OTHERONE", 4, &sealed), Err(SealError::Magic { expected: *b"OTHERONE" }));
        assert_eq!(unseal::<u8>(MAGIC, 4, &sealed[..10]), Err(SealError::Magic { expected: MAGIC }));
    }
}
