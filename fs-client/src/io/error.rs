//! Why a read or a write of a file did not succeed, after everything that could be tried was tried.

use std::time::Duration;

use cairn_proto::error::{ChunkError, FsError};
use cairn_proto::ids::{ChunkHandle, ChunkIndex, InodeId, ServerId};
use cairn_proto::transport::CallFailure;
use thiserror::Error;

/// What a program gets to know, as an errno, and its administrator, as a sentence.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum IoError {
    /// No member of the chunk's chain has room (`ENOSPC`).
    #[error("{inode}: no space left for chunk {index}")]
    NoSpace { inode: InodeId, index: ChunkIndex },
    /// The write ends past the largest file (`EFBIG`).
    #[error("{0}: past the largest size of a file")]
    TooLarge(InodeId),
    /// The metaserver refused, or could not be reached for as long as there was patience.
    #[error("{inode}: {cause}")]
    Meta { inode: InodeId, cause: MetaError },
    /// No replica gave good bytes (`EIO`).
    #[error("{inode}: {handle} ({index}) cannot be read; tried {}", list(tried))]
    Unreadable { inode: InodeId, index: ChunkIndex, handle: ChunkHandle, tried: Vec<(ServerId, String)> },
    /// No chain took the bytes for as long as there was patience (`EIO`).
    #[error("{inode}: {handle} ({index}) cannot be written: {last}")]
    Unwritable { inode: InodeId, index: ChunkIndex, handle: ChunkHandle, last: String },
    /// No chain took what was written for as long as there was patience. It stays in the buffer, and goes out when one does (`EIO`).
    #[error("{inode}: no chunkserver has taken written bytes within {waited:?}; they stay in the buffer")]
    NotTaken { inode: InodeId, waited: Duration },
    /// A chunkserver's kernel restarted with acknowledged bytes that were not synced yet, and they are no longer here to be
    /// sent again (`EIO`).
    #[error(
        "{inode}: {handle} ({index}) lost written bytes when chunkserver {server} restarted before they were synced"
    )]
    LostUnsynced { inode: InodeId, index: ChunkIndex, handle: ChunkHandle, server: ServerId },
    /// The metaserver gave the session up in which it was written, before it was sent (`EIO`).
    #[error("{0}: written bytes are lost: the metaserver had given this mount up before they were sent")]
    Fenced(InodeId),
    /// The mount is shutting down (`EIO`).
    #[error("the mount is shutting down")]
    Closed,
}

impl IoError {
    /// No copy is left of a chunk.
    pub(super) fn is_lost_chunk(&self) -> bool {
        matches!(self, Self::Meta { cause: MetaError::Refused(FsError::ChunkLost(_)), .. })
    }

    /// The file was removed meanwhile.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Meta { cause: MetaError::Refused(FsError::NotFound | FsError::Stale(_)), .. })
    }
}

fn list(tried: &[(ServerId, String)]) -> String {
    if tried.is_empty() {
        return "no server: none is known to hold it".to_owned();
    }
    tried.iter().map(|(server, why)| format!("{server} ({why})")).collect::<Vec<_>>().join(", ")
}

/// How a call to the metaserver failed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum MetaError {
    #[error(transparent)]
    Refused(#[from] FsError),
    /// It could not be reached for as long as the session's own patience lasted.
    #[error("the metaserver cannot be reached")]
    Unreachable,
}

impl MetaError {
    /// Worth asking again later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused(e) => e.is_transient(),
            Self::Unreachable => true,
        }
    }
}

/// How a call to a chunkserver failed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum CallError {
    /// It answered that it did not do it.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// It did not answer: see [`CallFailure`] for what may have happened there.
    #[error("{detail}")]
    Transport { failure: CallFailure, detail: String },
    /// It answered what it must not.
    #[error("broke the protocol: {0}")]
    Protocol(&'static str),
}
