//! Between fuser's types and CairnFS's.

use std::time::SystemTime;

use cairn_proto::attr::{Attr, FileKind, SetTime};
use cairn_proto::ids::InodeId;
use cairn_proto::lock::{self, Lock, LockKind, LockRange, LockSpace, LocksOf};
use cairn_proto::meta::{NewNode, RenameMode, XattrMode};
use cairn_proto::time::Timestamp;
use fuser::{FileAttr, FileType, INodeNo, LockOwner, RenameFlags, Request, TimeOrNow};

use crate::vfs::{Caller, VfsError};

/// What `stat` advises for the size of reads and writes, bytes. Programs allocate buffers of this size for each open file.
const PREFERRED_IO_BYTES: u32 = 128 << 10;
/// The kernel's largest offset: the end of a lock that reaches to the end of the file.
const LAST_OFFSET: u64 = i64::MAX as u64;
/// Unit of `st_blocks`, bytes.
const STAT_BLOCK_BYTES: u64 = 512;

pub(super) fn inode(ino: INodeNo) -> InodeId {
    InodeId(ino.0)
}

pub(super) fn ino(inode: InodeId) -> INodeNo {
    INodeNo(inode.0)
}

pub(super) fn caller(request: &Request) -> Caller {
    Caller { uid: request.uid(), gid: request.gid(), pid: request.pid() }
}

pub(super) fn locks_of(ino: INodeNo, owner: LockOwner, flock: bool) -> LocksOf {
    let space = if flock { LockSpace::Flock } else { LockSpace::Posix };
    LocksOf { inode: inode(ino), space, owner: lock::LockOwner(owner.0) }
}

/// The kernel ends a range that has no end at its largest offset. `flock` is about the whole file, and says nothing.
pub(super) fn lock_range(start: u64, end: u64) -> LockRange {
    LockRange { first: start, last: if end >= LAST_OFFSET { u64::MAX } else { end } }
}

pub(super) fn kernel_range(range: LockRange) -> (u64, u64) {
    (range.first, range.last.min(LAST_OFFSET))
}

/// `None` where it is to be unlocked.
pub(super) fn lock(of: LocksOf, start: u64, end: u64, typ: i32, pid: u32) -> Result<Option<Lock>, VfsError> {
    let kind = match typ {
        libc::F_RDLCK => LockKind::Read,
        libc::F_WRLCK => LockKind::Write,
        libc::F_UNLCK => return Ok(None),
        _ => return Err(VfsError::Invalid("kind of lock")),
    };
    let range = match of.space {
        LockSpace::Posix => lock_range(start, end),
        LockSpace::Flock => LockRange::WHOLE,
    };
    Ok(Some(of.lock(range, kind, pid)))
}

pub(super) fn lock_type(kind: LockKind) -> i32 {
    match kind {
        LockKind::Read => libc::F_RDLCK,
        LockKind::Write => libc::F_WRLCK,
    }
}

pub(super) fn kind(kind: FileKind) -> FileType {
    match kind {
        FileKind::File => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::CharDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
    }
}

pub(super) fn attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: ino(attr.inode),
        size: attr.size,
        blocks: attr.allocated.div_ceil(STAT_BLOCK_BYTES),
        atime: attr.atime.into(),
        mtime: attr.mtime.into(),
        ctime: attr.ctime.into(),
        crtime: attr.btime.into(),
        kind: kind(attr.kind),
        perm: attr.mode as u16,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: PREFERRED_IO_BYTES,
        flags: 0,
    }
}

/// Attributes of nothing: inode 0.
pub(super) fn absent() -> FileAttr {
    bare(InodeId(0), FileKind::File)
}

/// Just enough for `.` and `..` in a listing.
pub(super) fn bare(inode: InodeId, of: FileKind) -> FileAttr {
    let time = SystemTime::UNIX_EPOCH;
    FileAttr {
        ino: ino(inode),
        size: 0,
        blocks: 0,
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: kind(of),
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

pub(super) fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::At(requested(time)),
    }
}

/// A time as the kernel sent it. fuser 0.18 counts the nanoseconds of times before the epoch backwards when it reads a request,
/// though not when it writes a reply: -5 s and 1 ns arrives as 5 s and 1 ns before the epoch.
fn requested(time: SystemTime) -> Timestamp {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(_) => time.into(),
        Err(before) => {
            let back = before.duration();
            Timestamp { secs: -(back.as_secs() as i64), nanos: back.subsec_nanos() }
        }
    }
}

/// What `mknod` makes of the type bits in `mode`.
pub(super) fn node(mode: u32, rdev: u32) -> Result<NewNode, VfsError> {
    match mode & libc::S_IFMT {
        0 | libc::S_IFREG => Ok(NewNode::File),
        libc::S_IFIFO => Ok(NewNode::Fifo),
        libc::S_IFSOCK => Ok(NewNode::Socket),
        libc::S_IFCHR => Ok(NewNode::CharDevice { rdev }),
        libc::S_IFBLK => Ok(NewNode::BlockDevice { rdev }),
        _ => Err(VfsError::Invalid("type of a new inode")),
    }
}

pub(super) fn rename_mode(flags: RenameFlags) -> Result<RenameMode, VfsError> {
    match flags {
        flags if flags.is_empty() => Ok(RenameMode::Replace),
        RenameFlags::RENAME_NOREPLACE => Ok(RenameMode::NoReplace),
        RenameFlags::RENAME_EXCHANGE => Ok(RenameMode::Exchange),
        _ => Err(VfsError::Invalid("flags of renameat2")),
    }
}

pub(super) fn xattr_mode(flags: i32) -> Result<XattrMode, VfsError> {
    match flags {
        0 => Ok(XattrMode::Any),
        libc::XATTR_CREATE => Ok(XattrMode::Create),
        libc::XATTR_REPLACE => Ok(XattrMode::Replace),
        _ => Err(VfsError::Invalid("flags of setxattr")),
    }
}
