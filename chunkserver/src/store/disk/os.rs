//! Files of the operating system.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cairn_runtime::crashsafe;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek, syncfs};

use super::{Capacity, Disk, DiskFile, OpenMode};

/// Where the memory of a direct read has to begin, at most: a page.
const DIRECT_ALIGNMENT: usize = 4096;

/// The real thing.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        match mode {
            OpenMode::Existing => {}
            OpenMode::New => drop(options.create_new(true)),
            OpenMode::Any => drop(options.create(true).truncate(false)),
        }
        Ok(Box::new(OsFile(options.open(path)?)))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        crashsafe::rename_durable(from, to)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        crashsafe::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        match std::fs::read_dir(dir) {
            Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        crashsafe::sync_dir(dir)
    }

    fn sync_all(&self, dir: &Path) -> io::Result<()> {
        let dir = File::open(dir)?;
        syncfs(&dir)?;
        // Kernels before 5.17 do not say there that the file system has given up; here they do.
        dir.sync_all()
    }

    fn capacity(&self, dir: &Path) -> io::Result<Capacity> {
        let stat = nix::sys::statvfs::statvfs(dir)?;
        let unit = stat.fragment_size();
        Ok(Capacity { total: stat.blocks() * unit, free: stat.blocks_available() * unit })
    }

    fn device(&self, dir: &Path) -> Option<u64> {
        std::fs::metadata(dir).ok().map(|metadata| metadata.dev())
    }

    /// With `O_DIRECT`: it also leaves alone what the kernel keeps for those who read by way of it.
    fn read_from_disk(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let direct = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path);
        let read = direct.and_then(|file| read_aligned(&file, offset, len));
        match read {
            // A file system without direct access, or one that wants it aligned otherwise.
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => read_aligned(&File::open(path)?, offset, len),
            read => read,
        }
    }
}

fn read_aligned(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len + DIRECT_ALIGNMENT];
    let start = bytes.as_ptr().align_offset(DIRECT_ALIGNMENT);
    let mut got = 0;
    while got < len {
        match file.read_at(&mut bytes[start + got..start + len], offset + got as u64) {
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        }
        // At the end of the file, behind which a direct read would not be aligned.
        if offset + got as u64 >= file.metadata()?.len() {
            break;
        }
    }
    bytes.copy_within(start..start + got, 0);
    bytes.truncate(got);
    Ok(bytes)
}

#[derive(Debug)]
struct OsFile(File);

