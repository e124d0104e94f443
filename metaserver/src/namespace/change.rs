//! One command while it is being applied.

use cairn_proto::ids::{InodeId, LogIndex, SessionId};
use cairn_proto::time::Timestamp;

use super::counters::{self, Counters};
use super::error::Outcome;
use super::inode::{self, Inode};
use super::keys;
use super::value::save;
use crate::store::{StoreError, Txn, WriteSet};

/// A transaction with what every operation needs besides. Dropped where the operation is refused; so nothing of it stays.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub txn: Txn<'a>,
    /// The command's time.
    pub at: Timestamp,
    /// The session whose operation it is; `None` for the metaserver's own.
    pub caller: Option<SessionId>,
    index: LogIndex,
    /// Read when first asked for, written at the end.
    counters: Option<Counters>,
}

impl<'a> Change<'a> {
    pub fn new(txn: Txn<'a>, index: LogIndex, at: Timestamp, caller: Option<SessionId>) -> Self {
        Self { txn, at, caller, index, counters: None }
    }

    /// The counters, to be changed.
    pub fn counters(&mut self) -> Result<&mut Counters, StoreError> {
        let loaded = match self.counters {
            Some(counters) => counters,
            None => counters::get(&self.txn)?,
        };
        Ok(self.counters.insert(loaded))
    }

    /// Writes an inode, as changed by this command.
    pub fn save(&mut self, inode: &mut Inode) {
        inode.changed_at = self.index;
        save(&mut self.txn, keys::inode(inode.id), inode);
    }

    /// Reads, changes and writes an inode; answers it as it is then.
    pub fn update(&mut self, id: InodeId, with: impl FnOnce(&mut Inode)) -> Outcome<Inode> {
        let mut inode = inode::get(&self.txn, id)?;
        with(&mut inode);
        self.save(&mut inode);
        Ok(inode)
    }

    /// All that was written.
    pub fn into_writes(mut self) -> WriteSet {
        if let Some(counters) = self.counters {
            counters::put(&mut self.txn, &counters);
        }
        self.txn.into_writes()
    }
}
