//! What was removed gets its name again: one command for each, so that every step is whole, and one that was interrupted goes on when it
//! is asked for again.
//!
//! Directories come before what was in them. Which of what was removed from a directory belongs to it is told by its next cookie
//! ([`crate::namespace::trash::Trashed::next_cookie`]): what was removed before something else was added has been gone for longer than
//! the directory, and stays where it is.

use std::fmt::Write;

use cairn_proto::attr::FileKind;
use cairn_proto::error::{AdminError, FsError};
use cairn_proto::ids::{DirCookie, InodeId, SessionId};
use cairn_proto::meta::{MAX_DIR_PAGE, ReadDir};
use cairn_proto::name::Name;
use cairn_proto::trash::{RestoreRequest, RestoreResume, RestoredDir, RestoredPage, RestoredTop};
use futures::future::join_all;

use super::Shared;
use crate::command::Internal;
use crate::namespace::query;
use crate::namespace::trash::Trashed;
use crate::session::leases::touched::Touched;
use crate::session::recalls::Patience;

/// Records of one directory that are restored at the same time.
const RESTORE_BATCH: usize = 256;

/// Restores what was asked for itself, or finds that it has its name already and that there is something to be restored below.
pub(super) async fn top(shared: &Shared, request: RestoreRequest) -> Result<RestoredTop, AdminError> {
    let RestoreRequest { path, inode, to } = request;
    let found = shared.state.read(|read| query::find_trash(read, &path))?;
    let removed = match inode {
        Some(inode) => Some(record(shared, inode)?),
        None => found.removed,
    };
    let Some((inode, was)) = removed else {
        // Restored before, perhaps, and not all of it.
        let living = match (to, path.last()) {
            (Some(to), Some(name)) => shared.state.read(|read| query::find_entry(read, to, name))?,
            _ => found.living,
        };
        return below_living(shared, living.ok_or(AdminError::NotInTrash)?);
    };
    let parent = to.unwrap_or(was.parent);
    let above = shared.state.read(|read| query::path_of(read, parent))?.ok_or(AdminError::NoDirectory)?;
    let directory = fresh(shared, inode, &was)?;
    match shared.restore(inode, parent, &was.name).await {
        Ok(()) => Ok(RestoredTop { path: Some([above, vec![was.name]].concat()), directory }),
        Err(FsError::Exists) => Err(AdminError::PlaceTaken(shown(&above, &was.name))),
        Err(FsError::NotFound | FsError::Stale(_)) => Err(AdminError::NoDirectory),
        Err(error) => Err(error.into()),
    }
}

fn record(shared: &Shared, inode: InodeId) -> Result<(InodeId, Trashed), AdminError> {
    match shared.state.read(|read| query::trash_record(read, inode)) {
        Ok(was) => Ok((inode, was)),
        Err(FsError::NotFound) => Err(AdminError::NotInTrash),
        Err(error) => Err(error.into()),
    }
}

/// Something was removed from a directory that is there.
fn below_living(shared: &Shared, living: InodeId) -> Result<RestoredTop, AdminError> {
    let (path, cookie) = shared.state.read(|read| {
        let cookie = match query::retention_of(read, living) {
            Ok((_, next_cookie)) => Some(next_cookie),
            Err(crate::namespace::NamespaceError::Refused(_)) => None,
            Err(error) => return Err(error),
        };
        Ok((query::path_of_directory(read, living)?, cookie))
    })?;
    let next_cookie = cookie.ok_or(AdminError::NotInTrash)?;
    Ok(RestoredTop { path, directory: Some(RestoredDir { inode: living, next_cookie, was_there: true }) })
}

/// A directory that is about to be restored, as it was when it was removed.
fn fresh(shared: &Shared, inode: InodeId, was: &Trashed) -> Result<Option<RestoredDir>, FsError> {
    if was.kind != FileKind::Directory {
        return Ok(None);
    }
    let (_, next_cookie) = shared.state.read(|read| query::retention_of(read, inode))?;
    Ok(Some(RestoredDir { inode, next_cookie, was_there: false }))
}

/// `/a/b`, for people.
fn shown(above: &[Name], name: &Name) -> String {
    above.iter().chain([name]).fold(String::new(), |mut path, name| {
        let _ = write!(path, "/{name}");
        path
    })
}

