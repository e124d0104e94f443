//! Inodes: the attributes of one file, directory, symlink or special file, and what only its type has.

use cairn_proto::attr::{Attr, FileKind, S_ISGID, S_ISUID};
use cairn_proto::error::FsError;
use cairn_proto::ids::{DirCookie, InodeId, LogIndex};
use cairn_proto::meta::ChangedDir;
use cairn_proto::policy::{Policy, Retention};
use cairn_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::Outcome;
use super::keys;
use super::link::Link;
use super::value::{Stored, load};
use crate::store::{Read, StoreError};

/// What `stat` says is the size of any directory, in bytes.
pub const DIRECTORY_SIZE: u64 = 4096;

/// One inode as stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Inode {
    /// Its own number, though the key says it too: a value read under a wrong key is noticed.
    pub id: InodeId,
    pub content: Content,
    /// [`MODE_BITS`] only.
    pub mode: u32,
    /// Names that lead to it; of a directory 2 and its subdirectories; 0 once it is removed.
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub times: Times,
    /// The command that last changed this value.
    pub changed_at: LogIndex,
    pub policy: Policy,
    /// One of the entries that name it, see [`super::link`]. Of a directory: the only one. Of a removed inode: where it was.
    pub home: Link,
    /// Length of its list of xattrs, as `listxattr` counts: the names with a NUL each. 0: there are none.
    pub xattr_bytes: u32,
    /// What becomes of what is removed from a directory; nothing else has one.
    pub retention: Retention,
}

/// The four times of an inode.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Times {
    pub atime: Timestamp,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    pub btime: Timestamp,
}

/// What an inode is, with what only that type has.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum Content {
    File(File),
    Directory(Directory),
    Symlink { target: Vec<u8> },
    Fifo,
    Socket,
    CharDevice { rdev: u32 },
    BlockDevice { rdev: u32 },
}

/// A regular file: its bytes are in chunks, see [`super::slot`].
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct File {
    /// Bytes.
    pub size: u64,
    /// Bytes that hold data: the sum over its chunks.
    pub allocated: u64,
}

/// A directory: its entries are in tables of their own, see [`super::dentry`].
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Directory {
    /// The cookie that the next new entry gets.
    pub next_cookie: DirCookie,
    /// Entries, `.` and `..` not counted.
    pub entries: u64,
}

impl Stored for Inode {
    const FORMAT: u8 = 3;
    const NOUN: &'static str = "inode";
    /// Before there was a trash.
    const OLDER: &'static [(u8, &'static [u8])] = &[(2, &[0])];
}

impl Times {
    /// All four alike, as of a new inode.
    pub fn new(at: Timestamp) -> Self {
        Self { atime: at, mtime: at, ctime: at, btime: at }
    }
}

impl Default for Directory {
    fn default() -> Self {
        Self { next_cookie: DirCookie(DirCookie::START.0 + 1), entries: 0 }
    }
}

impl Content {
    pub fn kind(&self) -> FileKind {
        match self {
            Self::File(_) => FileKind::File,
            Self::Directory(_) => FileKind::Directory,
            Self::Symlink { .. } => FileKind::Symlink,
            Self::Fifo => FileKind::Fifo,
            Self::Socket => FileKind::Socket,
            Self::CharDevice { .. } => FileKind::CharDevice,
            Self::BlockDevice { .. } => FileKind::BlockDevice,
        }
    }
}

impl Inode {
    pub fn kind(&self) -> FileKind {
        self.content.kind()
    }

    pub fn is_directory(&self) -> bool {
        matches!(self.content, Content::Directory(_))
    }

    /// The directory as clients are told that its entries changed; `before`: its [`Self::changed_at`] before.
    pub fn changed(&self, before: LogIndex) -> ChangedDir {
        ChangedDir { attr: self.attr(), before }
    }

