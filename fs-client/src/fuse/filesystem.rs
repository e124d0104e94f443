//! The calls.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;
use cairn_proto::attr::{FileKind, MODE_BITS, SetAttr};
use cairn_proto::lock;
use cairn_proto::meta::NewNode;
use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, INodeNo, IoctlFlags, KernelConfig, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, RequestId,
    TimeOrNow, WriteFlags,
};

use super::answer::{Opened, Xattr};
use super::convert::{self, caller, inode};
use super::{FuseShim, errno, init, sync};
use crate::vfs::{self, DirHandle, Listed, Lookup, NewInode, VfsError, Whence, WriteHow};

fn file(handle: FileHandle) -> vfs::FileHandle {
    vfs::FileHandle(handle.0)
}

impl Filesystem for FuseShim {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        init::negotiate(config)
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (vfs, name) = (self.vfs(), name.to_owned());
        self.serve("lookup", reply, async move { vfs.lookup(inode(parent), &name).await });
    }

    fn forget(&self, _request: &Request, _ino: INodeNo, _lookups: u64) {
        // Nothing is kept for the kernel's sake.
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        let vfs = self.vfs();
        self.serve("getattr", reply, async move { vfs.getattr(inode(ino)).await });
    }

    fn setattr(
        &self,
        request: &Request,
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
        let mut set = SetAttr {
            mode: mode.map(|mode| mode & MODE_BITS),
            uid,
            gid,
            size,
            atime: atime.map(convert::set_time),
            mtime: mtime.map(convert::set_time),
            kill_suid_sgid: false,
        };
        // A `chown` that names neither owner nor group clears these bits all the same, and comes without any field.
        set.kill_suid_sgid = set == SetAttr::default();
        let (vfs, caller) = (self.vfs(), caller(request));
        self.serve("setattr", reply, async move { vfs.setattr(caller, inode(ino), set).await });
    }

    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        let vfs = self.vfs();
        self.serve("readlink", reply, async move { Ok(Bytes::from(vfs.readlink(inode(ino)).await?)) });
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let (vfs, caller, name) = (self.vfs(), caller(request), name.to_owned());
        self.serve("mknod", reply, async move {
            let new = NewInode { node: convert::node(mode, rdev)?, mode, umask };
            vfs.make(caller, inode(parent), &name, new).await.map(Lookup::Found)
        });
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let (vfs, caller, name) = (self.vfs(), caller(request), name.to_owned());
        let new = NewInode { node: NewNode::Directory, mode, umask };
        self.serve("mkdir", reply, async move { vfs.make(caller, inode(parent), &name, new).await.map(Lookup::Found) });
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (vfs, name) = (self.vfs(), name.to_owned());
        self.serve("unlink", reply, async move { vfs.unlink(inode(parent), &name).await });
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (vfs, name) = (self.vfs(), name.to_owned());
        self.serve("rmdir", reply, async move { vfs.rmdir(inode(parent), &name).await });
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let (vfs, caller, name) = (self.vfs(), caller(request), name.to_owned());
        let target = target.as_os_str().as_bytes().to_vec();
        self.serve("symlink", reply, async move {
            vfs.symlink(caller, inode(parent), &name, target).await.map(Lookup::Found)
        });
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
        let (vfs, name, new_name) = (self.vfs(), name.to_owned(), new_name.to_owned());
        self.serve("rename", reply, async move {
            let mode = convert::rename_mode(flags)?;
            vfs.rename((inode(parent), &name), (inode(new_parent), &new_name), mode).await
        });
    }

    fn link(&self, _request: &Request, ino: INodeNo, new_parent: INodeNo, new_name: &OsStr, reply: ReplyEntry) {
        let (vfs, name) = (self.vfs(), new_name.to_owned());
        self.serve(
            "link",
            reply,
            async move { vfs.link(inode(ino), inode(new_parent), &name).await.map(Lookup::Found) },
        );
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (vfs, caller) = (self.vfs(), caller(request));
        self.serve("open", reply, async move { vfs.open(caller, inode(ino), flags.0).await.map(Opened::File) });
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (vfs, caller, name) = (self.vfs(), caller(request), name.to_owned());
        let new = NewInode { node: NewNode::File, mode, umask };
        self.serve("create", reply, async move { vfs.create(caller, inode(parent), &name, new, flags).await });
    }

    fn read(
        &self,
        _request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let vfs = self.vfs();
        self.serve("read", reply, async move { vfs.read(file(handle), offset, size).await });
    }

    fn write(
        &self,
        _request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        // Pages of a mapping go where they belong, whatever the descriptor says that they are guessed to come from.
        let from_pages = write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        let how = WriteHow {
            append: flags.0 & libc::O_APPEND != 0 && !from_pages,
            kill_suid_sgid: write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID),
        };
        let (vfs, data) = (self.vfs(), Bytes::copy_from_slice(data));
        let len = data.len() as u32;
        self.serve("write", reply, async move { vfs.write(file(handle), offset, data, how).await.map(|()| len) });
    }

    fn flush(&self, _request: &Request, _ino: INodeNo, handle: FileHandle, owner: LockOwner, reply: ReplyEmpty) {
        let vfs = self.vfs();
        self.serve("flush", reply, async move { vfs.flush(file(handle), lock::LockOwner(owner.0)).await });
    }

    fn getlk(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        owner: LockOwner,
        start: u64,
        end: u64,
        typ: i32,
        pid: u32,
        flock: bool,
        reply: ReplyLock,
    ) {
        let (vfs, of) = (self.vfs(), convert::locks_of(ino, owner, flock));
        self.serve("getlk", reply, async move {
            match convert::lock(of, start, end, typ, pid)? {
                Some(lock) => vfs.test_lock(lock).await,
                None => Err(VfsError::Invalid("kind of lock")),
            }
        });
    }

    fn setlk(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        owner: LockOwner,
        start: u64,
        end: u64,
        typ: i32,
        pid: u32,
        sleep: bool,
        flock: bool,
        reply: ReplyEmpty,
    ) {
        let (vfs, of) = (self.vfs(), convert::locks_of(ino, owner, flock));
        let request = sleep.then(|| self.interrupts.register(request.unique()));
        self.serve("setlk", reply, async move {
            match (convert::lock(of, start, end, typ, pid)?, request) {
                (None, _) => vfs.unlock(of, convert::lock_range(start, end)).await,
                (Some(lock), None) => vfs.set_lock(file(handle), lock).await,
                (Some(lock), Some(request)) => vfs.wait_for_lock(file(handle), lock, request.interrupted.clone()).await,
            }
        });
    }

    fn interrupt(&self, _request: &Request, id: RequestId) {
        self.interrupts.interrupt(id);
    }

    fn release(
        &self,
        _request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let vfs = self.vfs();
        self.serve("release", reply, async move {
            vfs.release(file(handle)).await;
            Ok(())
        });
    }

    fn fsync(&self, _request: &Request, _ino: INodeNo, handle: FileHandle, datasync: bool, reply: ReplyEmpty) {
        let vfs = self.vfs();
        self.serve("fsync", reply, async move { vfs.fsync(file(handle), datasync).await });
    }

    fn opendir(&self, _request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let vfs = self.vfs();
        self.serve("opendir", reply, async move { Ok(Opened::Directory(vfs.opendir(inode(ino)))) });
    }

    fn readdir(&self, _request: &Request, _ino: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let vfs = self.vfs();
        self.start(async move {
            let add = |entry: Listed<'_>| {
                let name = OsStr::from_bytes(entry.name);
                reply.add(convert::ino(entry.inode), entry.next, convert::kind(entry.kind), name)
            };
            match vfs.readdir(DirHandle(handle.0), offset, false, add).await {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(errno("readdir", &error)),
            }
        });
    }

    fn readdirplus(
        &self,
        _request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let vfs = self.vfs();
        self.start(async move {
            let add = |entry: Listed<'_>| add_with_attr(&mut reply, &entry);
            match vfs.readdir(DirHandle(handle.0), offset, true, add).await {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(errno("readdirplus", &error)),
            }
        });
    }

    fn releasedir(&self, _request: &Request, _ino: INodeNo, handle: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        self.vfs.releasedir(DirHandle(handle.0));
        reply.ok();
    }

    fn fsyncdir(&self, _request: &Request, _ino: INodeNo, _handle: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let vfs = self.vfs();
        self.serve("fsyncdir", reply, async move { vfs.fsyncdir().await });
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let vfs = self.vfs();
        self.serve("statfs", reply, async move { vfs.statfs().await });
    }

    fn setxattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let (vfs, caller, name, value) = (self.vfs(), caller(request), name.to_owned(), value.to_vec());
        self.serve("setxattr", reply, async move {
            vfs.setxattr(caller, inode(ino), &name, value, convert::xattr_mode(flags)?).await
        });
    }

    fn getxattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let (vfs, name) = (self.vfs(), name.to_owned());
        self.serve("getxattr", reply, async move {
            Ok(Xattr { value: vfs.getxattr(inode(ino), &name).await?, room: size })
        });
    }

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let (vfs, caller) = (self.vfs(), caller(request));
        self.serve("listxattr", reply, async move {
            Ok(Xattr { value: vfs.listxattr(caller, inode(ino)).await?.into(), room: size })
        });
    }

    fn removexattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (vfs, name) = (self.vfs(), name.to_owned());
        self.serve("removexattr", reply, async move { vfs.removexattr(inode(ino), &name).await });
    }

    fn ioctl(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        command: u32,
        _input: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        if command != sync::COMMAND {
            return reply.error(Errno::ENOTTY);
        }
        let vfs = self.vfs();
        self.start(async move {
            match vfs.sync_all().await {
                Ok(()) => reply.ioctl(0, &[]),
                Err(error) => reply.error(errno("sync", &error)),
            }
        });
    }

    fn fallocate(
        &self,
        request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let (vfs, caller) = (self.vfs(), caller(request));
        self.serve("fallocate", reply, async move { vfs.fallocate(caller, file(handle), offset, length, mode).await });
    }

    fn lseek(
        &self,
        _request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let vfs = self.vfs();
        self.serve("lseek", reply, async move {
            let whence = match whence {
                libc::SEEK_DATA => Whence::Data,
                libc::SEEK_HOLE => Whence::Hole,
                _ => return Err(VfsError::Invalid("whence of lseek")),
            };
            let offset = u64::try_from(offset).map_err(|_| VfsError::NoData)?;
            vfs.seek(file(handle), offset, whence).await
        });
    }

    fn copy_file_range(
        &self,
        request: &Request,
        _ino_in: INodeNo,
        handle_in: FileHandle,
        offset_in: u64,
        _ino_out: INodeNo,
        handle_out: FileHandle,
        offset_out: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let (vfs, caller) = (self.vfs(), caller(request));
        self.serve("copy_file_range", reply, async move {
            let (from, to) = ((file(handle_in), offset_in), (file(handle_out), offset_out));
            vfs.copy_file_range(caller, from, to, len).await.map(|copied| copied as u32)
        });
    }
}

/// Adds an entry with its attributes; says whether there was no room for it.
fn add_with_attr(reply: &mut ReplyDirectoryPlus, entry: &Listed<'_>) -> bool {
    let (ino, name) = (convert::ino(entry.inode), OsStr::from_bytes(entry.name));
    match &entry.looked {
        Some(looked) => {
            let validity = looked.attr_validity.min(looked.name_validity);
            let attr = convert::attr(&looked.attr);
            reply.add(ino, entry.next, name, &validity, &attr, super::answer::GENERATION)
        }
        None => {
            let attr = convert::bare(entry.inode, FileKind::Directory);
            reply.add(ino, entry.next, name, &std::time::Duration::ZERO, &attr, super::answer::GENERATION)
        }
    }
}
