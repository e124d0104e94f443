//! What a mutation changes, as far as sessions remember it: whose leases have to end first.
//!
//! Access times are left out: every reader would take the others' leases away. So are places of chunks, which readers find out about
//! by asking again.

use std::collections::HashSet;

use cairn_proto::ids::InodeId;
use cairn_proto::meta::{Mutation, MutationReply};
use cairn_proto::name::Name;

use crate::namespace::{Outcome, query};
use crate::store::Read;

/// Inodes that are about to be changed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Touched(HashSet<InodeId>);

impl Touched {
    /// One inode.
    pub fn only(inode: InodeId) -> Self {
        Self(HashSet::from([inode]))
    }

    pub fn inodes(&self) -> impl Iterator<Item = InodeId> + '_ {
        self.0.iter().copied()
    }

    pub fn contains(&self, inode: InodeId) -> bool {
        self.0.contains(&inode)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn extend(&mut self, inodes: impl IntoIterator<Item = InodeId>) {
        self.0.extend(inodes);
    }

    /// What `mutation` is going to change. What names lead to may be something else by the time it is done: see [`Self::by_reply`].
    pub fn by(read: &dyn Read, mutation: &Mutation) -> Outcome<Self> {
        let entry = |parent: InodeId, name: &Name| query::find_entry(read, parent, name);
        let inodes: Vec<InodeId> = match mutation {
            Mutation::Create { parent, .. } => vec![*parent],
            Mutation::Link { inode, parent, .. } => vec![*inode, *parent],
            Mutation::Unlink { parent, name } | Mutation::Rmdir { parent, name } => {
                std::iter::once(*parent).chain(entry(*parent, name)?).collect()
            }
            Mutation::Rename { parent, name, new_parent, new_name, mode: _ } => {
                let named = entry(*parent, name)?.into_iter().chain(entry(*new_parent, new_name)?);
                [*parent, *new_parent].into_iter().chain(named).collect()
            }
            Mutation::SetAttr { inode, .. }
            | Mutation::SetXattr { inode, .. }
            | Mutation::RemoveXattr { inode, .. }
            | Mutation::CommitWrite { inode, .. }
            | Mutation::TakeDelegation { inode, .. } => vec![*inode],
            Mutation::AllocateChunks { .. }
            | Mutation::ClearTrim { .. }
            | Mutation::ReplaceFailed { .. }
            | Mutation::SetPolicy { .. }
            | Mutation::TouchAtime { .. }
            | Mutation::ReturnDelegation { .. } => Vec::new(),
        };
        Ok(Self(inodes.into_iter().collect()))
    }

    /// What a mutation has changed.
    pub fn by_reply(reply: &MutationReply) -> Self {
        let inodes: Vec<InodeId> = match reply {
            MutationReply::Removed { attr, .. } => vec![attr.inode],
            MutationReply::Renamed { moved, replaced, exchanged, .. } => {
                let others = [replaced, exchanged].into_iter().flatten();
                others.chain([moved]).map(|attr| attr.inode).collect()
            }
            _ => Vec::new(),
        };
        Self(inodes.into_iter().collect())
    }
}
