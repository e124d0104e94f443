//! The keyspace's own record, kept at both ends of it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Damage, Digest, Read, StoreError};

/// First byte of the record below all keys.
pub const TAG_HEAD: u8 = 0x00;

/// First byte of the record above all keys.
pub const TAG_TAIL: u8 = 0xff;

/// Format of [`Meta`] as stored; the first byte of the record.
const META_FORMAT: u8 = 1;

/// What a store says about itself: up to which command it is, and what it should hold.
///
/// Stored twice, under the keys `[TAG_HEAD]` and `[TAG_TAIL]`, by every batch: as the two lie in different leaves of any
/// tree, a batch that an engine has torn is likely to have torn them apart. The digest then finds what they miss.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    pub digest: Digest,
    /// How far the log is applied; opaque here, `crate::raft` knows it.
    pub applied: Bytes,
}

impl Meta {
    /// The record of `read`; the default one for a store that was never written.
    pub(super) fn load(read: &dyn Read) -> Result<Self, StoreError> {
        let head = read.get(&[TAG_HEAD])?;
        let tail = read.get(&[TAG_TAIL])?;
        if head != tail {
            return Err(Damage::TornBatch.into());
        }
        match head {
            None => Ok(Self::default()),
            Some(bytes) => Self::decode(&bytes).ok_or_else(|| StoreError::bad_value(&[TAG_HEAD], "keyspace record")),
        }
    }

    /// The record as it is stored.
    pub fn encode(&self) -> Bytes {
        let format = vec![META_FORMAT];
        postcard::to_extend(self, format).expect("a record of plain fields always encodes").into()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&META_FORMAT, body) => postcard::from_bytes(body).ok(),
            _ => None,
        }
    }
}

/// Whether `key` is in the part of the keyspace that belongs to [`Meta`].
pub(super) fn is_reserved(key: &[u8]) -> bool {
    matches!(key.first(), None | Some(&TAG_HEAD) | Some(&TAG_TAIL))
}
