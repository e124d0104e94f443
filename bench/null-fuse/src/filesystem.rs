//! The FUSE calls: each takes the lock, asks the table and replies on the same thread.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use nix::unistd::{getgid, getuid};
use parking_lot::Mutex;

use crate::node::{Body, Creation};
use crate::table::Table;

/// The largest request that the kernel sends by default (`fs.fuse.max_pages_limit`, 256 pages).
pub const MAX_REQUEST_BYTES: u32 = 1 << 20;

/// Nothing changes behind the kernel's back, so it may keep what it was told.
const TTL: Duration = Duration::from_secs(3600);

/// Requests that the kernel may have in flight in the background: read-ahead and asynchronous direct I/O.
const MAX_BACKGROUND_REQUESTS: u16 = 64;

/// Space that statfs reports, in blocks of 4 KiB: enough for any workload.
const STATFS_BLOCKS: u64 = 1 << 30;

const GENERATION: Generation = Generation(0);
const NO_HANDLE: FileHandle = FileHandle(0);
static ZEROS: [u8; MAX_REQUEST_BYTES as usize] = [0; MAX_REQUEST_BYTES as usize];

#[derive(Debug)]
pub struct NullFs {
    table: Mutex<Table>,
}

impl NullFs {
    pub fn new() -> Self {
        Self { table: Mutex::new(Table::new(getuid().as_raw(), getgid().as_raw())) }
    }
}

/// What a node made by `request` looks like.
fn creation(request: &Request, kind: FileType, mode: u32, rdev: u32) -> Creation {
    Creation { kind, perm: (mode & 0o7777) as u16, uid: request.uid(), gid: request.gid(), rdev }
}

fn kind_of_mode(mode: u32) -> FileType {
    match mode & libc::S_IFMT {
        libc::S_IFIFO => FileType::NamedPipe,
        libc::S_IFCHR => FileType::CharDevice,
        libc::S_IFBLK => FileType::BlockDevice,
        libc::S_IFSOCK => FileType::Socket,
        _ => FileType::RegularFile,
    }
}

fn time(time: TimeOrNow) -> SystemTime {
    match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}

fn reply_entry(reply: ReplyEntry, result: Result<FileAttr, Errno>) {
    match result {
        Ok(attr) => reply.entry(&TTL, &attr, GENERATION),
        Err(errno) => reply.error(errno),
    }
}

