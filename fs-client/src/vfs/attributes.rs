//! `getattr` and `setattr`: `stat`, `chmod`, `chown`, `truncate`, `utimensat`.

use std::time::Duration;

use cairn_proto::attr::{Attr, MAX_FILE_SIZE, S_ISGID, S_ISUID, SetAttr};
use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::meta::Granted;

use super::Vfs;
use super::caller::Caller;
use super::error::VfsError;
use super::lookup::Looked;
use super::trash::{Place, shown_in_trash, trash_itself};
use crate::io::FileIo;

impl Vfs {
    pub async fn getattr(&self, inode: InodeId) -> Result<Looked, VfsError> {
        match Place::of(inode) {
            Place::Outside => self.getattr_outside(inode).await,
            Place::Trash => Ok(trash_itself()),
            Place::Inside(real) => Ok(shown_in_trash(self.getattr_outside(real).await?)),
        }
    }

    async fn getattr_outside(&self, inode: InodeId) -> Result<Looked, VfsError> {
        if let Some(attr) = self.delegations.attr(inode).or_else(|| self.known.attr(inode)) {
            return Ok(self.seen_here(attr));
        }
        self.delegations.settle(&[inode]).await?;
        let asked = self.known.asked();
        match self.meta.get_attr(inode).await.map_err(VfsError::from) {
            Ok(Granted { value, leased }) => Ok(self.saw(value, leased, asked)),
            Err(error) if Self::is_gone(&error) => self.tombstone(inode).ok_or(error),
            Err(error) => Err(error),
        }
    }

    /// What was removed may still be stood in, or held by a descriptor that does no I/O: as on a local disk, it can be looked at
    /// until the last reference is gone.
    fn tombstone(&self, inode: InodeId) -> Option<Looked> {
        self.last_seen(inode).map(|attr| self.seen_here(Attr { nlink: 0, ..attr }))
    }

    /// Attributes that are right now.
    pub(super) fn seen_here(&self, attr: Attr) -> Looked {
        Looked { attr: self.shown(attr), attr_validity: self.known.validity(), name_validity: Duration::ZERO }
    }

    pub async fn setattr(&self, caller: Caller, inode: InodeId, mut set: SetAttr) -> Result<Looked, VfsError> {
        Place::must_be_outside(inode)?;
        if set.size.is_some_and(|size| size > MAX_FILE_SIZE) {
            return Err(VfsError::TooLarge);
        }
        set.kill_suid_sgid |= set.size.is_some() && self.kills_suid(caller, inode);
        // Closed lately counts, too: what it remembers of its bytes must be cut with them.
        let io = self.io.find(inode);
        if let Some(io) = &io {
            settle(io, &set).await;
        }
        if let (Some(atimes), Some(_)) = (&self.atimes, set.atime) {
            atimes.forget(inode);
        }
        let moves_contents = set.size.is_some() || set.mtime.is_some();
        let asked = self.known.asked();
        self.delegations.room().await?;
        if let Some(attr) = self.delegations.set_attr(inode, &set) {
            self.known.learn(&attr, false, asked);
            if set.mtime.is_some() {
                self.known.changed(&attr, asked);
                if let Some(io) = &io {
                    io.times_set(&attr);
                }
            }
            return Ok(set_here(self.seen_here(attr)));
        }
        let _asking = self.delegations.ask(&[inode]).await?;
        let attr = self.apply_set(io.as_deref(), inode, set).await?;
        if moves_contents {
            self.known.changed(&attr, asked);
        }
        Ok(set_here(self.saw(attr, false, asked)))
    }

    async fn apply_set(&self, io: Option<&FileIo>, inode: InodeId, set: SetAttr) -> Result<Attr, VfsError> {
        let sets_mtime = set.mtime.is_some();
        let attr = match (set.size, io) {
            (Some(size), Some(io)) => {
                let set = async { Ok::<_, VfsError>(self.meta.set_attr(inode, set).await?) };
                io.truncate_with(size, set).await?
            }
            _ => self.meta.set_attr(inode, set).await?,
        };
        if sets_mtime && let Some(io) = io {
            io.times_set(&attr);
        }
        Ok(attr)
    }

    /// The file as `size` leaves it, with everything else that a truncate changes.
    pub(super) async fn truncate(&self, caller: Caller, inode: InodeId, size: u64) -> Result<Looked, VfsError> {
        self.setattr(caller, inode, SetAttr { size: Some(size), ..SetAttr::default() }).await
    }

    /// Whether writing by `caller` clears the file's setuid and setgid bits. Right where the bits are known to be set; where they
    /// are not, `true` costs nothing.
    pub(super) fn kills_suid(&self, caller: Caller, inode: InodeId) -> bool {
        match self.last_seen(inode) {
            Some(attr) if attr.mode & (S_ISUID | S_ISGID) != 0 => !caller.keeps_suid(),
            _ => !caller.is_root(),
        }
    }

    /// Attributes of an inode for a decision of the file system itself, not for showing.
    pub(super) async fn attr(&self, inode: InodeId) -> Result<Attr, VfsError> {
        Ok(self.getattr(inode).await?.attr)
    }

    /// Whether an error says that the inode is gone.
    pub(super) fn is_gone(error: &VfsError) -> bool {
        matches!(error.refusal(), Some(FsError::Stale(_) | FsError::NotFound))
    }
}

/// The kernel takes over the answer to a change without asking whether it was told to forget the inode meanwhile. So it is not to
/// remember it.
fn set_here(looked: Looked) -> Looked {
    Looked { attr_validity: Duration::ZERO, ..looked }
}

/// A write clears setuid and setgid when it is committed. Where they are set now, writes that came first are committed first, or
/// they would undo it. Their errors are told to those who wrote.
async fn settle(io: &FileIo, set: &SetAttr) {
    if set.mode.is_some_and(|mode| mode & (S_ISUID | S_ISGID) != 0) && io.is_dirty() {
        let _ = io.flush().await;
    }
}
