//! A directory, the handles open in it, and one call after the other.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::{HANDLES, Op, Outcome, Stat, Value};
use crate::pattern;

/// See the module.
#[derive(Debug)]
pub struct World {
    root: PathBuf,
    handles: [Option<File>; HANDLES],
}

impl World {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), handles: Default::default() }
    }

    /// Makes the call.
    pub fn run(&mut self, op: &Op) -> Outcome {
        match op {
            Op::Open { slot, path, flags, mode } => {
                self.handles[*slot] = None;
                let path = self.path(path);
                // SAFETY: the path is a C string; the descriptor that comes back is ours alone.
                let file = unsafe {
                    let fd = Errno::result(libc::open(path.as_ptr(), flags.bits(), *mode))?;
                    File::from(OwnedFd::from_raw_fd(fd))
                };
                self.handles[*slot] = Some(file);
                Ok(Value::Done)
            }
            Op::Close { slot } => self.handles[*slot].take().map(|_| Value::Done).ok_or(Errno::EBADF),
            Op::Read { slot, offset, len } => {
                let mut buf = vec![0; *len];
                let n = read_full(self.file(*slot)?, &mut buf, *offset)?;
                buf.truncate(n);
                Ok(Value::Bytes(buf))
            }
            Op::Write { slot, offset, len, seed } => {
                let file = self.file(*slot)?;
                file.write_all_at(&pattern::bytes(*seed, *len), *offset).map_err(errno)?;
                Ok(Value::Done)
            }
            Op::WriteHere { slot, len, seed } => {
                use std::io::Write;
                let mut file = self.file(*slot)?;
                file.write_all(&pattern::bytes(*seed, *len)).map_err(errno)?;
                Ok(Value::Done)
            }
            Op::MapWrite { slot, offset, len, seed } => {
                map_write(self.file(*slot)?, *offset, &pattern::bytes(*seed, *len))
            }
            Op::Ftruncate { slot, len } => {
                // SAFETY: a plain call on a descriptor that is open.
                let r = unsafe { libc::ftruncate(self.file(*slot)?.as_raw_fd(), *len as i64) };
                done(r)
            }
            Op::Fallocate { slot, mode, offset, len } => {
                // SAFETY: as above.
                let r = unsafe { libc::fallocate(self.file(*slot)?.as_raw_fd(), *mode, *offset as i64, *len as i64) };
                done(r)
            }
            Op::CopyRange { from, to, from_offset, to_offset, len } => {
                self.copy(*from, *to, *from_offset, *to_offset, *len)
            }
            Op::Fsync { slot } => self.file(*slot)?.sync_all().map(|()| Value::Done).map_err(errno),
            Op::Fstat { slot } => {
                let fd = self.file(*slot)?.as_raw_fd();
                // SAFETY: `stat` fills the zeroed structure.
                stat(|s| unsafe { libc::fstat(fd, s) })
            }
            Op::Truncate { path, len } => {
                let path = self.path(path);
                // SAFETY: the path is a C string, here and below.
                done(unsafe { libc::truncate(path.as_ptr(), *len as i64) })
            }
            Op::Mkdir { path, mode } => done(unsafe { libc::mkdir(self.path(path).as_ptr(), *mode) }),
            Op::Rmdir { path } => done(unsafe { libc::rmdir(self.path(path).as_ptr()) }),
            Op::Unlink { path } => done(unsafe { libc::unlink(self.path(path).as_ptr()) }),
            Op::Rename { from, to, flags } => {
                let (from, to) = (self.path(from), self.path(to));
                // SAFETY: as above.
                done(unsafe { libc::renameat2(libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), *flags) })
            }
            Op::Link { from, to } => done(unsafe { libc::link(self.path(from).as_ptr(), self.path(to).as_ptr()) }),
            Op::Symlink { target, path } => {
                // Relative to the link's own directory, so that both worlds hold the same bytes.
                let target = CString::new(target.as_bytes()).map_err(|_| Errno::EINVAL)?;
                // SAFETY: as above.
                done(unsafe { libc::symlink(target.as_ptr(), self.path(path).as_ptr()) })
            }
            Op::ReadLink { path } => std::fs::read_link(self.root.join(path))
                .map(|t| Value::Bytes(t.as_os_str().as_bytes().to_vec()))
                .map_err(errno),
            Op::Mkfifo { path, mode } => done(unsafe { libc::mkfifo(self.path(path).as_ptr(), *mode) }),
            Op::ReadDir { path } => names(&self.root.join(path)).map(Value::Names),
            Op::Stat { path } => {
                let path = self.path(path);
                stat(|s| unsafe { libc::stat(path.as_ptr(), s) })
            }
            Op::Lstat { path } => lstat(&self.path(path)).map(|s| Value::Stat(s.into())),
            Op::Chmod { path, mode } => done(unsafe { libc::chmod(self.path(path).as_ptr(), *mode) }),
            Op::Chown { path, uid, gid } => {
                let (uid, gid) = (uid.unwrap_or(u32::MAX), gid.unwrap_or(u32::MAX));
                // SAFETY: as above.
                done(unsafe { libc::lchown(self.path(path).as_ptr(), uid, gid) })
            }
            Op::Utimens { path, atime, mtime } => self.utimens(path, *atime, *mtime),
            Op::SetXattr { path, name, len, seed, flags } => {
                let (path, name, value) = (self.path(path), c(name)?, pattern::bytes(*seed, *len));
                // SAFETY: name and value are valid for the call.
                done(unsafe {
                    libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), *flags)
                })
            }
            Op::GetXattr { path, name } => {
                let (path, name, mut value) = (self.path(path), c(name)?, vec![0u8; 65_536]);
                // SAFETY: the buffer is as long as said.
                let n =
                    unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
                value.truncate(Errno::result(n)? as usize);
                Ok(Value::Bytes(value))
            }
            Op::ListXattr { path } => self.list_xattr(path),
            Op::RemoveXattr { path, name } => {
                let name = c(name)?;
                // SAFETY: as above.
                done(unsafe { libc::lremovexattr(self.path(path).as_ptr(), name.as_ptr()) })
            }
        }
    }

    fn file(&self, slot: usize) -> Result<&File, Errno> {
        self.handles[slot].as_ref().ok_or(Errno::EBADF)
    }

    fn path(&self, relative: &str) -> CString {
        CString::new(self.root.join(relative).as_os_str().as_bytes()).expect("paths of a test have no NUL")
    }

    fn copy(&self, from: usize, to: usize, from_offset: u64, to_offset: u64, len: usize) -> Outcome {
        let (source, target) = (self.file(from)?.as_raw_fd(), self.file(to)?.as_raw_fd());
        let (mut i, mut o) = (from_offset as i64, to_offset as i64);
        let mut copied = 0;
        while copied < len {
            // SAFETY: both offsets outlive the call.
            let n = Errno::result(unsafe { libc::copy_file_range(source, &mut i, target, &mut o, len - copied, 0) })?;
            if n == 0 {
                break;
            }
            copied += n as usize;
        }
        Ok(Value::Count(copied as u64))
    }

    fn utimens(&self, path: &str, atime: Option<(i64, i64)>, mtime: Option<(i64, i64)>) -> Outcome {
        let spec = |t: Option<(i64, i64)>| {
            let (tv_sec, tv_nsec) = t.unwrap_or((0, libc::UTIME_OMIT));
            libc::timespec { tv_sec, tv_nsec }
        };
        let path = self.path(path);
        let times = [spec(atime), spec(mtime)];
        // SAFETY: two timespecs, as the call wants.
        Errno::result(unsafe {
            libc::utimensat(libc::AT_FDCWD, path.as_ptr(), times.as_ptr(), libc::AT_SYMLINK_NOFOLLOW)
        })?;
        let now = lstat(&path)?;
        Ok(Value::Times {
            atime: atime.map(|_| (now.st_atime, now.st_atime_nsec)),
            mtime: mtime.map(|_| (now.st_mtime, now.st_mtime_nsec)),
        })
    }

    fn list_xattr(&self, path: &str) -> Outcome {
        let (path, mut list) = (self.path(path), vec![0u8; 65_536]);
        // SAFETY: the buffer is as long as said.
        let n = unsafe { libc::llistxattr(path.as_ptr(), list.as_mut_ptr().cast(), list.len()) };
        list.truncate(Errno::result(n)? as usize);
        let mut names: Vec<String> =
            list.split(|b| *b == 0).filter(|n| !n.is_empty()).map(|n| n.escape_ascii().to_string()).collect();
        names.sort();
        Ok(Value::Names(names))
    }
}

