//! A disk whose errors are counted, and that does nothing any more once it has failed: what was open on it fails like everything else, so that
//! nothing is acknowledged from it that others are told is lost.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Capacity, Disk, DiskFile, OpenMode};
use crate::store::health::Health;

/// See the module.
#[derive(Debug)]
pub struct Watched {
    disk: Arc<dyn Disk>,
    health: Arc<Health>,
}

#[derive(Debug)]
struct WatchedFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    health: Arc<Health>,
}

impl Watched {
    pub fn new(disk: Arc<dyn Disk>, health: Arc<Health>) -> Self {
        Self { disk, health }
    }
}

/// Does `call` unless the disk has failed, and notes what came of it.
fn watch<T>(health: &Health, path: &Path, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if health.has_failed() {
        return Err(io::Error::from_raw_os_error(libc::EIO));
    }
    let result = call().inspect_err(|error| health.note(path, error));
    // It may have taken long, and who waits for it must not believe that it counts.
    if health.has_failed() { result.and(Err(io::Error::from_raw_os_error(libc::EIO))) } else { result }
}

impl Disk for Watched {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let file = watch(&self.health, path, || self.disk.open(path, mode))?;
        Ok(Box::new(WatchedFile { file, path: path.to_owned(), health: self.health.clone() }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        watch(&self.health, path, || self.disk.remove(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        watch(&self.health, to, || self.disk.rename(from, to))
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        watch(&self.health, dir, || self.disk.create_dir(dir))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        watch(&self.health, dir, || self.disk.list(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        watch(&self.health, dir, || self.disk.sync_dir(dir))
    }

    fn sync_all(&self, dir: &Path) -> io::Result<()> {
        watch(&self.health, dir, || self.disk.sync_all(dir))
    }

    fn capacity(&self, dir: &Path) -> io::Result<Capacity> {
        watch(&self.health, dir, || self.disk.capacity(dir))
    }

    fn device(&self, dir: &Path) -> Option<u64> {
        self.disk.device(dir)
    }

    fn read_from_disk(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        watch(&self.health, path, || self.disk.read_from_disk(path, offset, len))
    }
}

impl WatchedFile {
    fn watch<T>(&self, call: impl FnOnce(&dyn DiskFile) -> io::Result<T>) -> io::Result<T> {
        watch(&self.health, &self.path, || call(&*self.file))
    }
}

impl DiskFile for WatchedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.watch(|file| file.read_at(buf, offset))
    }

    fn read_cached_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.watch(|file| file.read_cached_at(buf, offset))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.watch(|file| file.write_at(buf, offset))
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.watch(|file| file.punch(offset, len))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.watch(|file| file.set_len(len))
    }

    fn length(&self) -> io::Result<u64> {
        self.watch(|file| file.length())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.watch(|file| file.sync_data())
    }

    fn check_written(&self) -> io::Result<()> {
        self.watch(|file| file.check_written())
    }

    fn data_ranges(&self) -> io::Result<Vec<(u64, u64)>> {
        self.watch(|file| file.data_ranges())
    }
}
