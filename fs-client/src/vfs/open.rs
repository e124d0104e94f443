//! `open`, `create` with opening, `flush`, `fsync` and `release`.

use std::ffi::OsStr;

use cairn_proto::attr::FileKind;
use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::lock::LockOwner;
use cairn_proto::meta::{Lease, OpenMode, Opened};
use cairn_proto::name::Name;
use cairn_proto::policy::Durability;
use tokio_util::sync::CancellationToken;

use super::Vfs;
use super::caller::Caller;
use super::create::{Creation, NewInode};
use super::error::VfsError;
use super::files::{Access, FileHandle, OpenFile};
use super::lookup::Looked;
use super::trash::Place;
use crate::cache::{Asked, Change, Learned};
use crate::meta::Entry;

/// A file that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    pub handle: FileHandle,
    /// The pages that the kernel has of the file are still right.
    pub keep_pages: bool,
    /// The kernel is to keep no pages: `O_DIRECT`, or others have the file open, too, and somebody writes.
    pub direct: bool,
    /// Nothing can be written through it, so closing it needs no flush.
    pub read_only: bool,
}

impl Vfs {
    /// `flags` as in `open(2)`; what concerns creating a file is ignored.
    pub async fn open(&self, caller: Caller, inode: InodeId, flags: i32) -> Result<Opening, VfsError> {
        let access = Access::of_flags(flags);
        if Place::of(inode) != Place::Outside {
            return self.open_in_trash(caller, inode, flags).await;
        }
        if !access.write
            && let Some(opened) = self.delegations.open(inode, self.io.find(inode).is_some())
        {
            return self.finish_open(caller, opened, flags, self.known.asked()).await;
        }
        self.open_there(caller, inode, flags).await
    }

    /// An open that the metaserver hears of.
    pub(super) async fn open_there(&self, caller: Caller, inode: InodeId, flags: i32) -> Result<Opening, VfsError> {
        let access = Access::of_flags(flags);
        self.delegations.settle(&[inode]).await?;
        let asked = self.known.asked();
        let opened = self.meta.open(inode, OpenMode { read: access.read, write: access.write }).await?;
        self.delegations.opened_there(inode);
        self.finish_open(caller, opened, flags, asked).await
    }

    /// `open(O_CREAT)` of a name that nobody knew.
    ///
    /// Where somebody else was faster and the file exists (and `O_EXCL` does not make that an error of its own), the answer is
    /// [`FsError::Stale`]: nobody has checked whether the caller may open it. The kernel then looks the name up again and opens it
    /// with all checks; so should everybody else.
    pub async fn create(
        &self,
        caller: Caller,
        parent: InodeId,
        name: &OsStr,
        new: NewInode,
        flags: i32,
    ) -> Result<(Looked, Opening), VfsError> {
        let creation = Creation { exclusive: flags & libc::O_EXCL != 0, open: true };
        let (entry, asked) = self.create_entry(caller, parent, name, new, creation).await?;
        let leased = entry.lease != Lease::None;
        let looked =
            Looked { name_validity: self.name_validity(parent), ..self.saw(entry.attr.clone(), leased, asked) };
        if !entry.created {
            self.meta.close_inode(entry.attr.inode);
            return Err(FsError::Stale(entry.attr.inode).into());
        }
        let Entry { attr, policy, chunks, lease, .. } = entry;
        let opened = Opened { attr, policy, chunks, lease, contended: false };
        // It is empty, so there is nothing to truncate.
        let opening = self.finish_open(caller, opened, flags & !libc::O_TRUNC, asked).await?;
        Ok((looked, opening))
    }

    /// Gives an open that the metaserver has counted its handle, or back.
    async fn finish_open(&self, caller: Caller, opened: Opened, flags: i32, asked: Asked) -> Result<Opening, VfsError> {
        let inode = opened.attr.inode;
        if opened.attr.kind != FileKind::File {
            self.meta.close_inode(inode);
            return Err(if opened.attr.kind == FileKind::Directory {
                FsError::IsDirectory
            } else {
                FsError::Unsupported
            }
            .into());
        }
        let access = Access::of_flags(flags);
        let io = self.io.file(&opened);
        // In this order: whoever lists pages that are old lists the files that are open after that.
        let keep_pages = self.saw_at_open(&opened, asked) && !self.old_pages.contain(inode);
        io.access().grant(opened.lease, || self.known.is_current(inode, asked));
        let handle = self.files.next_handle();
        // Where the file ends is not the kernel's to guess when others append to it, too.
        let direct = flags & (libc::O_DIRECT | libc::O_APPEND) != 0 || opened.contended;
        let (losses, session) = (self.delegations.loss_cursor(inode), self.meta.term().session());
        self.files.insert(OpenFile::new(handle, access, direct, opened.policy.durability, io, losses, session));
        if flags & libc::O_TRUNC != 0
            && let Err(error) = self.truncate(caller, inode, 0).await
        {
            self.release(handle).await;
            return Err(error);
        }
        Ok(Opening { handle, keep_pages, direct, read_only: !access.write })
    }

