//! The data directories of a server, one for each of its disks: whose they are, that they belong together, and that one server at a time
//! uses them.
//!
//! [`identity`] is the file that says whose a directory is; [`candidate`] is one directory as it is found; [`set`] is all of them: which may be
//! used, which are missing, which must not be there.

mod candidate;
mod identity;
mod set;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use cairn_proto::ids::{ClusterId, DiskId, ServerId};

use super::seal::SealError;
pub use set::{DataDirs, DiskDir};

/// Why directories cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("{path}: cannot {what}")]
    Io { path: PathBuf, what: &'static str, source: io::Error },
    #[error("{path}: another chunkserver runs on this directory")]
    InUse { path: PathBuf },
    #[error(
        "{path}: not a chunkserver's directory (there is `{found}`, but no `identity`): give the server an empty one"
    )]
    Foreign { path: PathBuf, found: String },
    #[error(
        "{path}: its `identity` file is damaged ({source}): restore it, or move the directory away and start empty"
    )]
    Damaged { path: PathBuf, source: SealError },
    #[error(
        "{path}: it is of format {found}, from before the first release, which no release reads: start with an empty directory"
    )]
    Older { path: PathBuf, found: u16 },
    #[error("{path}: it belongs to cluster {theirs}, not {ours}")]
    OtherCluster { path: PathBuf, ours: ClusterId, theirs: ClusterId },
    #[error(
        "{path}: it belongs to cluster {theirs}, and {other} to cluster {ours}: a server is in one cluster, give it the directories of that"
    )]
    TwoClusters { path: PathBuf, theirs: ClusterId, other: PathBuf, ours: ClusterId },
    #[error(
        "{path}: it belongs to chunkserver {theirs}, and {other} to chunkserver {ours}: give each server its own directories, or an empty one in place of this"
    )]
    OtherServer { path: PathBuf, theirs: ServerId, other: PathBuf, ours: ServerId },
    #[error(
        "{path} and {other} are both disk {disk}: one is a copy of the other; move the copy away, or give the server an empty directory in its place"
    )]
    Copied { path: PathBuf, other: PathBuf, disk: DiskId },
    #[error("{path} and {other} are the same directory: give it once")]
    Twice { path: PathBuf, other: PathBuf },
    #[error("none of the {count} data directories can be used; {path}: {why}")]
    NoneUsable { count: usize, path: PathBuf, why: String },
}

impl DataDirError {
    /// The directory, or what is on it, is at fault: where others of the same server are there, it starts without this one.
    fn is_of_the_disk(&self) -> bool {
        match self {
            Self::Io { .. } | Self::Foreign { .. } => true,
            Self::Damaged { source, .. } => !matches!(source, SealError::NewerFormat { .. }),
            _ => false,
        }
    }

    /// In one line, with its cause.
    fn in_words(&self) -> String {
        match self {
            Self::Io { source, .. } => format!("{self}: {source}"),
            _ => self.to_string(),
        }
    }
}

fn io_error(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> DataDirError {
    move |source| DataDirError::Io { path: path.to_owned(), what, source }
}