impl DiskFile for OsFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut got = 0;
        while got < buf.len() {
            match self.0.read_at(&mut buf[got..], offset + got as u64) {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(got)
    }

    fn read_cached_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let iov = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
        let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: `iov` is one valid vector over `buf`, which is borrowed mutably for the whole call; the descriptor is open.
        let got = unsafe { libc::preadv2(self.0.as_raw_fd(), &raw const iov, 1, offset, libc::RWF_NOWAIT) };
        match Errno::result(got) {
            Ok(got) => Ok(got as usize),
            // Some file systems cannot say; then they may wait.
            Err(Errno::EAGAIN | Errno::EOPNOTSUPP | Errno::EINTR) => Err(io::ErrorKind::WouldBlock.into()),
            Err(e) => Err(e.into()),
        }
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(buf, offset)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        match fallocate(&self.0, flags, offset.cast_signed(), len.cast_signed()) {
            Ok(()) => Ok(()),
            Err(Errno::EOPNOTSUPP) => self.write_zeros(offset, len),
            Err(e) => Err(e.into()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    /// Kernels before 5.8 do not say in `syncfs` that a file could not be written, later ones say it to one caller only. Each
    /// file remembers it by itself, and is asked here without another flush of the disk.
    fn check_written(&self) -> io::Result<()> {
        // SAFETY: nothing but integers is passed, and the descriptor is open.
        let waited = unsafe { libc::sync_file_range(self.0.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WAIT_BEFORE) };
        match Errno::result(waited) {
            Ok(_) => Ok(()),
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::ESPIPE) => self.sync_data(),
            Err(e) => Err(e.into()),
        }
    }

    fn data_ranges(&self) -> io::Result<Vec<(u64, u64)>> {
        let len = self.length()?;
        let mut ranges = Vec::new();
        let mut at = 0;
        while at < len {
            let start = match lseek(&self.0, at.cast_signed(), Whence::SeekData) {
                Ok(start) => start.cast_unsigned(),
                Err(Errno::ENXIO) => break,
                Err(Errno::EINVAL | Errno::EOPNOTSUPP) => return Ok(vec![(0, len)]),
                Err(e) => return Err(e.into()),
            };
            let end = lseek(&self.0, start.cast_signed(), Whence::SeekHole)?.cast_unsigned();
            ranges.push((start, end - start));
            at = end;
        }
        Ok(ranges)
    }
}

impl OsFile {
    /// The hole of a file system that has none.
    fn write_zeros(&self, offset: u64, len: u64) -> io::Result<()> {
        const STEP: usize = 64 << 10;
        let end = (offset + len).min(self.length()?);
        let mut at = offset;
        while at < end {
            let n = STEP.min((end - at) as usize);
            self.0.write_all_at(&[0; STEP][..n], at)?;
            at += n as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::write_all_at;
    use super::*;

    #[test]
    fn holes_are_told_from_data() {
        let dir = tempfile::tempdir().unwrap();
        let file = OsDisk.open(&dir.path().join("f"), OpenMode::New).unwrap();
        write_all_at(&*file, &[1; 8192], 1 << 20).unwrap();
        assert_eq!(file.data_ranges().unwrap(), [(1 << 20, 8192)]);
        file.punch(1 << 20, 4096).unwrap();
        assert_eq!(file.data_ranges().unwrap(), [((1 << 20) + 4096, 4096)]);
        assert_eq!(file.length().unwrap(), (1 << 20) + 8192);
        let mut buf = [9; 5000];
        assert_eq!(file.read_at(&mut buf, 1 << 20).unwrap(), 5000);
        assert!(buf[..4096].iter().all(|b| *b == 0) && buf[4096..].iter().all(|b| *b == 1));
    }

    #[test]
    fn a_file_system_is_synced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = OsDisk.open(&dir.path().join("f"), OpenMode::New).unwrap();
        write_all_at(&*file, &[1; 8192], 0).unwrap();
        OsDisk.sync_all(dir.path()).unwrap();
        file.check_written().unwrap();
        assert!(OsDisk.sync_all(&dir.path().join("none")).is_err());
    }

    #[test]
    fn what_was_just_written_is_cached() {
        let dir = tempfile::tempdir().unwrap();
        let file = OsDisk.open(&dir.path().join("f"), OpenMode::Any).unwrap();
        write_all_at(&*file, &[7; 4096], 0).unwrap();
        let mut buf = [0; 4096];
        match file.read_cached_at(&mut buf, 0) {
            Ok(n) => assert_eq!((n, buf), (4096, [7; 4096])),
            // A file system that cannot say must say so, and nothing else.
            Err(e) => assert_eq!(e.kind(), io::ErrorKind::WouldBlock),
        }
    }

    #[test]
    fn reads_from_the_disk_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = OsDisk.open(&path, OpenMode::New).unwrap();
        let bytes: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        write_all_at(&*file, &bytes, 0).unwrap();
        assert!(OsDisk.read_from_disk(&path, 8192, 65_536).unwrap() == bytes[8192..73_728]);
        assert!(OsDisk.read_from_disk(&path, 65_536, 65_536).unwrap() == bytes[65_536..]);
        assert!(OsDisk.read_from_disk(&path, 98_304, 4096).unwrap() == bytes[98_304..]);
        assert!(OsDisk.read_from_disk(&path, 1 << 20, 4096).unwrap().is_empty());
    }

    #[test]
    fn opening_says_what_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        assert_eq!(OsDisk.open(&path, OpenMode::Existing).unwrap_err().kind(), io::ErrorKind::NotFound);
        OsDisk.open(&path, OpenMode::New).unwrap();
        assert_eq!(OsDisk.open(&path, OpenMode::New).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(OsDisk.list(&dir.path().join("none")).unwrap(), Vec::<PathBuf>::new());
    }
}
