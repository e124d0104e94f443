//! How much room there is, and when to say that there is none.
//!
//! A disk that is really full cannot even store a new sum. So a reserve is kept: writes are turned down while there is still
//! room for headers, for the identity file, and for the operator's tools.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use cairn_proto::cluster::Space;

use super::disk::{Capacity, Disk};

/// Watches the file system that the store is on.
#[derive(Debug)]
pub struct SpaceGauge {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    /// Bytes that chunks never get.
    reserve: u64,
}

impl SpaceGauge {
    pub fn new(disk: Arc<dyn Disk>, root: PathBuf, reserve: u64) -> Self {
        Self { disk, root, reserve }
    }

    /// Whether `bytes` more may be written. Asked of the file system each time: others use it, too, and it answers within
    /// a microsecond. What is being written meanwhile is not counted; the reserve has room for that.
    pub fn admits(&self, bytes: u64) -> io::Result<bool> {
        Ok(bytes == 0 || self.free()? >= bytes)
    }

    /// For reports. `used` are the bytes in chunks.
    pub fn space(&self, used: u64) -> io::Result<Space> {
        let Capacity { total, .. } = self.disk.capacity(&self.root)?;
        Ok(Space { total, free: self.free()?, used })
    }

    fn free(&self) -> io::Result<u64> {
        Ok(self.disk.capacity(&self.root)?.free.saturating_sub(self.reserve))
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::sim::{Faults, SimDisk};
    use super::*;

    #[test]
    fn the_reserve_is_kept() {
        let disk = SimDisk::new(1);
        let free = |bytes| disk.set_faults(Faults { free: Some(bytes), ..Faults::default() });
        let gauge = SpaceGauge::new(Arc::new(disk.clone()), PathBuf::new(), 300);
        free(1000);
        assert!(gauge.admits(700).unwrap());
        assert!(!gauge.admits(701).unwrap());
        free(299);
        assert!(!gauge.admits(1).unwrap());
        assert!(gauge.admits(0).unwrap(), "overwriting needs no room");
        assert_eq!(gauge.space(5).unwrap().free, 0);
    }
}
