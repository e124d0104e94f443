//! Orphans: inodes without a name that are not in the [trash](super::trash) either. They live while somebody holds them open; the leader, who knows that, has them reaped.

use cairn_proto::ids::InodeId;
use cairn_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::change::Change;
use super::error::Outcome;
use super::keys;
use super::value::{Stored, save};
use crate::store::{Read, StoreError};

/// An inode without a name.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Orphan {
    /// When it lost its last name.
    pub since: Timestamp,
}

impl Stored for Orphan {
    const FORMAT: u8 = 1;
    const NOUN: &'static str = "orphan";
}

/// `inode` has just lost its last name, or what kept it without one.
pub(super) fn add(change: &mut Change<'_>, inode: InodeId) -> Outcome<()> {
    let orphan = Orphan { since: change.at };
    save(&mut change.txn, keys::orphan(inode), &orphan);
    change.counters()?.orphans += 1;
    Ok(())
}

pub(super) fn contains(read: &dyn Read, inode: InodeId) -> Result<bool, StoreError> {
    Ok(read.get(&keys::orphan(inode))?.is_some())
}
