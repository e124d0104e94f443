//! openraft's type parameters.

use std::sync::Arc;

use bytes::Bytes;
use openraft::{CommittedLeaderId, LogId};
use serde::{Deserialize, Serialize};

use super::log::EntryId;

openraft::declare_raft_types!(
    /// Numbered nodes with an address, entries of several commands, snapshots in files.
    pub TypeConfig:
        D = Commands,
        R = Outcomes,
        NodeId = NodeId,
        Node = openraft::BasicNode,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = tokio::fs::File,
);

/// A metaserver, by its number in the cluster.
pub type NodeId = u64;

pub type Entry = openraft::Entry<TypeConfig>;
pub type Membership = openraft::Membership<NodeId, openraft::BasicNode>;
pub type StoredMembership = openraft::StoredMembership<NodeId, openraft::BasicNode>;
pub type StorageError = openraft::StorageError<NodeId>;
pub type StorageIOError = openraft::StorageIOError<NodeId>;

/// The commands of one entry, each in the form that [`super::Machine`] reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commands(pub Arc<Vec<Bytes>>);

/// The answers to the commands of one entry, in the same order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes(pub Vec<Bytes>);

impl EntryId {
    pub(super) fn from_raft(id: &LogId<NodeId>) -> Self {
        Self { index: id.index + 1, term: id.leader_id.term, node: id.leader_id.node_id }
    }

    /// `None` for the place before the first entry.
    pub(super) fn to_raft(self) -> Option<LogId<NodeId>> {
        let index = self.index.checked_sub(1)?;
        Some(LogId::new(CommittedLeaderId::new(self.term, self.node), index))
    }
}
