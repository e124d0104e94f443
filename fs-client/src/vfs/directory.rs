//! `opendir`, `readdir`, `readdirplus`, `fsync` of a directory.
//!
//! The offset of an entry is its cookie plus [`FIRST_ENTRY`], so that a listing goes on where it was however the directory has
//! changed: cookies are never reused. A page that was fetched is kept with the open directory until it has been listed, unless
//! this mount changes the directory meanwhile: then what is left of it is fetched again, or the kernel would be told of entries
//! that it has just removed. A directory that fits into one page is remembered beyond that, for the next one who lists it: programs
//! like to look whether there is something in it, and then what.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cairn_proto::attr::{Attr, FileKind};
use cairn_proto::ids::{DirCookie, InodeId};
use cairn_proto::meta::{DirEntry, MAX_DIR_PAGE, OpenMode, ReadDir};
use cairn_proto::name::Name;
use lru::LruCache;
use parking_lot::{Mutex, RwLock};

use super::Vfs;
use super::error::VfsError;
use super::files::DirHandle;
use super::lookup::Looked;
use super::trash::{Place, TrashListing};
use crate::cache::{Asked, DirEpoch, Named};
use crate::delegation::LossCursor;

/// What is added to cookies: `.` and `..` come first.
const FIRST_ENTRY: u64 = 2;
/// Entries in the first page of a listing; each further one is twice as large.
const FIRST_PAGE: u32 = 128;
/// Directories whose only page is remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(256).unwrap();

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
#[derive(Debug)]
pub(super) struct OpenDirs {
    next: AtomicU64,
    by_handle: RwLock<HashMap<DirHandle, Arc<OpenDir>>>,
    /// The pages of directories that have only one.
    whole: Mutex<LruCache<InodeId, Page>>,
}

impl Default for OpenDirs {
    fn default() -> Self {
        let whole = Mutex::new(LruCache::new(REMEMBERED));
        Self { next: AtomicU64::new(0), by_handle: RwLock::default(), whole }
    }
}

impl OpenDirs {
    /// The directories that are open.
    pub fn inodes(&self) -> HashSet<InodeId> {
        self.by_handle.read().values().map(|dir| dir.inode).collect()
    }
}

#[derive(Debug)]
struct OpenDir {
    inode: InodeId,
    page: Mutex<Option<Page>>,
    /// Up to which loss of changes in it this open has been told.
    losses: Mutex<LossCursor>,
    /// The metaserver counts it as an open: see [`Vfs::hold_dirs`].
    is_held: AtomicBool,
    /// Of the trash: how far its listing is.
    trash: tokio::sync::Mutex<TrashListing>,
}

/// Entries that were fetched.
#[derive(Clone, Debug)]
struct Page {
    dir: InodeId,
    /// They are right for as long as nobody is told otherwise.
    leased: bool,
    entries: Arc<[DirEntry]>,
    /// So many of them were listed.
    listed: usize,
    /// What is not listed yet comes after this one.
    after: DirCookie,
    /// Nothing follows the entries.
    end: bool,
    parent: InodeId,
    plus: bool,
    asked: Asked,
    epoch: DirEpoch,
    /// Entries to ask for next.
    next_limit: u32,
}

impl Page {
    fn is_listed(&self) -> bool {
        self.listed == self.entries.len()
    }
}

impl Vfs {
    pub async fn opendir(&self, inode: InodeId) -> Result<DirHandle, VfsError> {
        let handle = DirHandle(self.dirs.next.fetch_add(1, Ordering::Relaxed) + 1);
        let losses = Mutex::new(self.delegations.loss_cursor(inode));
        let dir = OpenDir {
            inode,
            page: Mutex::default(),
            losses,
            is_held: AtomicBool::new(false),
            trash: Default::default(),
        };
        self.dirs.by_handle.write().insert(handle, Arc::new(dir));
        // In this order: whoever ends a lease looks for what is open after that.
        let is_told = || self.known.is_leased(inode) || self.delegations.attr(inode).is_some();
        if inode != InodeId::ROOT
            && Place::of(inode) == Place::Outside
            && !is_told()
            && let Err(error) = self.hold_dirs(inode).await
        {
            self.releasedir(handle);
            return Err(error);
        }
        Ok(handle)
    }

    pub fn releasedir(&self, handle: DirHandle) {
        let closed = self.dirs.by_handle.write().remove(&handle);
        if let Some(dir) = closed.filter(|dir| dir.is_held.swap(false, Ordering::SeqCst)) {
            self.meta.close_inode(dir.inode);
        }
    }

    /// Has the metaserver keep a directory that is open here, as long as it is, though others may remove it. Nobody removes one that this mount
    /// has a lease on before that has ended, so it is told only then, or when one is opened without.
    pub(super) async fn hold_dirs(&self, inode: InodeId) -> Result<(), VfsError> {
        let open: Vec<_> = self.dirs.by_handle.read().values().filter(|dir| dir.inode == inode).cloned().collect();
        for dir in open {
            if dir.is_held.load(Ordering::SeqCst) {
                continue;
            }
            self.delegations.settle(&[inode]).await?;
            self.meta.open(inode, OpenMode { read: true, write: false }).await?;
            let is_new = !dir.is_held.swap(true, Ordering::SeqCst);
            // Somebody else has told it meanwhile, or it was closed.
            let is_open = self.dirs.by_handle.read().values().any(|other| Arc::ptr_eq(other, &dir));
            if !is_new || (!is_open && dir.is_held.swap(false, Ordering::SeqCst)) {
                self.meta.close_inode(inode);
            }
        }
        Ok(())
    }