    /// The attributes as clients see them.
    pub fn attr(&self) -> Attr {
        let (size, allocated) = match &self.content {
            Content::File(file) => (file.size, file.allocated),
            Content::Directory(_) => (DIRECTORY_SIZE, 0),
            Content::Symlink { target } => (target.len() as u64, 0),
            Content::Fifo | Content::Socket | Content::CharDevice { .. } | Content::BlockDevice { .. } => (0, 0),
        };
        let rdev = match self.content {
            Content::CharDevice { rdev } | Content::BlockDevice { rdev } => rdev,
            _ => 0,
        };
        let Times { atime, mtime, ctime, btime } = self.times;
        Attr {
            inode: self.id,
            kind: self.kind(),
            mode: self.mode,
            nlink: self.nlink,
            uid: self.uid,
            gid: self.gid,
            rdev,
            size,
            allocated,
            atime,
            mtime,
            ctime,
            btime,
            has_xattrs: self.xattr_bytes > 0,
            changed_at: self.changed_at,
        }
    }

    pub(super) fn as_file(&self) -> Result<&File, FsError> {
        match &self.content {
            Content::File(file) => Ok(file),
            Content::Directory(_) => Err(FsError::IsDirectory),
            _ => Err(FsError::InvalidArgument),
        }
    }

    pub(super) fn as_file_mut(&mut self) -> Result<&mut File, FsError> {
        match &mut self.content {
            Content::File(file) => Ok(file),
            Content::Directory(_) => Err(FsError::IsDirectory),
            _ => Err(FsError::InvalidArgument),
        }
    }

    pub(super) fn as_directory(&self) -> Result<&Directory, FsError> {
        match &self.content {
            Content::Directory(directory) => Ok(directory),
            _ => Err(FsError::NotDirectory),
        }
    }

    pub(super) fn as_directory_mut(&mut self) -> Result<&mut Directory, FsError> {
        match &mut self.content {
            Content::Directory(directory) => Ok(directory),
            _ => Err(FsError::NotDirectory),
        }
    }

    /// A directory's contents changed.
    pub(super) fn touch_contents(&mut self, at: Timestamp) {
        self.times.mtime = at;
        self.times.ctime = at;
    }

    /// Clears setuid, and setgid where the group may execute (without that it means something else: mandatory locking).
    /// On a directory these bits mean other things and stay.
    pub(super) fn clear_suid_sgid(&mut self) {
        const S_IXGRP: u32 = 0o010;
        if self.is_directory() {
            return;
        }
        self.mode &= !S_ISUID;
        if self.mode & S_IXGRP != 0 {
            self.mode &= !S_ISGID;
        }
    }
}

/// The inode, or `None` where the number was never given out or the inode is gone for good.
pub(super) fn find(read: &dyn Read, id: InodeId) -> Result<Option<Inode>, StoreError> {
    load(read, &keys::inode(id))
}

/// The inode; `Stale` where it is gone.
pub(super) fn get(read: &dyn Read, id: InodeId) -> Outcome<Inode> {
    Ok(find(read, id)?.ok_or(FsError::Stale(id))?)
}

/// The inode of a directory; `NotDirectory` where it is none.
pub(super) fn get_directory(read: &dyn Read, id: InodeId) -> Outcome<Inode> {
    let inode = get(read, id)?;
    inode.as_directory()?;
    Ok(inode)
}

/// As [`get_directory`], but `NotFound` where it is removed: nothing is made in a directory without a name.
pub(super) fn get_living_directory(read: &dyn Read, id: InodeId) -> Outcome<Inode> {
    let inode = get_directory(read, id)?;
    if inode.nlink == 0 { Err(FsError::NotFound.into()) } else { Ok(inode) }
}

/// The inode that an entry names or that is known to be there for another reason. That it is not is damage.
pub(super) fn of_entry(read: &dyn Read, id: InodeId) -> Result<Inode, StoreError> {
    find(read, id)?.ok_or_else(|| StoreError::bad_value(&keys::inode(id), "inode of an entry"))
}
