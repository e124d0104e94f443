//! What a call can answer besides success. Errors cross the wire as values; the client has the one table from here to `errno`.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ids::{ChunkHandle, ChunkVersion, InodeId, ServerId, SessionId};
use crate::labels::{Domain, Labels};
use crate::name::NameError;

/// Why the metaserver did not do what it was asked. Most are answers of the namespace and final; [`FsError::is_transient`] names
/// those that a client waits out and asks again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Error)]
pub enum FsError {
    #[error("no such entry")]
    NotFound,
    #[error("the entry exists")]
    Exists,
    #[error("not a directory")]
    NotDirectory,
    #[error("is a directory")]
    IsDirectory,
    #[error("the directory is not empty")]
    NotEmpty,
    #[error("the name is too long")]
    NameTooLong,
    #[error("invalid argument")]
    InvalidArgument,
    #[error("operation not permitted")]
    NotPermitted,
    #[error("permission denied")]
    AccessDenied,
    #[error("too many links")]
    TooManyLinks,
    #[error("file too large")]
    FileTooLarge,
    #[error("no space left")]
    NoSpace,
    #[error("no such extended attribute")]
    NoXattr,
    #[error("the extended attribute exists")]
    XattrExists,
    #[error("extended attribute or list too large")]
    XattrTooLarge,
    #[error("not supported")]
    Unsupported,
    /// The inode is gone: removed by somebody else while this client still knew its number.
    #[error("{0} no longer exists")]
    Stale(InodeId),
    /// Too few chunkservers can be reached to place a new chunk.
    #[error("no chunkserver can take a new chunk")]
    NoServers,
    /// All holders of the chunk are out of reach.
    #[error("no holder of {0} can be reached")]
    NoReplica(ChunkHandle),
    /// The chunk is being copied or reconciled; ask again shortly.
    #[error("{0} is being repaired")]
    ChunkBusy(ChunkHandle),
    #[error("{0} is not known (expired, or the metaserver gave it up)")]
    SessionUnknown(SessionId),
    /// The metaserver cannot serve now: starting, stopping, or not the leader.
    #[error("the metaserver is not ready")]
    NotReady,
    /// The directory is delegated to a session that has not returned it yet.
    #[error("{0} is delegated to another client, which was asked to return it")]
    Delegated(InodeId),
    /// Another session has a lease on the inode, and has not given it back yet.
    #[error("{0} is leased to another client, which was asked to give it back")]
    Leased(InodeId),
    /// The metaserver's own storage failed; its log says how.
    #[error("the metaserver's storage failed")]
    Storage,
    /// All servers that should hold the chunk answer that they do not. Nothing is to be waited for.
    #[error("all copies of {0} are lost: remove the file, or truncate it, to write there again")]
    ChunkLost(ChunkHandle),
}

impl FsError {
    /// Worth asking again, with the same [`crate::ids::OpId`].
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::ChunkBusy(_)
                | Self::NotReady
                | Self::Delegated(_)
                | Self::Leased(_)
                | Self::NoReplica(_)
                | Self::NoServers
        )
    }
}

impl From<NameError> for FsError {
    fn from(e: NameError) -> Self {
        match e {
            NameError::TooLong => Self::NameTooLong,
            NameError::Invalid => Self::InvalidArgument,
        }
    }
}

/// Why the metaserver did not do what an operator asked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Error)]
pub enum AdminError {
    #[error(transparent)]
    Metadata(#[from] FsError),
    /// A policy that the servers that there are cannot fulfil.
    #[error(
        "{copies} copies, each in another {domain}, need {copies} {domain}s with servers for them; there are {there_are}. Add servers, or take what there is with --loose"
    )]
    TooFewDomains { copies: u8, domain: Domain, there_are: u32 },
    #[error("no chunkserver has the labels {0}. Start one with --label, or take others, too, with --loose")]
    NoSuchServers(Labels),
    #[error("chunkserver {0} is not known")]
    UnknownServer(ServerId),
    /// A name or a label that no server has.
    #[error("no chunkserver is called {0}, or has that label or disk: see `cairn server list`")]
    NothingMeant(String),
    #[error("chunkserver {name} does not answer ({cause}): bring it back first")]
    ServerIsAway { name: String, cause: String },
    #[error("chunkserver {0} is up: drain it and stop it before you remove it")]
    ServerIsUp(String),
    #[error(
        "chunkserver {name} is a member of {chunks} chunks still: wait until they are repaired elsewhere (see `cairn status`), or bring it back"
    )]
    ServerHoldsChunks { name: String, chunks: u64 },
    #[error("nothing that was removed there is in the trash: see `cairn trash list`")]
    NotInTrash,
    /// What would have to be overwritten.
    #[error("{0} exists: move it away, or restore to another directory with --to")]
    PlaceTaken(String),
    #[error("the directory that it was in is gone: restore that first, or restore to another directory with --to")]
    NoDirectory,
}

/// Why a chunkserver did not do what it was asked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Error)]
pub enum ChunkError {
    /// It has no such chunk. Final for deletes; for a read see [`crate::chunk::ChunkLocation::length`].
    #[error("{0} is not here")]
    NotFound(ChunkHandle),
    /// The caller's version is older than the copy's: it was fenced off. Locate the chunk again.
    #[error("{handle}: version {asked} is fenced off by {have}")]
    VersionFenced { handle: ChunkHandle, asked: ChunkVersion, have: ChunkVersion },
    /// The copy is older than what the caller asks for.
    #[error("{handle}: version {have} here is older than {asked}")]
    VersionStale { handle: ChunkHandle, asked: ChunkVersion, have: ChunkVersion },
    /// Bytes that came in do not match the sums that came with them: damaged on the way. Send again.
    #[error("{handle}: block {block} was damaged on the way")]
    DamagedInTransit { handle: ChunkHandle, block: u32 },
    /// Stored bytes do not match their sum. Read elsewhere; the server has noted it.
    #[error("{handle}: block {block} is damaged on disk")]
    DamagedOnDisk { handle: ChunkHandle, block: u32 },
    #[error("no space left on the chunkserver")]
    NoSpace,
    #[error("the chunkserver's disk failed: {0}")]
    Disk(String),
    /// A later member of the chain failed. Report that one.
    #[error("chunkserver {server} of the chain failed: {cause}")]
    Chain { server: ServerId, cause: ChainFailure },
    #[error("malformed request: {0}")]
    Malformed(String),
    #[error("the chunkserver is stopping")]
    Stopping,
    /// The metaserver has given up the session in which it was written.
    #[error("{0} was given up")]
    SessionFenced(SessionId),
}

/// How a later member of a chain failed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Error)]
pub enum ChainFailure {
    #[error("unreachable: {0}")]
    Unreachable(String),
    #[error("{0}")]
    Refused(Box<ChunkError>),
}
