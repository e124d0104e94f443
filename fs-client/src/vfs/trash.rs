//! `.trash` at the root of the mount: what was removed and is kept, one entry for each, by the name `INODE|path|to|it`.
//!
//! It is made up here, and no directory of the metaserver's. Only root may enter it: the kernel sees to that, by its mode. Nothing is changed
//! through it, but that removing an entry removes it for good. A directory in it looks empty, as what was in it has entries of its
//! own.
//!
//! What is in it is shown under inode numbers of its own: so what holds of it does not hold for those who have the same file open
//! since before it was removed. Nothing of it is remembered, here or in the kernel.

use std::collections::VecDeque;
use std::time::Duration;

use cairn_proto::attr::{Attr, FileKind};
use cairn_proto::error::FsError;
use cairn_proto::ids::{InodeId, LogIndex};
use cairn_proto::name::{NAME_MAX_BYTES, Name};
use cairn_proto::time::Timestamp;
use cairn_proto::trash::{TrashCursor, TrashEntry, TrashPage};

use super::Vfs;
use super::caller::Caller;
use super::directory::Listed;
use super::error::VfsError;
use super::files::Access;
use super::lookup::{Looked, Lookup};
use super::open::Opening;

/// In the root; an entry that really has this name, from before there was a trash, is what is seen instead.
const NAME: &[u8] = b".trash";
/// Its number: beyond all that the metaserver gives out.
const TRASH: InodeId = InodeId(u64::MAX - 1);
/// The bit that tells numbers in the trash from those of the same inodes elsewhere.
const INSIDE: u64 = 1 << 63;
/// Between the parts of a name.
const SEPARATOR: u8 = b'|';
/// In the place of directories that are gone.
const UNKNOWN: &[u8] = b"?";
/// `.` and `..` come first.
const DOTS: u64 = 2;

/// Where an inode number belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Outside,
    Trash,
    /// In the trash; this is its number elsewhere.
    Inside(InodeId),
}

impl Place {
    pub fn of(inode: InodeId) -> Self {
        match inode {
            TRASH => Self::Trash,
            InodeId(number) if number & INSIDE != 0 => Self::Inside(InodeId(number & !INSIDE)),
            _ => Self::Outside,
        }
    }

    /// The number that the metaserver knows; `None` of the trash itself.
    pub fn real(inode: InodeId) -> Option<InodeId> {
        match Self::of(inode) {
            Self::Outside => Some(inode),
            Self::Inside(real) => Some(real),
            Self::Trash => None,
        }
    }

    /// Refuses to change what is in the trash.
    pub fn must_be_outside(inode: InodeId) -> Result<(), VfsError> {
        if Self::of(inode) == Self::Outside { Ok(()) } else { Err(VfsError::ReadOnly) }
    }
}

/// Whether a name is that of the trash.
pub(super) fn is_reserved(parent: InodeId, name: &Name) -> bool {
    parent == InodeId::ROOT && name.as_bytes() == NAME
}

/// Refuses new names in the trash, and its own.
pub(super) fn may_be_made(parent: InodeId, name: &Name) -> Result<(), VfsError> {
    Place::must_be_outside(parent)?;
    if is_reserved(parent, name) { Err(FsError::NotPermitted.into()) } else { Ok(()) }
}

/// The directory as it is shown.
pub(super) fn trash_itself() -> Looked {
    let never = Timestamp::default();
    let attr = Attr {
        inode: TRASH,
        kind: FileKind::Directory,
        mode: 0o700,
        nlink: 2,
        uid: 0,
        gid: 0,
        rdev: 0,
        size: 0,
        allocated: 0,
        atime: never,
        mtime: never,
        ctime: never,
        btime: never,
        has_xattrs: false,
        changed_at: LogIndex(0),
    };
    Looked { attr, attr_validity: Duration::ZERO, name_validity: Duration::ZERO }
}

/// Something as it is shown in the trash, where it has a name.
pub(super) fn shown_in_trash(looked: Looked) -> Looked {
    let Looked { attr, .. } = looked;
    let nlink = if attr.kind == FileKind::Directory { 2 } else { 1 };
    let attr = Attr { inode: InodeId(attr.inode.0 | INSIDE), nlink, ..attr };
    Looked { attr, attr_validity: Duration::ZERO, name_validity: Duration::ZERO }
}

