//! Which names in a directory are on stable storage.
//!
//! Chunks with neighbouring handles share a directory and are mostly written together. So each directory counts the names that
//! were made in it, and up to which of them it was synced: whoever finds its own among those has nothing to do, and who
//! waits for a sync that came too late for it shares the next one with all who wait.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::disk::Disk;

/// A directory of chunk files.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Chunks whose name was made or found in it.
    entered: AtomicU64,
    /// Those up to this one are durable.
    durable: AtomicU64,
    /// Held by the one who syncs.
    syncing: Mutex<()>,
}

/// The name of one chunk's file.
#[derive(Clone, Debug)]
pub struct Name {
    directory: Arc<Directory>,
    number: u64,
}

impl Directory {
    pub fn new(path: PathBuf) -> Self {
        Self { path, entered: 0.into(), durable: 0.into(), syncing: Mutex::default() }
    }

    /// Counts a name that is there, and may not be durable.
    pub fn enter(self: &Arc<Self>) -> Name {
        Name { directory: self.clone(), number: self.entered.fetch_add(1, Ordering::AcqRel) + 1 }
    }
}

impl Name {
    pub fn is_durable(&self) -> bool {
        self.directory.durable.load(Ordering::Acquire) >= self.number
    }

    /// Makes the name durable. After a failed sync everyone who waited tries by himself, and hears of it himself.
    pub fn sync(&self, disk: &dyn Disk) -> io::Result<()> {
        let _syncing = self.directory.syncing.lock();
        if self.is_durable() {
            return Ok(());
        }
        // Names that are entered from here on may miss the sync.
        let entered = self.directory.entered.load(Ordering::Acquire);
        disk.sync_dir(&self.directory.path)?;
        self.directory.durable.store(entered, Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::sim::{Faults, SimDisk};
    use super::*;

    #[test]
    fn one_sync_serves_all_who_came_before_it() {
        let disk = SimDisk::new(1);
        let directory = Arc::new(Directory::new("/d".into()));
        let [first, second] = [directory.enter(), directory.enter()];
        second.sync(&disk).unwrap();
        first.sync(&disk).unwrap();
        assert!(first.is_durable() && second.is_durable());
        assert_eq!(disk.dir_syncs(), 1);
        let third = directory.enter();
        assert!(!third.is_durable());
        third.sync(&disk).unwrap();
        assert_eq!(disk.dir_syncs(), 2);
    }

    #[test]
    fn a_failed_sync_serves_nobody() {
        let disk = SimDisk::new(1);
        let directory = Arc::new(Directory::new("/d".into()));
        let names = directory.enter();
        disk.set_faults(Faults { dies_after: Some(0), ..Faults::default() });
        assert!(names.sync(&disk).is_err() && names.sync(&disk).is_err());
        assert!(!names.is_durable());
        disk.set_faults(Faults::default());
        names.sync(&disk).unwrap();
        assert!(names.is_durable());
    }
}
