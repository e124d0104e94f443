//! How far the log is applied, as it stands in the store and in checkpoints.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::log::EntryId;
use super::types::StoredMembership;

/// Format of [`Applied`] as stored; the first byte of the record.
const FORMAT: u8 = 1;

/// Written with every batch of applied entries, in the same atomic write.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Applied {
    /// The last entry that is applied.
    pub(super) entry: EntryId,
    /// Number of commands applied since the beginning of the cluster.
    pub(super) commands: u64,
    /// The members as of that entry.
    pub(super) membership: StoredMembership,
}

impl Applied {
    pub(super) fn encode(&self) -> Bytes {
        postcard::to_extend(self, vec![FORMAT]).expect("a record of plain fields always encodes").into()
    }

    /// Reads a record; no bytes at all stand for a state to which nothing was applied.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first() {
            None => Some(Self::default()),
            Some((&FORMAT, body)) => postcard::from_bytes(body).ok(),
            Some(_) => None,
        }
    }
}