/// Everything below `root`: path to attributes and, for files and symlinks, content.
pub fn tree(root: &Path) -> std::io::Result<BTreeMap<PathBuf, (Stat, Vec<u8>)>> {
    let mut all = BTreeMap::new();
    let mut left = vec![PathBuf::new()];
    while let Some(relative) = left.pop() {
        let path = root.join(&relative);
        let c_path = CString::new(path.as_os_str().as_bytes()).expect("paths of a test have no NUL");
        let stat: Stat = lstat(&c_path).map_err(std::io::Error::from)?.into();
        let content = match stat.mode & libc::S_IFMT {
            libc::S_IFREG => std::fs::read(&path)?,
            libc::S_IFLNK => std::fs::read_link(&path)?.as_os_str().as_bytes().to_vec(),
            libc::S_IFDIR => {
                for entry in std::fs::read_dir(&path)? {
                    left.push(relative.join(entry?.file_name()));
                }
                Vec::new()
            }
            _ => Vec::new(),
        };
        if !relative.as_os_str().is_empty() {
            all.insert(relative, (stat, content));
        }
    }
    Ok(all)
}

fn map_write(file: &File, offset: u64, bytes: &[u8]) -> Outcome {
    let size = file.metadata().map_err(errno)?.len();
    let page_offset = offset / 4096 * 4096;
    let end = (offset + bytes.len() as u64).min(size);
    if end <= offset {
        return Ok(Value::Count(0));
    }
    let len = (end - page_offset) as usize;
    let n = (end - offset) as usize;
    // SAFETY: the mapping is within the file, which nobody shortens before it is unmapped; it is unmapped below.
    unsafe {
        let map = libc::mmap(
            std::ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            page_offset as i64,
        );
        if map == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let at = map.cast::<u8>().add((offset - page_offset) as usize);
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, n);
        let synced = Errno::result(libc::msync(map, len, libc::MS_SYNC));
        libc::munmap(map, len);
        synced?;
    }
    Ok(Value::Count(n as u64))
}

