//! What `stat` shows, and what `chmod`, `chown`, `truncate` and `utimens` change.

use serde::{Deserialize, Serialize};

use crate::ids::{InodeId, LogIndex};
use crate::time::Timestamp;

/// Permission bits that an inode carries: `rwx` three times, setuid, setgid, sticky.
pub const MODE_BITS: u32 = 0o7777;
/// Set-user-id on execution.
pub const S_ISUID: u32 = 0o4000;
/// Set-group-id on execution; on a directory: new entries take its group.
pub const S_ISGID: u32 = 0o2000;
/// On a directory: only owners remove entries.
pub const S_ISVTX: u32 = 0o1000;

/// Largest size of a file, in bytes: 2^56.
pub const MAX_FILE_SIZE: u64 = 1 << 56;
/// Hard links to one inode at most (`LINK_MAX`), subdirectories of one directory included.
pub const LINK_MAX: u32 = 1_000_000_000;
/// Bytes in the longest symlink target (`PATH_MAX` less the NUL).
pub const SYMLINK_MAX_BYTES: usize = 4095;

/// The type of an inode.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub enum FileKind {
    File,
    Directory,
    Symlink,
    Fifo,
    Socket,
    CharDevice,
    BlockDevice,
}

/// The attributes of one inode.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Attr {
    pub inode: InodeId,
    pub kind: FileKind,
    /// [`MODE_BITS`] only; the type is `kind`.
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    /// Device number of a device file (Linux encoding as in `st_rdev`, 32 bits), else 0.
    pub rdev: u32,
    /// Bytes.
    pub size: u64,
    /// Bytes that hold data (holes excluded), as of the last commit of a writer. `st_blocks` is this in units of 512.
    pub allocated: u64,
    pub atime: Timestamp,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    /// Time of creation.
    pub btime: Timestamp,
    /// Whether it may have extended attributes, ACLs included. Never falsely `false`: then nobody need ask for one.
    pub has_xattrs: bool,
    /// The command that last changed this inode: equal values mean equal attributes and, for a directory, equal contents.
    pub changed_at: LogIndex,
}

/// A time as `utimensat` takes it; `UTIME_OMIT` is the absence of the field.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum SetTime {
    /// `UTIME_NOW`: the time of the command.
    Now,
    At(Timestamp),
}

/// Changes to an inode's attributes; `None` leaves a field alone. `ctime` always becomes the time of the command.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct SetAttr {
    /// [`MODE_BITS`] only.
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// Truncates or extends. Also sets `mtime`, unless `mtime` says otherwise.
    pub size: Option<u64>,
    pub atime: Option<SetTime>,
    pub mtime: Option<SetTime>,
    /// Clear setuid, and setgid where group-execute is set (a write or truncate by somebody without `CAP_FSETID`).
    /// A change of owner or group of anything but a directory clears them regardless.
    pub kill_suid_sgid: bool,
}

/// Who asks: the effective ids of the calling process.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Credentials {
    pub uid: u32,
    pub gid: u32,
}