    /// `fsync` of a directory: all that was done in it is durable, or lost.
    pub async fn fsyncdir(&self, handle: DirHandle) -> Result<(), VfsError> {
        let dir = self.open_dir(handle)?;
        self.delegations.flush().await?;
        let lost = self.delegations.take_loss(dir.inode, &mut dir.losses.lock());
        if lost { Err(VfsError::LostChanges(dir.inode)) } else { Ok(()) }
    }

    fn open_dir(&self, handle: DirHandle) -> Result<Arc<OpenDir>, VfsError> {
        self.dirs.by_handle.read().get(&handle).cloned().ok_or(VfsError::BadHandle(handle.0))
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
        let dir = self.open_dir(handle)?;
        if Place::of(dir.inode) != Place::Outside {
            return self.list_trash(dir.inode, &mut *dir.trash.lock().await, offset, plus, &mut sink).await;
        }
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

    /// Lists what the page holds, up to what would have to be waited for: who is listed may be taken back meanwhile, and that waits for
    /// the kernel to have heard of it.
    async fn list(&self, page: &mut Page, sink: &mut (impl FnMut(Listed<'_>) -> bool + Send)) -> Result<(), VfsError> {
        let first = page.listed;
        while let Some(entry) = page.entries.get(page.listed) {
            let looked = match page.plus.then(|| self.listed_attr(page.dir, entry)) {
                Some(None) if page.listed > first => return Ok(()),
                Some(None) => Some(self.getattr(entry.inode).await?),
                looked => looked.flatten(),
            };
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
            page.after = entry.cookie;
            page.listed += 1;
        }
        Ok(())
    }

    /// The newest attributes that are known of an entry that was fetched a moment ago.
    fn listed_attr(&self, dir: InodeId, entry: &DirEntry) -> Option<Looked> {
        if let Some(attr) = self.delegations.attr(entry.inode).or_else(|| self.known.attr(entry.inode)) {
            return Some(self.named_here(dir, attr));
        }
        let newest = self.known.last_seen(entry.inode);
        let newer = |known: &Attr| entry.attr.as_ref().is_none_or(|attr| known.changed_at > attr.changed_at);
        // Right a moment ago. The kernel asks again before it shows it to anybody.
        newest.filter(newer).or_else(|| entry.attr.clone()).map(|attr| Looked {
            attr: self.shown(attr),
            attr_validity: Duration::ZERO,
            name_validity: Duration::ZERO,
        })
    }

    /// The page that starts after `after`: what is left of the last one, or a new one.
    async fn page(&self, dir: &OpenDir, after: DirCookie, plus: bool, rewound: bool) -> Result<Page, VfsError> {
        let kept = dir.page.lock().take();
        // A page that is thrown away half listed is a sign that the rest of a large one would be, too.
        let limit = match &kept {
            Some(page) if page.after == after && !rewound && page.is_listed() => page.next_limit,
            _ => FIRST_PAGE,
        };
        let serves = |page: &Page| {
            page.after == after
                && (page.plus || !plus || page.is_listed())
                && (page.end || !page.is_listed())
                && page.epoch == self.known.epoch(dir.inode)
                && page.leased
                && self.known.is_alive()
                && self.known.is_current(dir.inode, page.asked)
        };
        let whole = || self.dirs.whole.lock().get(&dir.inode).cloned();
        match kept.filter(|_| !rewound).filter(serves).or_else(|| whole().filter(serves)) {
            Some(page) => Ok(Page { plus, ..page }),
            None => self.fetch(dir.inode, after, plus, limit).await,
        }
    }

    async fn fetch(&self, inode: InodeId, after: DirCookie, plus: bool, limit: u32) -> Result<Page, VfsError> {
        self.delegations.settle(&[inode]).await?;
        let (asked, epoch) = (self.known.asked(), self.known.epoch(inode));
        let page = self.meta.read_dir(ReadDir { inode, after, limit, plus }).await.map_err(VfsError::from);
        let page = match page {
            Ok(page) => page,
            // A directory that was removed under a process that has it open is an empty one.
            Err(error) if Self::is_gone(&error) => cairn_proto::meta::DirPage {
                entries: Vec::new(),
                end: true,
                parent: inode,
                leased: false,
                keeps: false,
            },
            Err(error) => return Err(error),
        };
        if page.leased {
            self.known.dir_leased(inode, asked);
        }
        for entry in &page.entries {
            self.entry_seen(inode, &entry.name, entry, asked, epoch);
        }
        let page = Page {
            dir: inode,
            leased: page.leased || self.delegations.holds(inode),
            entries: page.entries.into(),
            listed: 0,
            after,
            end: page.end,
            parent: page.parent,
            plus,
            asked,
            epoch,
            next_limit: (limit * 2).min(MAX_DIR_PAGE),
        };
        if page.leased && page.end && after == DirCookie::START {
            self.dirs.whole.lock().put(inode, page.clone());
        }
        Ok(page)
    }

    fn entry_seen(&self, parent: InodeId, name: &Name, entry: &DirEntry, asked: Asked, epoch: DirEpoch) {
        if let Some(attr) = &entry.attr {
            self.known.learn_name(parent, name.clone(), Named::Inode(entry.inode), asked, epoch);
            self.saw(attr.clone(), entry.leased, asked);
        }
    }
}
