//! Delegations: who has which directory, and whom that keeps from what.

use std::collections::BTreeSet;

use cairn_metaserver::command::{Body, Command, Decided, Internal};
use cairn_metaserver::namespace::Reply;
use cairn_proto::attr::FileKind;
use cairn_proto::error::FsError;
use cairn_proto::ids::{InodeId, SessionId};
use cairn_proto::meta::{Delegation, Mutation, NewNode};
use cairn_proto::name::Name;

use super::{Answer, Model};

impl Model {
    /// Why an operation that was done ahead may not be applied now, or ever.
    pub fn out_of_turn(&self, command: &Command) -> Option<FsError> {
        let Body::Mutation { decided: Decided::Ahead { position, .. }, .. } = command.body else { return None };
        let done = self.ahead.get(&command.origin?.op.session).copied().unwrap_or(0);
        match position {
            _ if position <= done => Some(FsError::InvalidArgument),
            _ if position == done + 1 => None,
            _ => Some(FsError::NotReady),
        }
    }

    /// The directories that keep `command` from being done, as somebody else has them.
    pub fn in_the_way(&self, command: &Command) -> BTreeSet<InodeId> {
        let touched = match &command.body {
            Body::Mutation { mutation, .. } => self.touched(mutation),
            Body::Internal(Internal::Restore { inode, parent, .. }) => {
                self.touched_by_restore(*inode, *parent).into_iter().collect()
            }
            Body::Internal(Internal::SetRetention { inode, retention }) => {
                self.touched_by_retention(*inode, retention.0).into_iter().collect()
            }
            Body::Internal(_) => BTreeSet::new(),
        };
        let caller = command.origin.map(|origin| origin.op.session);
        let is_foreign =
            |directory: &InodeId| self.delegated.get(directory).is_some_and(|&holder| Some(holder) != caller);
        touched.into_iter().filter(is_foreign).collect()
    }

    fn touched(&self, mutation: &Mutation) -> BTreeSet<InodeId> {
        let mut touched = BTreeSet::new();
        match mutation {
            Mutation::Create { parent, name, node, exclusive, .. } => {
                touched.insert(*parent);
                // An existing file is answered with its attributes.
                if *node == NewNode::File && !exclusive {
                    touched.extend(self.of_entry(*parent, name, |kind| kind == FileKind::File));
                }
            }
            Mutation::Link { inode, parent, .. } => {
                touched.insert(*parent);
                touched.extend(self.answering(*inode));
            }
            Mutation::Unlink { parent, name } => {
                touched.insert(*parent);
                touched.extend(self.of_entry(*parent, name, |kind| kind != FileKind::Directory));
            }
            Mutation::Rmdir { parent, name } => {
                touched.insert(*parent);
                touched.extend(self.of_entry(*parent, name, |kind| kind == FileKind::Directory));
            }
            Mutation::Rename { parent, name, new_parent, new_name, .. } => {
                touched.extend([*parent, *new_parent]);
                touched.extend(self.of_entry(*parent, name, |_| true));
                touched.extend(self.of_entry(*new_parent, new_name, |_| true));
            }
            Mutation::SetAttr { inode, .. }
            | Mutation::SetXattr { inode, .. }
            | Mutation::RemoveXattr { inode, .. }
            | Mutation::CommitWrite { inode, .. }
            | Mutation::SetPolicy { inode, .. }
            | Mutation::TouchAtime { inode, .. } => touched.extend(self.answering(*inode)),
            Mutation::AllocateChunks { .. }
            | Mutation::ClearTrim { .. }
            | Mutation::ReplaceFailed { .. }
            | Mutation::TakeDelegation { .. }
            | Mutation::ReturnDelegation { .. } => {}
        }
        touched
    }

    fn of_entry(&self, parent: InodeId, name: &Name, fits: impl Fn(FileKind) -> bool) -> BTreeSet<InodeId> {
        let entry = self.nodes.get(&parent).and_then(|parent| parent.entries.get(name));
        entry.filter(|entry| fits(self.nodes[entry].kind)).map(|&entry| self.answering(entry)).unwrap_or_default()
    }

    /// A directory answers for itself; for anything else answer all directories that name it.
    fn answering(&self, id: InodeId) -> BTreeSet<InodeId> {
        match self.nodes.get(&id) {
            Some(node) if node.kind == FileKind::Directory => BTreeSet::from([id]),
            _ => {
                let names_it = |parent: &InodeId| self.nodes[parent].entries.values().any(|&entry| entry == id);
                self.nodes.keys().copied().filter(names_it).collect()
            }
        }
    }

    pub(super) fn take_delegation(&mut self, caller: SessionId, id: InodeId, max_entries: u64) -> Answer {
        let directory = self.directory(id)?;
        if self.nlink(id) == 0 {
            return Err(FsError::NotFound);
        }
        let (entries, policy) = (directory.entries.len() as u64, directory.policy);
        if entries > max_entries || self.delegated.get(&id).is_some_and(|&holder| holder != caller) {
            return Ok(Reply::Delegated(None));
        }
        self.delegated.insert(id, caller);
        Ok(Reply::Delegated(Some(Delegation { attr: self.attr(id), policy, parent: self.parent_of(id) })))
    }

    pub(super) fn return_delegation(&mut self, caller: SessionId, id: InodeId) -> Answer {
        if self.delegated.get(&id) == Some(&caller) {
            self.delegated.remove(&id);
        }
        Ok(Reply::Done)
    }

    pub(super) fn close_session(&mut self, session: SessionId) -> Answer {
        self.delegated.retain(|_, &mut holder| holder != session);
        Ok(Reply::Done)
    }

    /// What is no directory any more is nobody's.
    pub(super) fn forget_removed(&mut self) {
        let gone: Vec<_> = self.delegated.keys().copied().filter(|&id| self.nlink(id) == 0).collect();
        self.delegated.retain(|id, _| !gone.contains(id));
    }

    fn parent_of(&self, id: InodeId) -> InodeId {
        let names_it = |(_, node): &(&InodeId, &super::Node)| node.entries.values().any(|&entry| entry == id);
        // The root's is the root.
        self.nodes.iter().find(names_it).map_or(id, |(&parent, _)| parent)
    }
}