/// `INODE|path|to|it`, without its beginning where that would be too long.
fn name_of(entry: &TrashEntry) -> Vec<u8> {
    let mut name = entry.inode.0.to_string().into_bytes();
    let mut path = Vec::new();
    match &entry.path {
        Some(whole) => whole.iter().for_each(|part| push(&mut path, part.as_bytes())),
        None => [UNKNOWN, entry.name.as_bytes()].into_iter().for_each(|part| push(&mut path, part)),
    }
    let room = NAME_MAX_BYTES - name.len();
    let mut cut = path.len().saturating_sub(room);
    if cut > 0 {
        cut += 1;
        // Not in the midst of a character, where the name is text.
        while path.get(cut).is_some_and(|byte| byte & 0xc0 == 0x80) {
            cut += 1;
        }
        name.push(SEPARATOR);
    }
    name.extend_from_slice(path.get(cut..).unwrap_or_default());
    name
}

fn push(path: &mut Vec<u8>, part: &[u8]) {
    path.push(SEPARATOR);
    path.extend_from_slice(part);
}

/// The inode that a name begins with.
fn inode_in(name: &Name) -> Option<InodeId> {
    let end = name.as_bytes().iter().position(|&byte| byte == SEPARATOR)?;
    std::str::from_utf8(&name.as_bytes()[..end]).ok()?.parse().ok().map(InodeId)
}

/// How far the listing of an open directory is.
#[derive(Debug, Default)]
pub(super) struct TrashListing {
    /// The place of the first of `entries`.
    first: u64,
    /// What was fetched and is not listed.
    entries: VecDeque<TrashEntry>,
    after: Option<TrashCursor>,
    /// Nothing follows the entries.
    end: bool,
}

impl Vfs {
    pub(super) async fn lookup_in_trash(&self, parent: InodeId, name: &Name) -> Result<Lookup, VfsError> {
        match self.entry_in_trash(parent, name).await? {
            Some(real) => Ok(Lookup::Found(self.getattr(InodeId(real.0 | INSIDE)).await?)),
            None => Ok(Lookup::Absent(Duration::ZERO)),
        }
    }