/// Restores some of what was removed from a directory; then says which directories are in it.
pub(super) async fn below(
    shared: &Shared,
    directory: RestoredDir,
    all: bool,
    resume: Option<RestoreResume>,
) -> Result<RestoredPage, FsError> {
    match resume {
        None => removed(shared, directory, all, None).await,
        Some(RestoreResume::Trash(row)) => removed(shared, directory, all, Some(row)).await,
        Some(RestoreResume::Entries(after)) => living(shared, directory, after),
    }
}

async fn removed(
    shared: &Shared,
    directory: RestoredDir,
    all: bool,
    after: Option<Vec<u8>>,
) -> Result<RestoredPage, FsError> {
    let (rows, last_name) = shared.state.read(|read| {
        let rows = query::removed_from(read, directory.inode, after.as_deref(), RESTORE_BATCH)?;
        let last = after.as_deref().map(query::name_of_removed).transpose()?;
        Ok::<_, crate::store::StoreError>((rows, last))
    })?;
    let is_last = rows.len() < RESTORE_BATCH;
    let last_row = rows.last().map(|(row, ..)| row.clone());
    let mut page = RestoredPage::default();
    let (mut before, mut chosen) = (last_name, Vec::new());
    for (_, inode, was) in rows {
        let belongs = all || was.next_cookie == directory.next_cookie;
        // Of several of a name, the one that was removed last comes first.
        if before.as_ref() == Some(&was.name) || !belongs {
            page.earlier += 1;
        } else {
            chosen.push((inode, was.clone()));
        }
        before = Some(was.name);
    }
    let one = async |(inode, was): (InodeId, Trashed)| {
        let below = fresh(shared, inode, &was)?;
        match shared.restore(inode, directory.inode, &was.name).await {
            Ok(()) => Ok(Ok(below)),
            Err(FsError::Exists) => Ok(Err(was.name)),
            Err(error) => Err(error),
        }
    };
    // All of them, whatever becomes of the others: each is whole.
    for done in join_all(chosen.into_iter().map(one)).await {
        match done? {
            Ok(below) => {
                page.restored += 1;
                page.directories.extend(below);
            }
            Err(name) => page.taken.push(name),
        }
    }
    page.resume = match last_row {
        Some(row) if !is_last => Some(RestoreResume::Trash(row)),
        // In one that was just restored there is nothing else.
        _ => directory.was_there.then_some(RestoreResume::Entries(DirCookie::START)),
    };
    Ok(page)
}

/// Directories that are there: some of what is below them may have been removed.
fn living(shared: &Shared, directory: RestoredDir, after: DirCookie) -> Result<RestoredPage, FsError> {
    let request = ReadDir { inode: directory.inode, after, limit: MAX_DIR_PAGE, plus: false };
    shared.state.read(|read| {
        let page = query::read_dir(read, request)?;
        let below = page.entries.iter().filter(|entry| entry.kind == FileKind::Directory);
        let directories = below.map(|entry| {
            let (_, next_cookie) = query::retention_of(read, entry.inode)?;
            Ok(RestoredDir { inode: entry.inode, next_cookie, was_there: true })
        });
        let directories = directories.collect::<crate::namespace::Outcome<_>>()?;
        let resume = page.entries.last().filter(|_| !page.end).map(|last| RestoreResume::Entries(last.cookie));
        Ok::<_, crate::namespace::NamespaceError>(RestoredPage { directories, resume, ..RestoredPage::default() })
    })
}

impl Shared {
    /// Gives one inode a name again. Whoever has the directory for himself returns it first, and nobody remembers that the name was
    /// free.
    async fn restore(&self, inode: InodeId, parent: InodeId, name: &Name) -> Result<(), FsError> {
        let propose = async || {
            let mut touched = Touched::only(parent);
            touched.extend([inode]);
            let _announced = self.clients.changing(SessionId::SERVERS, touched, &mut Patience::default()).await?;
            self.state.internal(Internal::Restore { inode, parent, name: name.clone() }).await
        };
        self.clients.recalling_to_the_end(propose).await.map(drop)
    }
}
