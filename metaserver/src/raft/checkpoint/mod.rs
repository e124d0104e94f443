//! The whole state at one entry of the log, in one file.
//!
//! `format` is the file, [`Checkpoints`] the directory of them.

mod format;
mod shelf;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::log::EntryId;
use crate::store::{Meta, StoreError};

pub use format::{CheckpointReader, write};
pub use shelf::Checkpoints;

/// What a checkpoint says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointHeader {
    /// The last entry that is applied in it.
    pub entry: EntryId,
    /// The store's record at that entry: what was applied, and the digest of all pairs.
    pub meta: Meta,
}

/// What can go wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The disk is full.
    #[error("no space left while {action} checkpoint {}", path.display())]
    NoSpace { action: &'static str, path: PathBuf },

    #[error("I/O failed while {action} checkpoint {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },

    /// The file is not what was written.
    #[error("checkpoint {} is damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: String },

    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CheckpointError {
    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { action, path },
            _ => Self::Io { action, path, source },
        }
    }

    fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }
}
