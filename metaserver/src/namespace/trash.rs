//! The trash: inodes that lost their last name in a directory with a retention, until that is over or somebody empties it.
//!
//! An inode without a name is either here or among the [orphans](super::orphan). That it is here changes nothing of what those see who
//! have it open, and nothing of what its removal answered: clients that work ahead foresee that answer and know of no trash.
//!
//! A row by inode says what it was; two further ones only help to find it: by place, to find what was removed under a path, and by
//! time, in the order of removal among those that are kept equally long: so both what has expired and what was removed since
//! are found without looking at the rest.

use cairn_proto::attr::FileKind;
use cairn_proto::error::FsError;
use cairn_proto::ids::{DirCookie, InodeId};
use cairn_proto::name::Name;
use cairn_proto::policy::Retention;
use cairn_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::change::Change;
use super::error::Outcome;
use super::inode::{Content, Inode};
use super::keys;
use super::value::{Stored, load, save};
use crate::store::{Read, StoreError};

/// What an inode in the trash was, and when it was removed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Trashed {
    /// The directory that it was removed from: it may be in the trash, too, or gone.
    pub parent: InodeId,
    pub name: Name,
    pub kind: FileKind,
    pub deleted: Timestamp,
    /// That of the directory then.
    pub retention: Retention,
    /// Bytes that it holds; what is written to it while somebody has it open still counts.
    pub bytes: u64,
    /// The cookie that the next new entry of the directory would have got: as long as that is the same, nothing was added since. So what
    /// was removed along with the whole directory is told from what was removed earlier.
    pub next_cookie: DirCookie,
}

/// A row that only helps to find something. All that it says is in its key.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Indexed;

impl Stored for Trashed {
    const FORMAT: u8 = 1;
    const NOUN: &'static str = "record of the trash";
}

impl Stored for Indexed {
    const FORMAT: u8 = 1;
    const NOUN: &'static str = "row of an index of the trash";
}

impl Trashed {
    pub fn expires(&self) -> Timestamp {
        self.retention.ends(self.deleted)
    }
}

/// `inode` has just lost its last name, which was `name` in `parent`.
pub(super) fn add(change: &mut Change<'_>, inode: &Inode, parent: &Inode, name: &Name) -> Outcome<()> {
    let trashed = Trashed {
        parent: parent.id,
        name: name.clone(),
        kind: inode.kind(),
        deleted: change.at,
        retention: parent.retention,
        bytes: bytes_of(inode),
        next_cookie: parent.as_directory()?.next_cookie,
    };
    save(&mut change.txn, keys::trash(inode.id), &trashed);
    for key in index_keys(inode.id, &trashed) {
        save(&mut change.txn, key, &Indexed);
    }
    let counters = change.counters()?;
    counters.trash += 1;
    counters.trash_bytes += trashed.bytes;
    Ok(())
}

/// `inode` is not in the trash any more; the caller says where it is then.
pub(super) fn remove(change: &mut Change<'_>, inode: InodeId, trashed: &Trashed) -> Outcome<()> {
    change.txn.delete(keys::trash(inode));
    for key in index_keys(inode, trashed) {
        change.txn.delete(key);
    }
    let counters = change.counters()?;
    counters.trash = counters.trash.saturating_sub(1);
    counters.trash_bytes = counters.trash_bytes.saturating_sub(trashed.bytes);
    Ok(())
}

/// What `inode` holds has changed. That matters here where it is in the trash, and somebody has it open still.
pub(super) fn resized(change: &mut Change<'_>, inode: &Inode) -> Outcome<()> {
    if inode.nlink > 0 {
        return Ok(());
    }
    let Some(mut trashed) = find(&change.txn, inode.id)? else { return Ok(()) };
    let (before, now) = (trashed.bytes, bytes_of(inode));
    if before != now {
        trashed.bytes = now;
        save(&mut change.txn, keys::trash(inode.id), &trashed);
        let counters = change.counters()?;
        counters.trash_bytes = counters.trash_bytes.saturating_sub(before) + now;
    }
    Ok(())
}

pub(super) fn find(read: &dyn Read, inode: InodeId) -> Result<Option<Trashed>, StoreError> {
    load(read, &keys::trash(inode))
}

/// `NotFound` where it is not in the trash.
pub(super) fn get(read: &dyn Read, inode: InodeId) -> Outcome<Trashed> {
    Ok(find(read, inode)?.ok_or(FsError::NotFound)?)
}

pub(super) fn index_keys(inode: InodeId, trashed: &Trashed) -> [bytes::Bytes; 2] {
    let Trashed { parent, name, deleted, retention, .. } = trashed;
    [keys::trash_by_place(*parent, name, *deleted, inode), keys::trash_by_time(*retention, *deleted, inode)]
}

fn bytes_of(inode: &Inode) -> u64 {
    match inode.content {
        Content::File(file) => file.allocated,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
