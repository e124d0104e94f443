//! The calls.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;
use cairn_proto::attr::{MODE_BITS, SetAttr};
use cairn_proto::lock;
use cairn_proto::meta::NewNode;
use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, INodeNo, IoctlFlags, KernelConfig, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, RequestId,
    TimeOrNow, WriteFlags,
};
use tokio_util::sync::CancellationToken;

use super::answer::{Listing, Opened, Xattr};
use super::convert::{self, caller, inode};
use super::waiting::{Call, Left};
use super::{FuseShim, call, init, sync};
use crate::vfs::{self, DirHandle, Listed, Lookup, NewInode, VfsError, Whence, WriteHow};

fn file(handle: FileHandle) -> vfs::FileHandle {
    vfs::FileHandle(handle.0)
}

impl Filesystem for FuseShim {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        init::negotiate(config)
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (vfs, name) = (self.vfs(), name.to_owned());
        self.ask(request, "lookup", self.naming(reply), async move { vfs.lookup(inode(parent), &name).await });
    }

    fn forget(&self, _request: &Request, ino: INodeNo, lookups: u64) {
        self.inodes.forgotten(inode(ino), lookups);
    }

    fn getattr(&self, request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        let vfs = self.vfs();
        self.ask(request, "getattr", reply, async move { vfs.getattr_or_last_known(inode(ino)).await });
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
        self.change(request, "setattr", reply, async move { vfs.setattr(caller, inode(ino), set).await });
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        let vfs = self.vfs();
        self.ask(request, "readlink", reply, async move { Ok(Bytes::from(vfs.readlink(inode(ino)).await?)) });
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
        self.serve(request, "mknod", self.naming(reply), async move {
            let new = NewInode { node: convert::node(mode, rdev)?, mode, umask };
            vfs.make(caller, inode(parent), &name, new).await.map(Lookup::Found)
        });
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let (vfs, caller, name) = (self.vfs(), caller(request), name.to_owned());
        let new = NewInode { node: NewNode::Directory, mode, umask };
        self.serve(request, "mkdir", self.naming(reply), async move {
            vfs.make(caller, inode(parent), &name, new).await.map(Lookup::Found)
        });
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (vfs, name) = (self.vfs(), name.to_owned());
        self.change(request, "unlink", reply, async move { vfs.unlink(inode(parent), &name).await });
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (vfs, name) = (self.vfs(), name.to_owned());
        self.change(request, "rmdir", reply, async move { vfs.rmdir(inode(parent), &name).await });
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let (vfs, caller, name) = (self.vfs(), caller(request), name.to_owned());
        let target = target.as_os_str().as_bytes().to_vec();
        self.serve(request, "symlink", self.naming(reply), async move {
            vfs.symlink(caller, inode(parent), &name, target).await.map(Lookup::Found)
        });
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (vfs, name, new_name) = (self.vfs(), name.to_owned(), new_name.to_owned());
        self.change(request, "rename", reply, async move {
            let mode = convert::rename_mode(flags)?;
            vfs.rename((inode(parent), &name), (inode(new_parent), &new_name), mode).await
        });
    }

    fn link(&self, request: &Request, ino: INodeNo, new_parent: INodeNo, new_name: &OsStr, reply: ReplyEntry) {
        let (vfs, name) = (self.vfs(), new_name.to_owned());
        self.serve(request, "link", self.naming(reply), async move {
            vfs.link(inode(ino), inode(new_parent), &name).await.map(Lookup::Found)
        });
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (vfs, caller) = (self.vfs(), caller(request));
        let left = if flags.0 & libc::O_TRUNC != 0 { Left::GoesOnIfKilled } else { Left::GoesOn };
        let work = async move { vfs.open(caller, inode(ino), flags.0).await.map(Opened::File) };
        self.start(call(request, "open", left), None, None, reply, Box::pin(work));
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
        self.serve(request, "create", self.naming(reply), async move {
            vfs.create(caller, inode(parent), &name, new, flags).await
        });
    }

    fn read(
        &self,
        request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let vfs = self.vfs();
        self.ask(request, "read", reply, async move { vfs.read(file(handle), offset, size).await });
    }

    fn write(
        &self,
        request: &Request,
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
            from_pages,
        };
        let (vfs, data, given_up) = (self.vfs(), Bytes::copy_from_slice(data), CancellationToken::new());
        let asker = given_up.clone();
        let work = async move {
            let len = data.len() as u32;
            // Bytes that are not in the buffer when the program is told `EINTR` never will be: it may write there again.
            let taken = asker.run_until_cancelled(vfs.take_in(file(handle), offset, data, how)).await;
            taken.unwrap_or(Err(VfsError::Interrupted))?;
            vfs.write_through(file(handle)).await.map(|()| len)
        };
        self.start(call(request, "write", Left::GoesOn), None, Some(given_up), reply, Box::pin(work));
    }

    fn flush(&self, request: &Request, _ino: INodeNo, handle: FileHandle, owner: LockOwner, reply: ReplyEmpty) {
        let vfs = self.vfs();
        let call = Call { at_exit: true, ..call(request, "flush", Left::GoesOn) };
        let given_up = CancellationToken::new();
        let asker = given_up.clone();
        let work = async move { vfs.flush(file(handle), lock::LockOwner(owner.0), &asker).await };
        self.start(call, None, Some(given_up), reply, Box::pin(work));
    }

    fn getlk(
        &self,
        request: &Request,
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
        self.ask(request, "getlk", reply, async move {
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
        // A wait for a lock ends by any signal, and at once.
        let registered = sleep.then(|| self.interrupts.register(request.unique()));
        let interrupted = registered.as_ref().map(|registered| registered.interrupted.clone());
        let given_up = CancellationToken::new();
        let asker = given_up.clone();
        let work = async move {
            let Some(lock) = convert::lock(of, start, end, typ, pid)? else {
                return vfs.unlock(of, convert::lock_range(start, end)).await;
            };
            let set = match interrupted {
                Some(interrupted) => vfs.wait_for_lock(file(handle), lock, interrupted).await,
                None => vfs.set_lock(file(handle), lock, &asker).await,
            };
            match set {
                Ok(()) if asker.is_cancelled() => vfs.unlock(of, lock.range).await,
                set => set,
            }
        };
        self.start(call(request, "setlk", Left::GoesOn), registered, Some(given_up), reply, Box::pin(work));
    }

    fn interrupt(&self, _request: &Request, id: RequestId) {
        self.interrupts.interrupt(id);
    }

    fn release(
        &self,
        request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let vfs = self.vfs();
        self.serve(request, "release", reply, async move {
            vfs.release(file(handle)).await;
            Ok(())
        });
    }

    fn fsync(&self, request: &Request, _ino: INodeNo, handle: FileHandle, datasync: bool, reply: ReplyEmpty) {
        let vfs = self.vfs();
        let given_up = CancellationToken::new();
        let asker = given_up.clone();
        let work = async move { vfs.fsync(file(handle), datasync, &asker).await };
        self.start(call(request, "fsync", Left::GoesOn), None, Some(given_up), reply, Box::pin(work));
    }

    fn opendir(&self, request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let vfs = self.vfs();
        self.serve(request, "opendir", reply, async move { Ok(Opened::Directory(vfs.opendir(inode(ino)).await?)) });
    }

    fn readdir(&self, request: &Request, _ino: INodeNo, handle: FileHandle, offset: u64, reply: ReplyDirectory) {
        let (vfs, listing) = (self.vfs(), Listing::new(reply));
        self.ask(request, "readdir", listing.clone(), async move {
            let add = |entry: Listed<'_>| {
                let name = OsStr::from_bytes(entry.name);
                listing.add(|reply| reply.add(convert::ino(entry.inode), entry.next, convert::kind(entry.kind), name))
            };
            vfs.readdir(DirHandle(handle.0), offset, false, add).await
        });
    }

    fn readdirplus(
        &self,
        request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        let (vfs, namer, listing) = (self.vfs(), self.namer(), Listing::new(reply));
        self.ask(request, "readdirplus", listing.clone(), async move {
            let add = |entry: Listed<'_>| namer.list(&listing, &entry);
            vfs.readdir(DirHandle(handle.0), offset, true, add).await
        });
    }

    fn releasedir(&self, _request: &Request, _ino: INodeNo, handle: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        self.vfs.releasedir(DirHandle(handle.0));
        reply.ok();
    }

    fn fsyncdir(&self, request: &Request, _ino: INodeNo, handle: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let vfs = self.vfs();
        self.serve(request, "fsyncdir", reply, async move { vfs.fsyncdir(DirHandle(handle.0)).await });
    }

    fn statfs(&self, request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let vfs = self.vfs();
        self.ask(request, "statfs", reply, async move { vfs.statfs_or_last_known().await });
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
        self.change(request, "setxattr", reply, async move {
            vfs.setxattr(caller, inode(ino), &name, value, convert::xattr_mode(flags)?).await
        });
    }

    fn getxattr(&self, request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let (vfs, name) = (self.vfs(), name.to_owned());
        self.ask(request, "getxattr", reply, async move {
            Ok(Xattr { value: vfs.getxattr(inode(ino), &name).await?, room: size })
        });
    }

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let (vfs, caller) = (self.vfs(), caller(request));
        self.ask(request, "listxattr", reply, async move {
            Ok(Xattr { value: vfs.listxattr(caller, inode(ino)).await?.into(), room: size })
        });
    }

    fn removexattr(&self, request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (vfs, name) = (self.vfs(), name.to_owned());
        self.change(request, "removexattr", reply, async move { vfs.removexattr(inode(ino), &name).await });
    }

    fn ioctl(
        &self,
        request: &Request,
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
        self.serve(request, "sync", reply, async move { vfs.sync().await });
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
        self.change(request, "fallocate", reply, async move {
            vfs.fallocate(caller, file(handle), offset, length, mode).await
        });
    }

    fn lseek(&self, request: &Request, _ino: INodeNo, handle: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let vfs = self.vfs();
        self.ask(request, "lseek", reply, async move {
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
        let given_up = CancellationToken::new();
        let asker = given_up.clone();
        let work = async move {
            let (from, to) = ((file(handle_in), offset_in), (file(handle_out), offset_out));
            let copied = asker.run_until_cancelled(vfs.copy_file_range(caller, from, to, len)).await;
            copied.unwrap_or(Err(VfsError::Interrupted)).map(|copied| copied as u32)
        };
        self.start(call(request, "copy_file_range", Left::GoesOn), None, Some(given_up), reply, Box::pin(work));
    }
}
