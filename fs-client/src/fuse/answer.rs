//! How results become fuser's replies.

use std::sync::Arc;

use bytes::Bytes;
use cairn_proto::lock::Lock;
use cairn_proto::meta::FsStat;
use fuser::{
    Errno, FileHandle, FopenFlags, Generation, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr,
};
use parking_lot::Mutex;

use super::convert;
use crate::vfs::{self, DirHandle, Looked, Opening};

/// Inode numbers are never reused, so there is but one generation of each.
pub(super) const GENERATION: Generation = Generation(0);

/// Unit of `statfs`, bytes.
const STATFS_BLOCK_BYTES: u32 = 4096;
/// Inodes that `statfs` says are free: there is no limit on them.
const FREE_INODES: u64 = 1 << 40;

/// A reply that takes one kind of result.
pub(super) trait Answer: Send + 'static {
    type Value: Send;

    fn send(self, value: Self::Value);
    fn fail(self, errno: Errno);

    /// What has to be closed again where nobody gets to know of it.
    fn opened(_value: &Self::Value) -> Option<Handle> {
        None
    }
}

/// Something open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handle {
    File(vfs::FileHandle),
    Directory(DirHandle),
}

impl Answer for ReplyEmpty {
    type Value = ();

    fn send(self, (): ()) {
        self.ok();
    }

    fn fail(self, errno: Errno) {
        self.error(errno);
    }
}

impl Answer for ReplyAttr {
    type Value = Looked;

    fn send(self, looked: Looked) {
        self.attr(&looked.attr_validity, &convert::attr(&looked.attr));
    }

    fn fail(self, errno: Errno) {
        self.error(errno);
    }
}

impl Answer for ReplyData {
    type Value = Bytes;

    fn send(self, bytes: Bytes) {
        self.data(&bytes);
    }

    fn fail(self, errno: Errno) {
        self.error(errno);
    }
}

impl Answer for ReplyLock {
    /// What is in the way.
    type Value = Option<Lock>;

    fn send(self, in_the_way: Option<Lock>) {
        match in_the_way {
            Some(Lock { range, kind, pid, .. }) => {
                let (start, end) = convert::kernel_range(range);
                self.locked(start, end, convert::lock_type(kind), pid);
            }
            None => self.locked(0, 0, libc::F_UNLCK, 0),
        }
    }

    fn fail(self, errno: Errno) {
        self.error(errno);
    }
}

impl Answer for ReplyWrite {
    /// Bytes.
    type Value = u32;

    fn send(self, written: u32) {
        self.written(written);
    }

    fn fail(self, errno: Errno) {
        self.error(errno);
    }
}

/// A file or a directory.
pub(super) enum Opened {
    File(Opening),
    Directory(DirHandle),
}

impl Answer for ReplyOpen {
    type Value = Opened;

    fn send(self, opened: Opened) {
        match opened {
            Opened::File(opening) => self.opened(FileHandle(opening.handle.0), open_flags(&opening)),
            Opened::Directory(handle) => self.opened(FileHandle(handle.0), FopenFlags::empty()),
        }
    }

    fn fail(self, errno: Errno) {
        self.error(errno);
    }

    fn opened(opened: &Opened) -> Option<Handle> {
        Some(match opened {
            Opened::File(opening) => Handle::File(opening.handle),
            Opened::Directory(handle) => Handle::Directory(*handle),
        })
    }
}

impl Answer for ReplyStatfs {
    type Value = FsStat;

    fn send(self, stat: FsStat) {
        let blocks = |bytes: u64| bytes / u64::from(STATFS_BLOCK_BYTES);
        self.statfs(
            blocks(stat.total),
            blocks(stat.free),
            blocks(stat.free),
            stat.inodes + FREE_INODES,
            FREE_INODES,
            STATFS_BLOCK_BYTES,
            cairn_proto::name::NAME_MAX_BYTES as u32,
            STATFS_BLOCK_BYTES,
        );
    }

    fn fail(self, errno: Errno) {
        self.error(errno);
    }
}

impl Answer for ReplyLseek {
    type Value = u64;

    fn send(self, offset: u64) {
        self.offset(offset as i64);
    }

    fn fail(self, errno: Errno) {
        self.error(errno);
    }
}

/// A value, or a list of names, and how much of it the caller has room for.
pub(super) struct Xattr<T> {
    pub value: T,
    /// Bytes. 0: the caller wants to know the length.
    pub room: u32,
}

impl Answer for ReplyXattr {
    type Value = Xattr<std::sync::Arc<[u8]>>;

    fn send(self, Xattr { value, room }: Self::Value) {
        match room as usize {
            0 => self.size(value.len() as u32),
            room if value.len() > room => self.error(Errno::ERANGE),
            _ => self.data(&value),
        }
    }

    fn fail(self, errno: Errno) {
        self.error(errno);
    }
}

/// A listing, which is filled while the directory is read. Clones are the same.
#[derive(Debug)]
pub(super) struct Listing<R> {
    reply: Arc<Mutex<Option<R>>>,
}

impl<R> Listing<R> {
    pub fn new(reply: R) -> Self {
        Self { reply: Arc::new(Mutex::new(Some(reply))) }
    }

    /// Adds an entry; answers whether there is no room for it, or nobody waits for it any more.
    pub fn add(&self, add: impl FnOnce(&mut R) -> bool) -> bool {
        self.reply.lock().as_mut().is_none_or(add)
    }

    fn take(&self) -> Option<R> {
        self.reply.lock().take()
    }
}

impl<R> Clone for Listing<R> {
    fn clone(&self) -> Self {
        Self { reply: self.reply.clone() }
    }
}

impl Answer for Listing<ReplyDirectory> {
    type Value = ();

    fn send(self, (): ()) {
        self.take().into_iter().for_each(ReplyDirectory::ok);
    }

    fn fail(self, errno: Errno) {
        self.take().into_iter().for_each(|reply| reply.error(errno));
    }
}

impl Answer for Listing<ReplyDirectoryPlus> {
    type Value = ();

    fn send(self, (): ()) {
        self.take().into_iter().for_each(ReplyDirectoryPlus::ok);
    }

    fn fail(self, errno: Errno) {
        self.take().into_iter().for_each(|reply| reply.error(errno));
    }
}

impl Answer for ReplyIoctl {
    type Value = ();

    fn send(self, (): ()) {
        self.ioctl(0, &[]);
    }

    fn fail(self, errno: Errno) {
        self.error(errno);
    }
}

pub(super) fn open_flags(opening: &Opening) -> FopenFlags {
    let mut flags = FopenFlags::empty();
    if opening.keep_pages {
        flags |= FopenFlags::FOPEN_KEEP_CACHE;
    }
    if opening.direct {
        flags |= FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
    }
    if opening.read_only {
        flags |= FopenFlags::FOPEN_NOFLUSH;
    }
    flags
}