    /// What an entry of the trash stands for. The number alone says that: the path is that of today, and another one as soon as a directory
    /// on it is moved, or gone.
    async fn entry_in_trash(&self, parent: InodeId, name: &Name) -> Result<Option<InodeId>, VfsError> {
        let (Place::Trash, Some(inode)) = (Place::of(parent), inode_in(name)) else { return Ok(None) };
        self.delegations.flush().await?;
        match self.meta.trashed(inode).await.map_err(VfsError::from) {
            Ok(_) => Ok(Some(inode)),
            Err(error) if error.refusal() == Some(&FsError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `unlink` and `rmdir` of an entry: it is gone for good.
    pub(super) async fn remove_from_trash(&self, parent: InodeId, name: &Name) -> Result<(), VfsError> {
        let inode = self.entry_in_trash(parent, name).await?.ok_or(FsError::NotFound)?;
        Ok(self.meta.drop_trash(inode).await?)
    }

    pub(super) async fn open_in_trash(&self, caller: Caller, inode: InodeId, flags: i32) -> Result<Opening, VfsError> {
        let real = Place::real(inode).ok_or(FsError::IsDirectory)?;
        if Access::of_flags(flags).write || flags & libc::O_TRUNC != 0 {
            return Err(VfsError::ReadOnly);
        }
        let opening = self.open_there(caller, real, flags).await?;
        // Pages that the kernel keeps by this number are of no lease.
        Ok(Opening { keep_pages: false, ..opening })
    }

    /// Lists the trash, or nothing, where `dir` is a directory in it.
    pub(super) async fn list_trash(
        &self,
        dir: InodeId,
        listing: &mut TrashListing,
        offset: u64,
        plus: bool,
        sink: &mut (impl FnMut(Listed<'_>) -> bool + Send),
    ) -> Result<(), VfsError> {
        let up = if dir == TRASH { InodeId::ROOT } else { TRASH };
        for (place, (name, inode)) in (1..).zip([(&b"."[..], dir), (&b".."[..], up)]) {
            let listed = Listed { name, inode, kind: FileKind::Directory, next: place, looked: None };
            if offset < place && sink(listed) {
                return Ok(());
            }
        }
        if dir != TRASH {
            return Ok(());
        }
        let wanted = offset.saturating_sub(DOTS);
        if wanted < listing.first || wanted == 0 {
            *listing = TrashListing::default();
        }
        while self.fetch_trash(listing).await? {
            let Some(entry) = listing.entries.front() else { return Ok(()) };
            if listing.first >= wanted {
                let looked = if plus { self.looked_in_trash(entry).await? } else { None };
                let inode = InodeId(entry.inode.0 | INSIDE);
                let name = name_of(entry);
                let next = listing.first + DOTS + 1;
                // One that has just left the trash is passed over.
                let is_there = looked.is_some() || !plus;
                if is_there && sink(Listed { name: &name, inode, kind: entry.kind, next, looked }) {
                    return Ok(());
                }
            }
            listing.entries.pop_front();
            listing.first += 1;
        }
        Ok(())
    }

    async fn looked_in_trash(&self, entry: &TrashEntry) -> Result<Option<Looked>, VfsError> {
        match self.getattr(InodeId(entry.inode.0 | INSIDE)).await {
            Ok(looked) => Ok(Some(looked)),
            Err(error) if Self::is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sees to it that there is an entry to list; answers whether there is one.
    async fn fetch_trash(&self, listing: &mut TrashListing) -> Result<bool, VfsError> {
        if listing.after.is_none() && listing.entries.is_empty() && !listing.end {
            self.delegations.flush().await?;
        }
        while listing.entries.is_empty() && !listing.end {
            let TrashPage { entries, resume } = self.meta.trash(listing.after).await?;
            listing.entries.extend(entries);
            listing.after = resume;
            listing.end = resume.is_none();
        }
        Ok(!listing.entries.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(inode: u64, path: Option<&[&str]>) -> TrashEntry {
        let name = |part: &&str| Name::new(*part).unwrap();
        TrashEntry {
            inode: InodeId(inode),
            kind: FileKind::File,
            deleted: Timestamp::default(),
            expires: Timestamp::default(),
            size: 0,
            bytes: 0,
            name: name(&"f"),
            path: path.map(|path| path.iter().map(name).collect()),
        }
    }

    #[test]
    fn numbers_tell_where_they_belong() {
        assert_eq!(Place::of(InodeId::ROOT), Place::Outside);
        assert_eq!(Place::of(TRASH), Place::Trash);
        assert_eq!(Place::of(InodeId(7 | INSIDE)), Place::Inside(InodeId(7)));
        assert_eq!((Place::real(InodeId(7 | INSIDE)), Place::real(TRASH)), (Some(InodeId(7)), None));
        assert_eq!(Place::must_be_outside(TRASH), Err(VfsError::ReadOnly));
        assert_eq!(may_be_made(InodeId::ROOT, &Name::new(".trash").unwrap()), Err(FsError::NotPermitted.into()));
        assert_eq!(may_be_made(InodeId(2), &Name::new(".trash").unwrap()), Ok(()));
    }

    #[test]
    fn names_are_paths_that_fit() {
        assert_eq!(name_of(&entry(12, Some(&["a", "b", "f"]))), b"12|a|b|f");
        assert_eq!(name_of(&entry(12, None)), b"12|?|f");
        let long = "ä".repeat(127);
        let cut = name_of(&entry(12, Some(&["a", &long, "f"])));
        assert!(cut.len() <= NAME_MAX_BYTES && cut.len() > NAME_MAX_BYTES - 4, "{}", cut.len());
        let text = String::from_utf8(cut).expect("characters stay whole");
        assert!(text.starts_with("12|ä") && text.ends_with("ä|f"), "{text}");
        let exact = name_of(&entry(12, Some(&["a".repeat(252).as_str()])));
        assert_eq!((exact.len(), &exact[..4]), (255, &b"12|a"[..]));
        assert_eq!(inode_in(&Name::new("12|a|b").unwrap()), Some(InodeId(12)));
        assert_eq!(inode_in(&Name::new("x|a").unwrap()), None);
        assert_eq!(inode_in(&Name::new("12").unwrap()), None);
    }
}
