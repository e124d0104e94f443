//! What can go wrong below the namespace, sorted by what the caller must do about it.

use std::io;

use bytes::Bytes;

/// An error of the store. None of these is an answer to a user: rejections such as `ENOENT` are replies, not errors.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full. Nothing was changed; it can be tried again once there is space.
    #[error("no space left while {action}")]
    NoSpace { action: &'static str },

    /// The engine's I/O failed. The process must stop using this store; it may be reopened, or rebuilt from the log.
    #[error("store I/O failed while {action}: {source}")]
    Io { action: &'static str, source: io::Error },

    /// What was read cannot be right. The store must be rebuilt from the newest checkpoint and the log.
    #[error("store is damaged: {0}")]
    Damaged(#[from] Damage),

    /// The store was cleared while an image was read, or writers ran too far ahead of it to keep the old values in memory.
    #[error("consistent image of the store given up: the store was cleared, or writers ran too far ahead")]
    ImageLost,

    /// There is an unfinished image already, and one at a time is the limit.
    #[error("another consistent image of the store is still being read")]
    ImageBusy,
}

/// How a store was found to be damaged.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// The records at the two ends of the keyspace are written by every batch, and yet they differ.
    #[error("the records at both ends of the keyspace differ: a batch was torn")]
    TornBatch,

    /// A full scan does not add up to what the batches have recorded.
    #[error("contents do not match their digest: recorded {recorded_pairs} pairs, found {found_pairs}")]
    DigestMismatch { recorded_pairs: u64, found_pairs: u64 },

    /// A stored value does not decode.
    #[error("value of key {key:?} is not a valid {what}")]
    BadValue { key: Bytes, what: &'static str },

    /// The engine cannot make sense of its files.
    #[error("engine found its files damaged while {action}: {reason}")]
    Unreadable { action: &'static str, reason: String },

    /// The engine refused to open its files.
    #[error("engine cannot open its files: {0}")]
    Unopenable(String),
}

impl StoreError {
    /// Sorts an I/O error: a full disk, damage, and the rest.
    pub fn from_io(action: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { action },
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Damage::Unreadable { action, reason: source.to_string() }.into()
            }
            _ => Self::Io { action, source },
        }
    }

    /// A stored value that does not decode.
    pub fn bad_value(key: &[u8], what: &'static str) -> Self {
        Self::Damaged(Damage::BadValue { key: Bytes::copy_from_slice(key), what })
    }
}