fn reply_empty(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

impl Filesystem for NullFs {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let wanted = [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_ATOMIC_O_TRUNC,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
        ];
        for flag in wanted {
            // An older kernel without one of them is a slower ceiling, not a failure.
            let _unsupported = config.add_capabilities(flag);
        }
        // Both setters answer with the nearest value that is allowed.
        if let Err(nearest) = config.set_max_write(MAX_REQUEST_BYTES) {
            let _previous = config.set_max_write(nearest);
        }
        if let Err(nearest) = config.set_max_readahead(MAX_REQUEST_BYTES) {
            let _previous = config.set_max_readahead(nearest);
        }
        let _previous = config.set_max_background(MAX_BACKGROUND_REQUESTS);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        reply_entry(reply, self.table.lock().lookup(parent, name));
    }

    fn forget(&self, _request: &Request, ino: INodeNo, _lookups: u64) {
        self.table.lock().forget(ino);
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        let attr = self.table.lock().node(ino).map(|node| node.attr);
        match attr {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(errno) => reply.error(errno),
        }
    }

    fn setattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let attr = self.table.lock().node_mut(ino).map(|node| {
            if let Some(size) = size {
                node.resize(size);
            }
            let attr = &mut node.attr;
            attr.perm = mode.map_or(attr.perm, |mode| (mode & 0o7777) as u16);
            attr.uid = uid.unwrap_or(attr.uid);
            attr.gid = gid.unwrap_or(attr.gid);
            attr.atime = atime.map_or(attr.atime, time);
            attr.mtime = mtime.map_or(attr.mtime, time);
            attr.ctime = SystemTime::now();
            *attr
        });
        match attr {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(errno) => reply.error(errno),
        }
    }

    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        let table = self.table.lock();
        match table.node(ino).map(|node| &node.body) {
            Ok(Body::Symlink(target)) => reply.data(target.as_os_str().as_encoded_bytes()),
            Ok(Body::Directory(_) | Body::Other) => reply.error(Errno::EINVAL),
            Err(errno) => reply.error(errno),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let creation = creation(request, kind_of_mode(mode), mode, rdev);
        reply_entry(reply, self.table.lock().create(parent, name, creation, Body::Other));
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        let creation = creation(request, FileType::Directory, mode, 0);
        reply_entry(reply, self.table.lock().mkdir(parent, name, creation));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let creation = creation(request, FileType::Symlink, 0o777, 0);
        reply_entry(reply, self.table.lock().create(parent, name, creation, Body::Symlink(target.to_owned())));
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        reply_empty(reply, self.table.lock().unlink(parent, name));
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        reply_empty(reply, self.table.lock().rmdir(parent, name));
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        reply_empty(reply, self.table.lock().rename((parent, name), (new_parent, new_name), flags));
    }

    fn link(&self, _request: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        reply_entry(reply, self.table.lock().link(ino, parent, name));
    }

    fn open(&self, _request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.0 & libc::O_TRUNC != 0
            && let Ok(node) = self.table.lock().node_mut(ino)
        {
            node.resize(0);
        }
        reply.opened(NO_HANDLE, FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let creation = creation(request, FileType::RegularFile, mode, 0);
        match self.table.lock().create(parent, name, creation, Body::Other) {
            Ok(attr) => reply.created(
                &TTL,
                &attr,
                GENERATION,
                NO_HANDLE,
                FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES,
            ),
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let file_size = match self.table.lock().node(ino) {
            Ok(node) => node.attr.size,
            Err(errno) => return reply.error(errno),
        };
        let left = file_size.saturating_sub(offset).min(u64::from(size)) as usize;
        match ZEROS.get(..left) {
            Some(zeros) => reply.data(zeros),
            // Larger than what was negotiated: only a kernel that ignores the handshake asks.
            None => reply.data(&vec![0; left]),
        }
    }

    fn write(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.table.lock().node_mut(ino).map(|node| {
            let end = offset + data.len() as u64;
            if end > node.attr.size { node.resize(end) } else { node.touch() }
        });
        match written {
            Ok(()) => reply.written(data.len() as u32),
            Err(errno) => reply.error(errno),
        }
    }

    /// Answered, although refusing it would spare one trip per close: a client that reports write-back errors needs it.
    fn flush(&self, _request: &Request, _ino: INodeNo, _handle: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _request: &Request, _ino: INodeNo, _handle: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn opendir(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(NO_HANDLE, FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR);
    }

    fn readdir(&self, _request: &Request, ino: INodeNo, _handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let table = self.table.lock();
        let directory = match table.directory(ino) {
            Ok(directory) => directory,
            Err(errno) => return reply.error(errno),
        };
        let dots = [(1, OsStr::new("."), ino), (2, OsStr::new(".."), directory.parent)];
        for (next, name, child) in dots.into_iter().filter(|dot| dot.0 > offset).chain(directory.after(offset)) {
            let kind = table.node(child).map_or(FileType::RegularFile, |node| node.attr.kind);
            if reply.add(child, next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let table = self.table.lock();
        let directory = match table.directory(ino) {
            Ok(directory) => directory,
            Err(errno) => return reply.error(errno),
        };
        let dots = [(1, OsStr::new("."), ino), (2, OsStr::new(".."), directory.parent)];
        for (next, name, child) in dots.into_iter().filter(|dot| dot.0 > offset).chain(directory.after(offset)) {
            let Ok(node) = table.node(child) else { continue };
            if reply.add(child, next, name, &TTL, &node.attr, GENERATION) {
                break;
            }
        }
        reply.ok();
    }

    fn fsyncdir(&self, _request: &Request, _ino: INodeNo, _handle: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let inodes = self.table.lock().len() as u64;
        reply.statfs(STATFS_BLOCKS, STATFS_BLOCKS, STATFS_BLOCKS, inodes, u64::MAX - inodes, 4096, 255, 4096);
    }

    fn fallocate(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let result = self.table.lock().node_mut(ino).map(|node| {
            let end = offset.saturating_add(length);
            if mode & libc::FALLOC_FL_KEEP_SIZE == 0 && end > node.attr.size {
                node.resize(end);
            }
        });
        reply_empty(reply, result);
    }
}
