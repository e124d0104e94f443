//! What was removed: in the order of removal, by path, by directory.

use std::collections::{BTreeSet, HashMap};

use cairn_proto::attr::FileKind;
use cairn_proto::ids::{DirCookie, InodeId};
use cairn_proto::name::Name;
use cairn_proto::policy::Retention;
use cairn_proto::time::Timestamp;
use cairn_proto::trash::{TrashCursor, TrashEntry};

use super::super::error::Outcome;
use super::super::inode::{self, Inode};
use super::super::keys;
use super::super::trash::{self, Trashed};
use super::super::value::page;
use super::super::{counters, dentry};
use crate::store::{Read, StoreError};

/// Directories above an inode at most.
const MAX_DEPTH: usize = 1 << 16;
/// Directories that were removed under one path and are looked through, the latest.
const MAX_NAMESAKES: usize = 64;

/// What a path leads to, or led to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrashFound {
    /// What was removed there last.
    pub removed: Option<(InodeId, Trashed)>,
    /// What is there now.
    pub living: Option<InodeId>,
}

/// What is in the trash behind `after`, in the order of removal.
pub fn trash(read: &dyn Read, after: Option<TrashCursor>, limit: usize) -> Result<Vec<(InodeId, Trashed)>, StoreError> {
    let mut first = Vec::new();
    for retention in retentions(read)? {
        let mut range = keys::trash_kept_for(retention);
        if let Some(TrashCursor { deleted, inode }) = after {
            range = range.after(&keys::trash_by_time(retention, deleted, inode));
        }
        first.extend(page(read, &range, limit, |(key, _)| keys::parse_trash_by_time(key))?);
    }
    first.sort_unstable_by_key(|&(_, deleted, inode)| (deleted, inode));
    first.truncate(limit);
    first.into_iter().map(|(_, _, inode)| record(read, inode)).collect()
}

/// What is to leave the trash by `now`, at most `limit`.
pub fn expired_trash(read: &dyn Read, now: Timestamp, limit: usize) -> Result<Vec<InodeId>, StoreError> {
    let mut expired = Vec::new();
    for retention in retentions(read)? {
        let left = limit - expired.len();
        if left == 0 {
            break;
        }
        let rows = page(read, &keys::trash_kept_for(retention), left, |(key, _)| keys::parse_trash_by_time(key))?;
        let is_over = |&(retention, deleted, _): &(Retention, Timestamp, InodeId)| retention.ends(deleted) <= now;
        expired.extend(rows.into_iter().take_while(is_over).map(|(_, _, inode)| inode));
    }
    Ok(expired)
}

/// For how long there is something kept: as many as people have chosen, and each costs a lookup.
fn retentions(read: &dyn Read) -> Result<Vec<Retention>, StoreError> {
    let (mut found, mut from) = (Vec::new(), Some(Retention(0)));
    if counters::get(read)?.trash == 0 {
        return Ok(found);
    }
    while let Some(least) = from {
        let rows = page(read, &keys::trash_kept_from(least), 1, |(key, _)| keys::parse_trash_by_time(key))?;
        found.extend(rows.first().map(|&(retention, ..)| retention));
        from = rows.first().and_then(|(retention, ..)| retention.0.checked_add(1)).map(Retention);
    }
    Ok(found)
}

/// An inode in the trash as it is shown; `NotFound` where it is not there. `paths` remembers those of directories.
pub fn trash_entry(
    read: &dyn Read,
    id: InodeId,
    paths: &mut HashMap<InodeId, Option<Vec<Name>>>,
) -> Outcome<TrashEntry> {
    let trashed = trash::get(read, id)?;
    let inode = inode::of_entry(read, id)?;
    let expires = trashed.expires();
    let Trashed { parent, name, kind, deleted, bytes, .. } = trashed;
    let above = match paths.get(&parent) {
        Some(known) => known.clone(),
        None => paths.entry(parent).or_insert(path_of_directory(read, parent)?).clone(),
    };
    let path = above.map(|mut path| {
        path.push(name.clone());
        path
    });
    Ok(TrashEntry { inode: id, kind, deleted, expires, size: inode.attr().size, bytes, name, path })
}

