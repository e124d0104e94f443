//! Watching the disks: each is tried now and then, and at once after an error; one that has failed is taken out of use.

use std::sync::{Arc, Weak};
use std::time::Duration;

use cairn_proto::ids::DiskNumber;
use cairn_runtime::worker::{WorkError, WorkState, Worker};

use crate::store::Store;
use crate::store::data_dir::DataDirs;

/// Between two tries of a disk that has no errors.
const INTERVAL: Duration = Duration::from_secs(10);
/// Between two tries at least: errors come in swarms.
const SHORTEST: Duration = Duration::from_millis(100);
/// A disk that takes longer to write, sync and read one block has failed, though it has not said so.
const PATIENCE: Duration = Duration::from_secs(60);

/// The worker that watches one disk.
#[derive(Debug)]
pub struct DiskWatch {
    store: Store,
    /// Not a share in them: where the server is gone the directories may be another's.
    data_dirs: Weak<DataDirs>,
    disk: DiskNumber,
    /// It is in use, and was when the server started.
    in_use: bool,
    tries: u64,
}

impl DiskWatch {
    pub fn new(store: Store, data_dirs: &Arc<DataDirs>, disk: DiskNumber) -> Self {
        let (in_use, data_dirs) = (store.works(disk), Arc::downgrade(data_dirs));
        Self { store, data_dirs, disk, in_use, tries: 0 }
    }

    /// Whether the disk can be used.
    async fn try_it(&mut self) -> Result<(), String> {
        self.tries += 1;
        let (store, disk, tries) = (self.store.clone(), self.disk, self.tries);
        let trying = tokio::task::spawn_blocking(move || store.try_disk(disk, tries));
        match tokio::time::timeout(PATIENCE, trying).await {
            Ok(Ok(tried)) => tried,
            Ok(Err(error)) => {
                tracing::error!(%error, "an operation of the store did not come to its end");
                Ok(())
            }
            Err(_) => Err(format!("it has not written, synced and read a block within {} s", PATIENCE.as_secs())),
        }
    }
}

impl Worker for DiskWatch {
    fn name(&self) -> String {
        format!("disk {}", self.disk.0)
    }

    async fn work(&mut self) -> Result<WorkState, WorkError> {
        if !self.in_use || self.data_dirs.strong_count() == 0 {
            return Ok(WorkState::Done);
        }
        let tried = match self.store.works(self.disk) {
            true => self.try_it().await,
            false => Err("there were too many errors".into()),
        };
        let Err(why) = tried else {
            tokio::time::sleep(SHORTEST).await;
            return Ok(WorkState::Wait(INTERVAL));
        };
        let (store, data_dirs, disk) = (self.store.clone(), self.data_dirs.clone(), self.disk);
        let taking_out = tokio::task::spawn_blocking(move || {
            store.take_out(disk, &why);
            if let Some(data_dirs) = data_dirs.upgrade() {
                data_dirs.gone(usize::from(disk.0));
            }
        });
        taking_out.await?;
        self.in_use = false;
        Ok(WorkState::Done)
    }

    async fn wait(&mut self) {
        self.store.disk_error(self.disk).await;
    }
}

#[cfg(test)]
mod tests;
