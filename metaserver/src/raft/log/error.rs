//! What can go wrong with the log.

use std::io;
use std::path::{Path, PathBuf};

/// An error of the log, sorted by what the caller must do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// The disk is full. What was to be appended is not in the log; later appends work once there is space.
    #[error("no space left while {action} {}", path.display())]
    NoSpace { action: &'static str, path: PathBuf },

    /// A system call failed. Whether the last bytes are on disk is unknown: the process must stop and recover.
    #[error("log I/O failed while {action} {}: {reason}", path.display())]
    Io { action: &'static str, path: PathBuf, reason: String },

    /// Records that had been synced cannot be read. Nothing repairs this by itself: acknowledged commands are lost.
    #[error("log is damaged: {} at offset {offset}: {what}", path.display())]
    Damaged { path: PathBuf, offset: u64, what: &'static str },

    /// Segments do not follow one another.
    #[error("log has a gap: {} begins after entry {found}, the segment before it ends with entry {expected}", path.display())]
    Gap { path: PathBuf, expected: u64, found: u64 },

    /// An earlier sync failed, and nothing that is written since can be vouched for.
    #[error("log stopped after an earlier failure: {0}")]
    Stopped(String),

    /// An entry is larger than a record may be.
    #[error("entry {index} of {bytes} bytes is over the limit of {limit} bytes")]
    TooLarge { index: u64, bytes: usize, limit: usize },

    /// Entries were handed over out of order.
    #[error("entry {found} was appended where entry {expected} was due")]
    OutOfOrder { expected: u64, found: u64 },
}

impl LogError {
    pub(super) fn io(action: &'static str, path: &Path, error: &io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { action, path },
            _ => Self::Io { action, path, reason: error.to_string() },
        }
    }

    /// The nearest `io::Error`, for interfaces that speak nothing else.
    pub fn to_io(&self) -> io::Error {
        let kind = match self {
            Self::NoSpace { .. } => io::ErrorKind::StorageFull,
            Self::Damaged { .. } | Self::Gap { .. } => io::ErrorKind::InvalidData,
            Self::TooLarge { .. } | Self::OutOfOrder { .. } => io::ErrorKind::InvalidInput,
            Self::Io { .. } | Self::Stopped(_) => io::ErrorKind::Other,
        };
        io::Error::new(kind, self.clone())
    }
}
