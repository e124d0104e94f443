//! The first pages of a file, mapped.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::libc;

/// Shared: what others do to the file is seen through it.
#[derive(Debug)]
pub struct Mapping {
    at: NonNull<u8>,
    len: usize,
}

// SAFETY: it is memory, to which no thread has more right than another; accesses are volatile or made by the kernel.
unsafe impl Send for Mapping {}

impl Mapping {
    /// `file` has to be open for reading and writing.
    pub fn new(file: &File, len: usize) -> io::Result<Self> {
        Self::with(file, len, libc::PROT_READ | libc::PROT_WRITE)
    }

    /// Without the right to store.
    pub fn to_read(file: &File, len: usize) -> io::Result<Self> {
        Self::with(file, len, libc::PROT_READ)
    }

    fn with(file: &File, len: usize, protection: i32) -> io::Result<Self> {
        // SAFETY: a new mapping at an address that the kernel chooses.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let at = NonNull::new(at.cast()).ok_or(io::ErrorKind::Other)?;
        Ok(Self { at, len })
    }

    /// A byte, by a load. Where there is no page, that is SIGBUS.
    pub fn load(&self, offset: usize) -> u8 {
        assert!(offset < self.len, "{offset} is outside of the mapping");
        // SAFETY: it is inside of the mapping.
        unsafe { self.at.add(offset).read_volatile() }
    }

    /// Changes a byte, by a store. Without the right to, that is SIGSEGV.
    pub fn store(&self, offset: usize, byte: u8) {
        assert!(offset < self.len, "{offset} is outside of the mapping");
        // SAFETY: it is inside of the mapping.
        unsafe { self.at.add(offset).write_volatile(byte) }
    }

    /// `msync(MS_SYNC)`.
    pub fn sync(&self) -> io::Result<()> {
        // SAFETY: it is the whole mapping.
        let result = unsafe { libc::msync(self.at.as_ptr().cast(), self.len, libc::MS_SYNC) };
        Errno::result(result).map(drop).map_err(io::Error::from)
    }

    /// All of it, copied by the kernel: where there is no page or it cannot be had, that is `EFAULT` and no signal.
    pub fn copy(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0u8; self.len];
        let to = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: self.len };
        let from = libc::iovec { iov_base: self.at.as_ptr().cast(), iov_len: self.len };
        // SAFETY: `bytes` is as long as said; what is read is memory of this process, or the call fails.
        let n = unsafe { libc::process_vm_readv(libc::getpid(), &raw const to, 1, &raw const from, 1, 0) };
        let n = Errno::result(n)? as usize;
        if n == self.len { Ok(bytes) } else { Err(io::Error::from_raw_os_error(libc::EFAULT)) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it is the whole mapping, and nobody has a pointer into it.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.len) };
    }
}
