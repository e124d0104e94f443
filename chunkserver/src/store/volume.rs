//! One disk of the server: a data directory with its chunks, its space and its health.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use cairn_proto::chunk::CHUNK_SIZE;
use cairn_proto::error::ChunkError;
use cairn_proto::ids::{ChunkHandle, DiskId, DiskNumber};
use parking_lot::Mutex;

use super::disk::{Capacity, Disk, Watched};
use super::health::Health;
use super::layout::Layout;
use super::names::Directory;
use super::shared::disk_error;
use super::space::SpaceGauge;

/// What a store is opened on.
#[derive(Debug)]
pub struct Place {
    pub disk: Arc<dyn Disk>,
    pub id: DiskId,
    pub layout: Layout,
    /// Of two copies of a chunk on two disks, the one on the disk with the higher number counts: the other was out of use meanwhile.
    pub generation: u32,
    /// Why it is not used.
    pub failed: Option<String>,
}

#[cfg(test)]
impl Place {
    /// The only disk of a server.
    pub fn only(disk: Arc<dyn Disk>, layout: Layout) -> Self {
        Self { disk, id: DiskId::random(), layout, generation: 0, failed: None }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Volume {
    pub number: DiskNumber,
    pub id: DiskId,
    pub layout: Layout,
    pub disk: Arc<dyn Disk>,
    pub health: Arc<Health>,
    pub generation: u32,
    /// Which device it is on: two directories on one share its space.
    pub device: Option<u64>,
    space: SpaceGauge,
    /// Directories that are known to exist, so that they are made once.
    dirs: Mutex<HashMap<PathBuf, Arc<Directory>>>,
}

impl Volume {
    pub fn new(number: DiskNumber, place: Place, reserve_bytes: u64) -> Self {
        let Place { disk, id, layout, generation, failed } = place;
        let health = Arc::<Health>::default();
        let device = if failed.is_none() { disk.device(layout.root()) } else { None };
        if let Some(why) = failed {
            health.fail(&why);
        }
        let disk: Arc<dyn Disk> = Arc::new(Watched::new(disk, health.clone()));
        let space = SpaceGauge::new(disk.clone(), layout.root().to_owned(), reserve_bytes);
        Self { number, id, layout, disk, health, generation, device, space, dirs: Mutex::default() }
    }

    pub fn works(&self) -> bool {
        !self.health.has_failed()
    }

    /// The directory of a chunk's files, made where it is missing.
    pub fn make_dir(&self, handle: ChunkHandle) -> io::Result<Arc<Directory>> {
        let path = self.layout.dir(handle);
        if let Some(directory) = self.dirs.lock().get(&path) {
            return Ok(directory.clone());
        }
        self.disk.create_dir(&path)?;
        Ok(self.dirs.lock().entry(path.clone()).or_insert_with(|| Arc::new(Directory::new(path))).clone())
    }

    /// Turns down what there is no room for.
    pub fn admit(&self, bytes: u64) -> Result<(), ChunkError> {
        match self.space.admits(bytes) {
            Ok(true) => Ok(()),
            Ok(false) => Err(ChunkError::NoSpace),
            Err(error) => Err(disk_error("ask for free space", None, &error)),
        }
    }

    /// With the reserve taken off what is free.
    pub fn capacity(&self) -> io::Result<Capacity> {
        self.space.capacity()
    }

    /// Whether so many free bytes are too few for another chunk.
    pub fn is_full(free: u64) -> bool {
        free < CHUNK_SIZE
    }
}
