//! Where bytes become durable: the few operations on files that the store is made of.
//!
//! [`OsDisk`] is the real one. [`sim::SimDisk`] is one in memory that fails, fills up, and forgets what was not synced, as
//! a disk does whose power is cut.

#[cfg(feature = "faults")]
pub mod errors;
mod os;
mod parallel;
mod part;
#[cfg(feature = "faults")]
pub mod power_cuts;
#[cfg(test)]
pub mod sim;
mod watched;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use os::OsDisk;
pub use parallel::{Task, all_at_once};
pub use part::Part;
pub use watched::Watched;

/// Bytes of a file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacity {
    pub total: u64,
    /// What this process may still write.
    pub free: u64,
}

/// How to open a file, always for reading and writing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    Existing,
    /// Fails where there is one.
    New,
    /// Takes or creates one.
    Any,
}

/// A place for files.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>>;
    /// Removes a name. Durable only once its directory is synced.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Moves a file whose bytes are synced, durably.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes a directory and those above it, durably. One that exists is no error.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Full paths of what a directory holds. A directory that does not exist holds nothing.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes all that has been done to the file system of `dir` durable. That a file could not be written is not always said
    /// here: see [`DiskFile::check_written`].
    fn sync_all(&self, dir: &Path) -> io::Result<()>;
    fn capacity(&self, dir: &Path) -> io::Result<Capacity>;
    /// Which device a directory is on, where that can be told.
    fn device(&self, _dir: &Path) -> Option<u64> {
        None
    }
    /// Up to `len` bytes of a file as they are on the disk, not as the kernel remembers them, as far as the file system can tell one from
    /// the other. Fewer than asked for mean the end of the file. Both numbers are multiples of a block.
    fn read_from_disk(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>>;
}

/// One open file.
pub trait DiskFile: fmt::Debug + Send + Sync + 'static {
    /// Fills `buf` from `offset` on; fewer bytes than asked for mean the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// As [`DiskFile::read_at`] without ever waiting for the disk: `WouldBlock` where it would have to.
    fn read_cached_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes some of `buf`, as `pwrite(2)`: see [`write_all_at`].
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize>;
    /// Makes a hole, without changing the file's length.
    fn punch(&self, offset: u64, len: u64) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Bytes.
    fn length(&self) -> io::Result<u64>;
    /// Bytes and length are on stable storage when this returns.
    fn sync_data(&self) -> io::Result<()>;
    /// After [`Disk::sync_all`]: fails where bytes of this file could not be written, and nobody has been told.
    fn check_written(&self) -> io::Result<()>;
    /// `(offset, length)` of what is not a hole, ascending. May name zeros as data, never data as a hole.
    fn data_ranges(&self) -> io::Result<Vec<(u64, u64)>>;
}

/// A write that stopped on the way.
#[derive(Debug)]
pub struct PartialWrite {
    /// Bytes that went in before.
    pub written: usize,
    pub error: io::Error,
}

/// Writes all of `buf`.
pub fn write_all_at(file: &dyn DiskFile, buf: &[u8], offset: u64) -> Result<(), PartialWrite> {
    let mut written = 0;
    while written < buf.len() {
        match file.write_at(&buf[written..], offset + written as u64) {
            Ok(0) => return Err(PartialWrite { written, error: io::ErrorKind::WriteZero.into() }),
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(PartialWrite { written, error }),
        }
    }
    Ok(())
}

/// Whether an error says that the disk does not give back what was written to it.
pub fn is_rot(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EBADMSG | libc::EUCLEAN | libc::EILSEQ))
}

/// Whether an error says that there is no room.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