/// The path of a directory that has a name, or had one and is in the trash; `None` where it, or one above it, is neither.
pub fn path_of_directory(read: &dyn Read, directory: InodeId) -> Result<Option<Vec<Name>>, StoreError> {
    let (mut path, mut at) = (Vec::new(), directory);
    while at != InodeId::ROOT {
        let Some(inode) = inode::find(read, at)?.filter(|_| path.len() < MAX_DEPTH) else { return Ok(None) };
        let above = if inode.nlink > 0 {
            dentry::find_listed(read, inode.home)?.map(|listed| (inode.home.parent, listed.name))
        } else {
            trash::find(read, at)?.map(|trashed| (trashed.parent, trashed.name))
        };
        let Some((parent, name)) = above else { return Ok(None) };
        path.push(name);
        at = parent;
    }
    path.reverse();
    Ok(Some(path))
}

/// What is, and what was last, at a path from the root. Directories on the way may have been removed, and others of their name made.
pub fn find_trash(read: &dyn Read, path: &[Name]) -> Outcome<TrashFound> {
    let Some((last, above)) = path.split_last() else {
        return Ok(TrashFound { removed: None, living: Some(InodeId::ROOT) });
    };
    let (mut living, mut directories) = (Some(InodeId::ROOT), BTreeSet::from([InodeId::ROOT]));
    for name in above {
        let mut next = BTreeSet::new();
        for &directory in &directories {
            let removed = removed_as(read, directory, name, MAX_NAMESAKES)?;
            next.extend(removed.into_iter().filter(|(_, was)| was.kind == FileKind::Directory).map(|(id, _)| id));
        }
        // The latest have the highest numbers, or nearly so.
        while next.len() > MAX_NAMESAKES {
            next.pop_first();
        }
        living = entry(read, living, name)?;
        next.extend(living);
        directories = next;
    }
    let mut removed = None;
    for directory in directories {
        let last = removed_as(read, directory, last, 1)?.into_iter().next();
        removed = removed.into_iter().chain(last).max_by_key(|(id, was): &(InodeId, Trashed)| (was.deleted, *id));
    }
    Ok(TrashFound { removed, living: entry(read, living, last)? })
}

fn entry(read: &dyn Read, parent: Option<InodeId>, name: &Name) -> Result<Option<InodeId>, StoreError> {
    let Some(parent) = parent else { return Ok(None) };
    Ok(dentry::find(read, parent, name)?.map(|dentry| dentry.inode))
}

/// What was removed under a name, the latest first.
fn removed_as(
    read: &dyn Read,
    parent: InodeId,
    name: &Name,
    limit: usize,
) -> Result<Vec<(InodeId, Trashed)>, StoreError> {
    let rows = page(read, &keys::trash_at(parent, name), limit, |(key, _)| keys::parse_trash_by_place(key))?;
    rows.into_iter().map(|(_, inode)| record(read, inode)).collect()
}

/// What was removed from a directory, by name and then the latest first, behind a row; with the row of each.
pub fn removed_from(
    read: &dyn Read,
    directory: InodeId,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<(Vec<u8>, InodeId, Trashed)>, StoreError> {
    let mut range = keys::trash_in(directory);
    if let Some(after) = after {
        range = range.after(after);
    }
    let rows = page(read, &range, limit, |(key, _)| Ok((key.to_vec(), keys::parse_trash_by_place(key)?.1)))?;
    let with_record = |(key, inode)| record(read, inode).map(|(inode, trashed)| (key, inode, trashed));
    rows.into_iter().map(with_record).collect()
}

/// What [`removed_from`] answers a row of by name.
pub fn name_of_removed(row: &[u8]) -> Result<Name, StoreError> {
    keys::parse_trash_by_place(row).map(|(name, _)| name)
}

/// What an inode in the trash was; `NotFound` where it is not there.
pub fn trash_record(read: &dyn Read, inode: InodeId) -> Outcome<Trashed> {
    trash::get(read, inode)
}

/// For how long a directory keeps what is removed from it, and the next cookie that it gives out.
pub fn retention_of(read: &dyn Read, directory: InodeId) -> Outcome<(Retention, DirCookie)> {
    let inode: Inode = inode::get_directory(read, directory)?;
    Ok((inode.retention, inode.as_directory()?.next_cookie))
}

/// What an index names. That it is not there is damage.
fn record(read: &dyn Read, inode: InodeId) -> Result<(InodeId, Trashed), StoreError> {
    let found = trash::find(read, inode)?;
    Ok((inode, found.ok_or_else(|| StoreError::bad_value(&keys::trash(inode), "record of an index of the trash"))?))
}