fn read_full(file: &File, buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let mut n = 0;
    while n < buf.len() {
        match file.read_at(&mut buf[n..], offset + n as u64).map_err(errno)? {
            0 => break,
            more => n += more,
        }
    }
    Ok(n)
}

fn names(path: &Path) -> Result<Vec<String>, Errno> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(errno)? {
        names.push(entry.map_err(errno)?.file_name().as_bytes().escape_ascii().to_string());
    }
    names.sort();
    Ok(names)
}

fn lstat(path: &CString) -> Result<libc::stat, Errno> {
    // SAFETY: `lstat` fills the zeroed structure.
    unsafe {
        let mut s = std::mem::zeroed();
        Errno::result(libc::lstat(path.as_ptr(), &mut s))?;
        Ok(s)
    }
}

fn stat(call: impl FnOnce(*mut libc::stat) -> i32) -> Outcome {
    // SAFETY: all zeros is a valid `stat`.
    let mut s = unsafe { std::mem::zeroed() };
    Errno::result(call(&mut s))?;
    Ok(Value::Stat(s.into()))
}

fn done(result: i32) -> Outcome {
    Errno::result(result).map(|_| Value::Done)
}

fn c(name: &str) -> Result<CString, Errno> {
    CString::new(name).map_err(|_| Errno::EINVAL)
}

fn errno(e: std::io::Error) -> Errno {
    e.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
