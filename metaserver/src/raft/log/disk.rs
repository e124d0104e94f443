//! The system calls by which log bytes become durable, behind a trait so that tests can make them fail.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

/// Writes, space and syncs.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Writes all of `bytes` at `offset`. On an error any part of them may have been written.
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes sure that the first `len` bytes of the file have space, and extends the file to `len`.
    fn allocate(&self, file: &File, len: u64) -> io::Result<()>;

    /// `fdatasync`.
    fn sync(&self, file: &File) -> io::Result<()>;
}

/// The real thing.
#[derive(Debug, Default, Clone, Copy)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn allocate(&self, file: &File, len: u64) -> io::Result<()> {
        match fallocate(file, FallocateFlags::empty(), 0, len as i64) {
            // A filesystem that cannot reserve space just has slower syncs, and may run full in the middle of a segment.
            Ok(()) | Err(Errno::EOPNOTSUPP) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}
