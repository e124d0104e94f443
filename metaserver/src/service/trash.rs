//! The trash, shown and emptied.

use std::collections::HashMap;

use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::trash::{MAX_TRASH_PAGE, TrashCount, TrashCursor, TrashEntry, TrashFilter, TrashPage};

use super::Shared;
use crate::command::Internal;
use crate::namespace::{Outcome, query};
use crate::store::Read;

/// Some of the trash behind `after`: it may have no entries, and yet more to come.
pub(super) fn page(shared: &Shared, filter: &TrashFilter, after: Option<TrashCursor>) -> Result<TrashPage, FsError> {
    shared.state.read(|read| {
        let rows = query::trash(read, after, MAX_TRASH_PAGE)?;
        let is_old = |deleted| filter.deleted_by.is_none_or(|by| deleted <= by);
        let is_over = rows.len() < MAX_TRASH_PAGE || rows.last().is_some_and(|(_, last)| !is_old(last.deleted));
        let resume = rows.last().map(|(inode, last)| TrashCursor { deleted: last.deleted, inode: *inode });
        let wanted = rows.iter().take_while(|(_, trashed)| is_old(trashed.deleted)).map(|(inode, _)| *inode);
        let entries = entries(read, filter, wanted)?;
        Ok::<_, crate::namespace::NamespaceError>(TrashPage { entries, resume: resume.filter(|_| !is_over) })
    })
}

fn entries(read: &dyn Read, filter: &TrashFilter, inodes: impl Iterator<Item = InodeId>) -> Outcome<Vec<TrashEntry>> {
    let mut paths = HashMap::new();
    let mut entries = Vec::new();
    for inode in inodes {
        let entry = query::trash_entry(read, inode, &mut paths)?;
        let is_below = filter.below.is_empty() || entry.path.as_ref().is_some_and(|p| p.starts_with(&filter.below));
        if is_below {
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// Removes what is on such a page for good, or says what that would be.
pub(super) async fn empty(
    shared: &Shared,
    filter: &TrashFilter,
    after: Option<TrashCursor>,
    dry: bool,
) -> Result<(TrashCount, Option<TrashCursor>), FsError> {
    let TrashPage { entries, resume } = page(shared, filter, after)?;
    let count = TrashCount { entries: entries.len() as u64, bytes: entries.iter().map(|entry| entry.bytes).sum() };
    if !dry && !entries.is_empty() {
        drop_for_good(shared, entries.into_iter().map(|entry| entry.inode).collect()).await?;
    }
    Ok((count, resume))
}

/// These leave the trash for good, if they are in it.
pub(super) async fn drop_for_good(shared: &Shared, inodes: Vec<InodeId>) -> Result<(), FsError> {
    shared.state.internal(Internal::DropTrash { inodes, expired: false }).await.map(drop)
}
