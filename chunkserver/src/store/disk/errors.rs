//! A disk that fails while a file stands beside its data directory: `DIR.eio` for `DIR`. Every call answers `EIO` then. For tests with real
//! processes, in builds with faults only ([`cairn_runtime::faults::DISK_ERRORS`]).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Capacity, Disk, DiskFile, OpenMode};

/// See the module.
#[derive(Clone, Debug)]
pub struct DiskErrors {
    disk: Arc<dyn Disk>,
    switch: Switch,
}

#[derive(Clone, Debug)]
struct Switch(PathBuf);

#[derive(Debug)]
struct FailingFile {
    file: Box<dyn DiskFile>,
    switch: Switch,
}

impl DiskErrors {
    /// Of the disk with the data directory `root`.
    pub fn new(disk: Arc<dyn Disk>, root: &Path) -> Self {
        Self { disk, switch: Switch(root.with_extension("eio")) }
    }
}

impl Switch {
    fn check(&self) -> io::Result<()> {
        if self.0.exists() { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
    }
}

impl Disk for DiskErrors {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        self.switch.check()?;
        let file = self.disk.open(path, mode)?;
        Ok(Box::new(FailingFile { file, switch: self.switch.clone() }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.switch.check()?;
        self.disk.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.switch.check()?;
        self.disk.rename(from, to)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.switch.check()?;
        self.disk.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.switch.check()?;
        self.disk.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.switch.check()?;
        self.disk.sync_dir(dir)
    }

    fn sync_all(&self, dir: &Path) -> io::Result<()> {
        self.switch.check()?;
        self.disk.sync_all(dir)
    }

    fn capacity(&self, dir: &Path) -> io::Result<Capacity> {
        self.switch.check()?;
        self.disk.capacity(dir)
    }

    fn device(&self, dir: &Path) -> Option<u64> {
        self.disk.device(dir)
    }

    fn read_from_disk(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.switch.check()?;
        self.disk.read_from_disk(path, offset, len)
    }
}

impl DiskFile for FailingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.switch.check()?;
        self.file.read_at(buf, offset)
    }

    fn read_cached_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.switch.check()?;
        self.file.read_cached_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.switch.check()?;
        self.file.write_at(buf, offset)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.switch.check()?;
        self.file.punch(offset, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.switch.check()?;
        self.file.set_len(len)
    }

    fn length(&self) -> io::Result<u64> {
        self.switch.check()?;
        self.file.length()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.switch.check()?;
        self.file.sync_data()
    }

    fn check_written(&self) -> io::Result<()> {
        self.switch.check()?;
        self.file.check_written()
    }

    fn data_ranges(&self) -> io::Result<Vec<(u64, u64)>> {
        self.switch.check()?;
        self.file.data_ranges()
    }
}

#[cfg(test)]
mod tests {
    use super::super::OsDisk;
    use super::*;

    #[test]
    fn fails_while_the_file_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("data");
        std::fs::create_dir(&root).unwrap();
        let disk = DiskErrors::new(Arc::new(OsDisk), &root);
        let file = disk.open(&root.join("f"), OpenMode::New).unwrap();
        file.write_at(b"bytes", 0).unwrap();
        let switch = dir.path().join("data.eio");
        std::fs::write(&switch, b"").unwrap();
        let errno = |error: io::Error| error.raw_os_error();
        assert_eq!(file.write_at(b"more", 0).map_err(errno), Err(Some(libc::EIO)));
        assert_eq!(disk.list(&root).map_err(errno), Err(Some(libc::EIO)));
        std::fs::remove_file(&switch).unwrap();
        assert_eq!(file.length().unwrap(), 5);
    }
}
