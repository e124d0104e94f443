//! Open files by handle and by inode.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use cairn_proto::ids::{InodeId, SessionId};
use cairn_proto::policy::Durability;
use parking_lot::{Mutex, RwLock};

use super::error::VfsError;
use crate::delegation::LossCursor;
use crate::io::{ErrorCursor, FileIo, IoError};

/// An open file, as the kernel names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileHandle(pub u64);

/// An open directory, as the kernel names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DirHandle(pub u64);

/// One `open`.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub handle: FileHandle,
    pub inode: InodeId,
    pub access: Access,
    /// The kernel keeps no pages for it.
    pub is_direct: bool,
    pub durability: Durability,
    pub io: Arc<FileIo>,
    /// Which errors of background writes this open has been told.
    errors: Mutex<ErrorCursor>,
    /// The same of what was done to its inode.
    pub losses: Mutex<LossCursor>,
    /// The session in which it was opened. Locks that were set by it are lost with that.
    session: SessionId,
    is_fenced: AtomicBool,
    /// Second in which the access time was last looked after.
    read_at: AtomicI64,
}

/// What an open allows, and asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub read: bool,
    pub write: bool,
    /// `O_SYNC` or `O_DSYNC`: a write returns when it is durable.
    pub sync: bool,
    pub noatime: bool,
}

impl Access {
    pub fn of_flags(flags: i32) -> Self {
        let mode = flags & libc::O_ACCMODE;
        Self {
            read: mode != libc::O_WRONLY,
            write: mode != libc::O_RDONLY,
            // O_SYNC contains the bit of O_DSYNC.
            sync: flags & libc::O_DSYNC != 0,
            noatime: flags & libc::O_NOATIME != 0,
        }
    }
}

impl OpenFile {
    pub fn new(
        handle: FileHandle,
        access: Access,
        is_direct: bool,
        durability: Durability,
        io: Arc<FileIo>,
        losses: LossCursor,
        session: SessionId,
    ) -> Self {
        let (inode, errors, losses) = (io.inode(), Mutex::new(io.error_cursor()), Mutex::new(losses));
        let (is_fenced, read_at) = (AtomicBool::new(false), AtomicI64::new(i64::MIN));
        Self { handle, inode, access, is_direct, durability, io, errors, losses, session, is_fenced, read_at }
    }

    /// Locks that were set by it in another session than `now` are lost: then it writes no more.
    pub fn fence(&self, now: SessionId) {
        if self.session != now {
            self.is_fenced.store(true, Ordering::SeqCst);
        }
    }

    /// An error of a background write that this open has not been told yet; or that it is fenced, each time.
    pub fn check(&self) -> Result<(), VfsError> {
        let mut cursor = self.errors.lock();
        match self.io.take_error(&mut cursor) {
            Some(error) => Err(error.into()),
            None if self.is_fenced.load(Ordering::SeqCst) => Err(IoError::Fenced(self.inode).into()),
            None => Ok(()),
        }
    }

    /// Whether this is the first read in second `now`.
    pub fn first_read_in(&self, now: i64) -> bool {
        self.read_at.swap(now, Ordering::Relaxed) != now
    }

    /// Whether a write must be durable when it returns.
    pub fn writes_durably(&self) -> bool {
        self.access.sync || self.durability == Durability::Write
    }
}

/// All open files of the mount.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    next: AtomicU64,
    by_handle: RwLock<HashMap<FileHandle, Arc<OpenFile>>>,
    by_inode: RwLock<HashMap<InodeId, OpenInode>>,
}

#[derive(Debug)]
struct OpenInode {
    opens: usize,
    io: Arc<FileIo>,
}

impl OpenFiles {
    pub fn next_handle(&self) -> FileHandle {
        FileHandle(self.next.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub fn insert(&self, file: OpenFile) -> Arc<OpenFile> {
        let file = Arc::new(file);
        let mut by_inode = self.by_inode.write();
        let fresh = || OpenInode { opens: 0, io: file.io.clone() };
        let open = by_inode.entry(file.inode).or_insert_with(fresh);
        open.opens += 1;
        drop(by_inode);
        self.by_handle.write().insert(file.handle, file.clone());
        file
    }

    pub fn get(&self, handle: FileHandle) -> Result<Arc<OpenFile>, VfsError> {
        self.by_handle.read().get(&handle).cloned().ok_or(VfsError::BadHandle(handle.0))
    }

    pub fn remove(&self, handle: FileHandle) -> Option<Arc<OpenFile>> {
        let file = self.by_handle.write().remove(&handle)?;
        let mut by_inode = self.by_inode.write();
        if let Some(open) = by_inode.get_mut(&file.inode) {
            open.opens -= 1;
            if open.opens == 0 {
                by_inode.remove(&file.inode);
            }
        }
        Some(file)
    }

    /// The contents of an inode, where it is open.
    pub fn io_of(&self, inode: InodeId) -> Option<Arc<FileIo>> {
        self.by_inode.read().get(&inode).map(|open| open.io.clone())
    }
}
