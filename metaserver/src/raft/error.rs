//! What can go wrong with a node.

use std::path::PathBuf;

use super::checkpoint::CheckpointError;
use super::log::LogError;
use super::types::NodeId;
use crate::store::StoreError;

/// Why a node did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the directory open.
    #[error("{} is in use by another process", dir.display())]
    InUse { dir: PathBuf },

    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },

    #[error(transparent)]
    Log(#[from] LogError),

    #[error(transparent)]
    Store(#[from] StoreError),

    /// The store is damaged or gone, the beginning of the log was dropped, and no checkpoint can be read.
    #[error(
        "nothing to rebuild the state from: the log begins after entry {purged}, and no checkpoint at or after it is valid: {reasons:?}"
    )]
    NoCheckpoint { purged: u64, reasons: Vec<String> },

    /// The store holds what the log does not: entries that had been synced are gone.
    #[error(
        "the log ends with entry {log}, but entry {store} has been applied: the log has lost acknowledged commands"
    )]
    LogBehindStore { log: u64, store: u64 },

    /// The directory has a vote or checkpoints but not a single segment.
    #[error("{} holds no segment of the log, though the node is not new", dir.display())]
    LogMissing { dir: PathBuf },

    /// An entry was written by a later version of CairnFS.
    #[error("entries {first} to {last} of the log are not all of a format that this version knows")]
    UnknownEntry { first: u64, last: u64 },

    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),

    #[error("raft did not start: {0}")]
    Raft(String),
}

/// Why a command was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// The disk is too full. The command is not in the log; it can be proposed again once there is space.
    #[error("no space left for the metadata log")]
    NoSpace,

    /// The command was not and will not be proposed.
    #[error("command of {bytes} bytes is over the limit of {limit} bytes")]
    TooLarge { bytes: usize, limit: usize },

    /// Another metaserver leads. The command was not applied here.
    #[error("not the leader; the leader is {leader:?}")]
    NotLeader { leader: Option<NodeId> },

    /// The node has stopped, or stopped while the command was under way: whether it is applied will be known after a restart.
    #[error("metadata node has stopped: {0}")]
    Stopped(String),
}

/// Why a checkpoint was not taken. The node goes on, with a longer log.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("metadata node has stopped: {0}")]
    Stopped(String),
}