    /// Enters the attributes that an open brought; says whether cached contents are still right.
    fn saw_at_open(&self, opened: &Opened, asked: Asked) -> bool {
        let attr = &opened.attr;
        if self.learn(attr, opened.lease != Lease::None, asked) == Learned::Outdated {
            // A change of this mount overtook the answer, so it knows better.
            return self.known.contents.knows(attr.inode);
        }
        if self.io.find(attr.inode).is_some_and(|io| io.is_dirty()) {
            return true;
        }
        self.known.contents.saw(attr) == Change::None
    }

    /// What `close` waits for. Called for each descriptor that is closed. `given_up`: as for [`Self::fsync`].
    pub async fn flush(
        &self,
        handle: FileHandle,
        closed_by: LockOwner,
        given_up: &CancellationToken,
    ) -> Result<(), VfsError> {
        let flushed = self.flush_contents(handle, given_up).await;
        // Whoever is let in by that sees what was written.
        self.closed_by(handle, closed_by).await?;
        flushed
    }

    async fn flush_contents(&self, handle: FileHandle, given_up: &CancellationToken) -> Result<(), VfsError> {
        let file = self.files.get(handle)?;
        if !file.access.write {
            return Ok(());
        }
        if file.durability == Durability::Fsync && self.closes_lazily(&file) {
            return self.outcome(&file, Ok(()), given_up);
        }
        // First, as the answer says where the first chunk of a new file is.
        self.delegations.settle(&[file.inode]).await?;
        let flushed = match file.durability {
            Durability::Fsync => file.io.flush().await,
            Durability::Close | Durability::Write => file.io.sync().await,
        };
        self.outcome(&file, flushed.map_err(Into::into), given_up)
    }

    /// `fsync`, and for `data_only` `fdatasync`. It ends as ever when it is `given_up`, but tells no errors to somebody who does not hear
    /// them any more: the next one does.
    pub async fn fsync(
        &self,
        handle: FileHandle,
        data_only: bool,
        given_up: &CancellationToken,
    ) -> Result<(), VfsError> {
        let file = self.files.get(handle)?;
        self.delegations.settle_durably(file.inode).await?;
        // Stores to a mapping come without a lease: here, at the latest, others have to forget what they remember.
        let _writing = if file.io.is_dirty() { Some(self.writing(&file.io).await?) } else { None };
        let synced = if data_only { file.io.sync_data().await } else { file.io.sync().await };
        self.outcome(&file, synced.map_err(Into::into), given_up)
    }

    /// The last reference to an open is gone.
    pub async fn release(&self, handle: FileHandle) {
        let Some(file) = self.files.remove(handle) else { return };
        // Pages of a mapping may have been written after the last close; with nobody left to tell, a failure is logged.
        if file.access.write
            && file.io.is_dirty()
            && !self.closes_lazily(&file)
            && let Err(error) = file.io.flush().await
        {
            tracing::error!(inode = %file.inode, %error, "written data was lost after the last close");
        }
        self.released(handle).await;
        self.meta.close_inode(file.inode);
        self.discard_if_gone(file.inode);
    }

    /// A result, or what went wrong behind the back of this open that it was not told yet.
    fn outcome(
        &self,
        file: &OpenFile,
        result: Result<(), VfsError>,
        given_up: &CancellationToken,
    ) -> Result<(), VfsError> {
        if given_up.is_cancelled() {
            return result;
        }
        // They may be the same error; telling it here counts as told. Of a file whose creation is lost, the metaserver says only that
        // it does not know it.
        let (lost, background) = (self.check_losses(file), file.check());
        lost.and(result).and(background)
    }

    /// That changes of the file are lost, where this open was not told yet.
    pub(super) fn check_losses(&self, file: &OpenFile) -> Result<(), VfsError> {
        let lost = self.delegations.take_loss(file.inode, &mut file.losses.lock());
        if lost { Err(VfsError::LostChanges(file.inode)) } else { Ok(()) }
    }

    /// What `name` in `parent` leads to is about to be removed; where that directory keeps it, what was written to it is still sent. Files whose
    /// bytes are on their way when they are removed are such that were closed without waiting, in a directory that is held.
    pub(super) fn keep_what_is_removed(&self, parent: InodeId, name: &Name) {
        if self.delegations.keeps(parent)
            && let Some(io) = self.inode_of(parent, name).and_then(|inode| self.io.find(inode))
        {
            io.keep();
        }
    }

    /// What a file without a name holds is nobody's once nobody has it open.
    pub(super) fn discard_if_gone(&self, inode: InodeId) {
        let gone = self.last_seen(inode).is_some_and(|attr| attr.nlink == 0);
        if gone
            && self.files.io_of(inode).is_none()
            && let Some(io) = self.io.find(inode)
        {
            io.discard();
        }
    }
}
