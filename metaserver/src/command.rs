//! Commands: what the log carries, and the only way in which the namespace changes.
//!
//! A command is decided completely before it is proposed. Everything that applying it must not find out for itself (the time,
//! new ids, where chunks go, who survives) stands in it, so that every metaserver comes to the same state. Whoever proposes it
//! fills that in; [`crate::namespace::apply`] carries it out.
//!
//! Stored in the log as one format byte and the postcard encoding of [`Command`].

use cairn_proto::admin::{ServerMode, Tunables};
use cairn_proto::ids::{ChunkHandle, ChunkIndex, ChunkVersion, ClusterId, InodeId, OpId, ServerId, SessionId};
use cairn_proto::meta::{ClientInfo, Mutation};
use cairn_proto::name::Name;
use cairn_proto::policy::{Policy, Retention};
use cairn_proto::time::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::namespace::server::Server;

/// Format of an encoded [`Command`]; its first byte.
pub const COMMAND_FORMAT: u8 = 2;

/// One entry of the log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Command {
    /// Present for what a client asked for: the result goes to the ledger, and a retry is answered from there.
    pub origin: Option<Origin>,
    /// The wall clock of the proposer. Every time that the command stores is this one, save those that a client set.
    pub at: Timestamp,
    pub body: Body,
}

/// Which client's operation a command is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Origin {
    pub op: OpId,
    /// Results of the session's operations below this one will never be asked for again.
    pub acked: u64,
}

/// What a command does.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum Body {
    Mutation { mutation: Mutation, decided: Decided },
    Internal(Internal),
}

/// What the proposer decided ahead for a [`Mutation`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum Decided {
    Nothing,
    /// For `Create`: the inode number to use where an inode is made. Never given out before.
    Inode(InodeId),
    /// For `AllocateChunks`: a placement for each index that had no chunk when the proposer looked.
    Chunks(Vec<Placement>),
    /// For `ReplaceFailed`: the members that were reached and have raised the chunk to the next version.
    Survivors(Vec<ServerId>),
    /// By the client, which has done it already, under a delegation; see [`cairn_proto::meta::Ahead`]. The command's time is the
    /// client's then.
    Ahead {
        position: u64,
        inode: Option<InodeId>,
    },
    /// For `ReplaceFailed`: no member has a copy, and these are to be given empty ones, which the writer fills.
    Anew(Vec<ServerId>),
}

/// Where a new chunk goes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Placement {
    pub index: ChunkIndex,
    /// Never given out before.
    pub handle: ChunkHandle,
    /// In chain order, head first; not empty, none twice.
    pub members: Vec<ServerId>,
}

/// What the metaserver does of its own accord.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum Internal {
    /// The first command of a cluster: makes the root directory. Refused with `Exists` ever after. Answers `Done`.
    CreateCluster { cluster: ClusterId, mode: u32, uid: u32, gid: u32, policy: Policy },
    /// Answers `Done`; refused with `Exists` where the session is there already.
    OpenSession { session: SessionId, client: ClientInfo },
    /// Forgets the session and its ledger. Answers `Done`, or is refused with `SessionUnknown`.
    CloseSession { session: SessionId },
    /// Frees inodes that have no name and that nobody holds open; others are left alone. At most
    /// [`crate::namespace::MAX_REAP_INODES`]. Answers [`crate::namespace::Reply::Reaped`].
    Reap { inodes: Vec<InodeId> },
    /// All copies of these chunks are deleted. Those that are not garbage are left alone. Answers `Done`.
    DropGarbage { handles: Vec<ChunkHandle> },
    /// A chunkserver registered for the first time, or says something else of itself. Its mode counts only where it is new.
    /// Answers `Done`.
    RememberServer { server: ServerId, remembered: Server },
    /// Repair, reconciliation or fencing changed who holds a chunk. Done only where the chunk is still at `expect`; answers
    /// [`crate::namespace::Reply::Members`], or [`crate::namespace::Reply::MembersConflict`] with how it stands. `NotFound` where
    /// the chunk is gone.
    SetMembers { handle: ChunkHandle, expect: ChunkVersion, next: ChunkVersion, members: Vec<ServerId> },
    /// Inode numbers below `upto` are given out: to a client, which will use them or not. Answers `Done`.
    ReserveInodes { upto: InodeId },
    /// Answers [`crate::namespace::Reply::Placement`] with the number of this placement.
    DefinePlacement { placement: cairn_proto::policy::Placement },
    /// What is to become of a chunkserver. Answers `Done`; `NotFound` where it is not known.
    SetServerMode { server: ServerId, mode: ServerMode },
    /// A chunkserver is not expected back. Answers `Done`.
    ForgetServer { server: ServerId },
    /// What operators have changed, all of it. Answers `Done`.
    SetTunables { tunables: Tunables },
    /// What becomes of what is removed from a directory from now on. Answers `Done`.
    SetRetention { inode: InodeId, retention: Retention },
    /// Something in the trash gets a name again. Answers `Attr`; `NotFound` where it is not in the trash, or the directory is none any
    /// more, `Exists` where the name is taken.
    Restore { inode: InodeId, parent: InodeId, name: Name },
    /// These leave the trash for good, and are orphans then; others are left alone. At most
    /// [`crate::namespace::MAX_REAP_INODES`]. `expired`: only those whose time is out. Answers `Done`.
    DropTrash { inodes: Vec<InodeId>, expired: bool },
}

/// Why bytes of the log are not a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum CommandError {
    #[error("a command has no bytes")]
    Empty,
    #[error("command format {found} is not known; this metaserver writes format {COMMAND_FORMAT}")]
    UnknownFormat { found: u8 },
    #[error("a command of format {format} does not decode")]
    Malformed { format: u8 },
}

impl Command {
    /// A command that no client asked for.
    pub fn internal(at: Timestamp, internal: Internal) -> Self {
        Self { origin: None, at, body: Body::Internal(internal) }
    }

    /// A client's operation.
    pub fn mutation(origin: Origin, at: Timestamp, mutation: Mutation, decided: Decided) -> Self {
        Self { origin: Some(origin), at, body: Body::Mutation { mutation, decided } }
    }

    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![COMMAND_FORMAT]).expect("a command holds nothing that cannot be encoded")
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, CommandError> {
        match bytes.split_first() {
            None => Err(CommandError::Empty),
            Some((&COMMAND_FORMAT, body)) => match postcard::take_from_bytes(body) {
                Ok((command, [])) => Ok(command),
                _ => Err(CommandError::Malformed { format: COMMAND_FORMAT }),
            },
            Some((&found, _)) => Err(CommandError::UnknownFormat { found }),
        }
    }
}

#[cfg(test)]
mod tests;
