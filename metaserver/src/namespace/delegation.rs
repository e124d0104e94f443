//! Delegations: a directory that one session has for itself. It works in it without asking and tells later; whoever else touches
//! the directory, or what the directory answers for, is refused with [`FsError::Delegated`] until it is returned.
//!
//! A directory answers for its own attributes and entries. For the attributes and content of anything else answer all directories
//! that name it; for what has no name, nobody. A delegation is void once its session is gone: ids of sessions are never used
//! again, so a row that is left over means nothing.
//!
//! [`conflict`] says what each mutation touches. That the holder is asked to return a directory is not done here, see
//! [`crate::session::recalls`].

pub(super) mod conflict;

use cairn_proto::error::FsError;
use cairn_proto::ids::{InodeId, SessionId};
use serde::{Deserialize, Serialize};

use super::error::Outcome;
use super::inode::Inode;
use super::value::{Stored, load, page, save};
use super::{inode, keys, link, session};
use crate::store::{Read, StoreError, Txn};

/// Rows that are looked at together where a whole table is gone through.
const PAGE: usize = 1024;

/// Who has a directory: the row of a delegation.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Holder(pub SessionId);

impl Stored for Holder {
    const FORMAT: u8 = 1;
    const NOUN: &'static str = "delegation";
}

/// The living session that has `directory`.
pub(super) fn holder(read: &dyn Read, directory: InodeId) -> Result<Option<SessionId>, StoreError> {
    match load(read, &keys::delegation(directory))? {
        Some(Holder(holder)) if session::exists(read, holder)? => Ok(Some(holder)),
        _ => Ok(None),
    }
}

/// Whether a living session other than `caller` has `directory`. One lookup where there is no delegation, or it is the caller's.
pub(super) fn is_foreign(read: &dyn Read, caller: Option<SessionId>, directory: InodeId) -> Result<bool, StoreError> {
    match load(read, &keys::delegation(directory))? {
        Some(Holder(holder)) if Some(holder) != caller => session::exists(read, holder),
        _ => Ok(false),
    }
}

/// Refuses with `Delegated` where somebody other than `caller` has `directory`.
pub(super) fn admit(read: &dyn Read, caller: Option<SessionId>, directory: InodeId) -> Outcome<()> {
    if is_foreign(read, caller, directory)? { Err(FsError::Delegated(directory).into()) } else { Ok(()) }
}

/// Refuses where somebody other than `caller` has one of the directories that answer for `inode`.
pub(super) fn admit_inode(read: &dyn Read, caller: Option<SessionId>, inode: &Inode) -> Outcome<()> {
    if inode.is_directory() {
        return admit(read, caller, inode.id);
    }
    if inode.nlink > 0 {
        admit(read, caller, inode.home.parent)?;
    }
    if inode.nlink > 1 {
        let mut last = InodeId(0);
        while let Some(parent) = link::next_parent(read, inode.id, last)? {
            admit(read, caller, parent)?;
            last = parent;
        }
    }
    Ok(())
}

/// As [`admit_inode`], by number. What does not exist is nobody's: whoever asks for it is told so elsewhere.
pub(super) fn admit_number(read: &dyn Read, caller: Option<SessionId>, id: InodeId) -> Outcome<()> {
    match inode::find(read, id)? {
        Some(inode) => admit_inode(read, caller, &inode),
        None => Ok(()),
    }
}

/// `directory` is `holder`'s from now on.
pub(super) fn put(txn: &mut Txn<'_>, directory: InodeId, holder: SessionId) {
    save(txn, keys::delegation(directory), &Holder(holder));
}

/// `directory` is nobody's any more, if it was somebody's.
pub(super) fn end(txn: &mut Txn<'_>, directory: InodeId) -> Result<(), StoreError> {
    let key = keys::delegation(directory);
    if txn.get(&key)?.is_some() {
        txn.delete(key);
    }
    Ok(())
}

/// `session` has no directory any more.
pub(super) fn end_all_of(txn: &mut Txn<'_>, session: SessionId) -> Result<(), StoreError> {
    let mut range = keys::all_delegations();
    loop {
        let rows = page(&*txn, &range, PAGE, |(key, value)| Ok((key.clone(), Holder::from_stored(key, value)?)))?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        range = range.after(last);
        let is_last = rows.len() < PAGE;
        for (key, _) in rows.into_iter().filter(|(_, holder)| holder.0 == session) {
            txn.delete(key);
        }
        if is_last {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
