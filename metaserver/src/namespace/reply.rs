//! What applying a command answers.
//!
//! It mirrors [`MutationReply`] and is kept in the ledger; what differs are chunks, whose members stand here by id alone. Where
//! a server is, and whether it is up, is soft state: the service fills it in when it answers.

use cairn_proto::attr::Attr;
use cairn_proto::chunk::{ChunkId, ChunkLocation};
use cairn_proto::ids::{InodeId, ServerId};
use cairn_proto::meta::{ChangedDir, Delegation, Lease, MutationReply};
use cairn_proto::policy::{PlacementId, Policy};
use serde::{Deserialize, Serialize};

/// A chunk of a file as the namespace knows it; see [`ChunkLocation`] for the fields of the same name.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ChunkView {
    pub id: ChunkId,
    pub length: u32,
    pub trimmed_at: Option<u32>,
    /// In chain order, head first.
    pub members: Vec<ServerId>,
    /// Copies that are asked for.
    pub target: u8,
    pub placement: PlacementId,
}

/// The answer to a command that was not refused.
#[expect(clippy::large_enum_variant, reason = "answers are few and short-lived; a box each would cost more")]
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum Reply {
    Done,
    Attr(Attr),
    Entry {
        attr: Attr,
        parent: ChangedDir,
        created: bool,
        policy: Policy,
    },
    Removed {
        attr: Attr,
        parent: ChangedDir,
    },
    Renamed {
        moved: Attr,
        replaced: Option<Attr>,
        exchanged: Option<Attr>,
        old_parent: ChangedDir,
        new_parent: ChangedDir,
    },
    Chunks(Vec<ChunkView>),
    Policy(Policy),
    /// To `Reap`: these inodes are gone. `more`: some of the others have chunks left; ask again.
    Reaped {
        gone: Vec<InodeId>,
        more: bool,
    },
    /// To `SetMembers`: the chunk as it is now.
    Members(ChunkView),
    /// To `SetMembers`: somebody was faster. The chunk as it is now.
    MembersConflict(ChunkView),
    /// To `TakeDelegation`.
    Delegated(Option<Delegation>),
    /// To `DefinePlacement`.
    Placement(PlacementId),
}

impl Reply {
    /// The reply as a client gets it; `locate` says where a chunk's members are. `None` for the answer to an internal command.
    pub fn into_wire(self, mut locate: impl FnMut(ChunkView) -> ChunkLocation) -> Option<MutationReply> {
        Some(match self {
            Self::Done => MutationReply::Done,
            Self::Attr(attr) => MutationReply::Attr(attr),
            Self::Entry { attr, parent, created, policy } => {
                MutationReply::Entry { attr, parent, created, policy, chunks: Vec::new(), lease: Lease::None }
            }
            Self::Removed { attr, parent } => MutationReply::Removed { attr, parent },
            Self::Renamed { moved, replaced, exchanged, old_parent, new_parent } => {
                MutationReply::Renamed { moved, replaced, exchanged, old_parent, new_parent }
            }
            Self::Chunks(chunks) => MutationReply::Chunks(chunks.into_iter().map(&mut locate).collect()),
            Self::Policy(policy) => MutationReply::Policy(policy),
            Self::Delegated(delegation) => MutationReply::Delegated(delegation),
            Self::Reaped { .. } | Self::Members(_) | Self::MembersConflict(_) | Self::Placement(_) => return None,
        })
    }
}
