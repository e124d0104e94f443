//! `opendir`, `readdir`, `readdirplus`.
//!
//! The offset of an entry is its cookie plus [`FIRST_ENTRY`], so that a listing goes on where it was however the directory has
//! changed: cookies are never reused. A page that was fetched is kept with the open directory until it has been listed, unless
//! this mount changes the directory meanwhile: then what is left of it is fetched again, or the kernel would be told of entries
//! that it has just removed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cairn_proto::attr::{Attr, FileKind};
use cairn_proto::ids::{DirCookie, InodeId};
use cairn_proto::meta::{DirEntry, MAX_DIR_PAGE, ReadDir};
use cairn_proto::name::Name;
use parking_lot::{Mutex, RwLock};

use super::Vfs;
use super::error::VfsError;
use super::files::DirHandle;
use super::lookup::Looked;
use crate::cache::{DirEpoch, Moment, Named};

/// What is added to cookies: `.` and `..` come first.
const FIRST_ENTRY: u64 = 2;
/// Entries in the first page of a listing; each further one is twice as large.
const FIRST_PAGE: u32 = 128;

/// One entry as it is listed.
#[derive(Debug)]
pub struct Listed<'a> {
    pub name: &'a [u8],
    pub inode: InodeId,
    pub kind: FileKind,
    /// Where the listing goes on after this entry.
    pub next: u64,
    /// For `readdirplus`, and not for `.` and `..`.
    pub looked: Option<Looked>,
}

/// Open directories by handle.
#[derive(Debug, Default)]
pub(super) struct OpenDirs {
    next: AtomicU64,
    by_handle: RwLock<HashMap<DirHandle, Arc<OpenDir>>>,
}

#[derive(Debug)]
struct OpenDir {
    inode: InodeId,
    page: Mutex<Option<Page>>,
}

/// Entries that were fetched and not listed yet.
#[derive(Debug)]
struct Page {
    entries: VecDeque<DirEntry>,
    /// The entries come after this one.
    after: DirCookie,
    /// Nothing follows them.
    end: bool,
    parent: InodeId,
    plus: bool,
    asked: Moment,
    epoch: DirEpoch,
    /// Entries to ask for next.
    next_limit: u32,
}

impl Vfs {
    pub fn opendir(&self, inode: InodeId) -> DirHandle {
        let handle = DirHandle(self.dirs.next.fetch_add(1, Ordering::Relaxed) + 1);
        self.dirs.by_handle.write().insert(handle, Arc::new(OpenDir { inode, page: Mutex::default() }));
        handle
    }

    pub fn releasedir(&self, handle: DirHandle) {
        self.dirs.by_handle.write().remove(&handle);
    }

    /// Lists entries from `offset` on into `sink`, until it says that it is full, or for as long as they are at hand. Nothing
    /// listed means the end.
    pub async fn readdir(
        &self,
        handle: DirHandle,
        offset: u64,
        plus: bool,
        mut sink: impl FnMut(Listed<'_>) -> bool + Send,
    ) -> Result<(), VfsError> {
        let dir = self.dirs.by_handle.read().get(&handle).cloned().ok_or(VfsError::BadHandle(handle.0))?;
        let after = DirCookie(offset.saturating_sub(FIRST_ENTRY));
        let mut page = self.page(&dir, after, plus, offset == 0).await?;
        let dots = [(&b"."[..], dir.inode), (&b".."[..], page.parent)];
        for (place, (name, inode)) in (1..).zip(dots) {
            let listed = Listed { name, inode, kind: FileKind::Directory, next: place, looked: None };
            if offset < place && sink(listed) {
                *dir.page.lock() = Some(page);
                return Ok(());
            }
        }
        self.list(&mut page, &mut sink).await?;
        self.touch_inode(dir.inode);
        *dir.page.lock() = Some(page);
        Ok(())
    }

    /// Lists what the page holds.
    async fn list(&self, page: &mut Page, sink: &mut (impl FnMut(Listed<'_>) -> bool + Send)) -> Result<(), VfsError> {
        while let Some(entry) = page.entries.front() {
            let looked = if page.plus { Some(self.listed_attr(entry, page.asked).await?) } else { None };
            let listed = Listed {
                name: entry.name.as_bytes(),
                inode: entry.inode,
                kind: entry.kind,
                next: entry.cookie.0 + FIRST_ENTRY,
                looked,
            };
            if sink(listed) {
                return Ok(());
            }
            let cookie = entry.cookie;
            page.after = cookie;
            page.entries.pop_front();
        }
        Ok(())
    }

    /// The newest attributes of an entry that was fetched a moment ago.
    async fn listed_attr(&self, entry: &DirEntry, asked: Moment) -> Result<Looked, VfsError> {
        if let Some(attr) = self.delegations.attr(entry.inode) {
            return Ok(self.seen_here(attr));
        }
        let newest = self.known.attrs.last_seen(entry.inode);
        let newer = |known: &Attr| entry.attr.as_ref().is_none_or(|attr| known.changed_at > attr.changed_at);
        match newest.filter(newer).or_else(|| entry.attr.clone()) {
            Some(attr) => Ok(Looked {
                attr: self.shown(attr),
                attr_validity: self.known.attr_validity(asked),
                name_validity: self.known.name_validity(asked),
            }),
            None => self.getattr(entry.inode).await,
        }
    }

    /// The page that starts after `after`: what is left of the last one, or a new one.
    async fn page(&self, dir: &OpenDir, after: DirCookie, plus: bool, rewound: bool) -> Result<Page, VfsError> {
        let kept = dir.page.lock().take();
        // A page that is thrown away half listed is a sign that the rest of a large one would be, too.
        let limit = match &kept {
            Some(page) if page.after == after && !rewound && page.entries.is_empty() => page.next_limit,
            _ => FIRST_PAGE,
        };
        let serves = |page: &Page| {
            page.after == after
                && page.plus == plus
                && !rewound
                && (page.end || !page.entries.is_empty())
                && page.epoch == self.known.names.epoch(dir.inode)
                && !self.known.attr_validity(page.asked).is_zero()
        };
        match kept.filter(serves) {
            Some(page) => Ok(page),
            None => self.fetch(dir.inode, after, plus, limit).await,
        }
    }

    async fn fetch(&self, inode: InodeId, after: DirCookie, plus: bool, limit: u32) -> Result<Page, VfsError> {
        let (asked, epoch) = (self.known.now(), self.known.names.epoch(inode));
        self.delegations.settle(&[inode]).await?;
        let page = self.meta.read_dir(ReadDir { inode, after, limit, plus }).await.map_err(VfsError::from);
        let page = match page {
            Ok(page) => page,
            // A directory that was removed under a process that has it open is an empty one.
            Err(error) if Self::is_gone(&error) => {
                cairn_proto::meta::DirPage { entries: Vec::new(), end: true, parent: inode }
            }
            Err(error) => return Err(error),
        };
        for entry in &page.entries {
            self.entry_seen(inode, &entry.name, entry, asked, epoch);
        }
        Ok(Page {
            entries: page.entries.into(),
            after,
            end: page.end,
            parent: page.parent,
            plus,
            asked,
            epoch,
            next_limit: (limit * 2).min(MAX_DIR_PAGE),
        })
    }

    fn entry_seen(&self, parent: InodeId, name: &Name, entry: &DirEntry, asked: Moment, epoch: DirEpoch) {
        if let Some(attr) = &entry.attr {
            self.known.names.learn(parent, name.clone(), Named::Inode(entry.inode), asked, epoch);
            self.saw(attr.clone(), asked);
        }
    }
}
