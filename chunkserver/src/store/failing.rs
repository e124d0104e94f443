//! What becomes of a disk that fails: it is tried ([`probe`]), and once it has failed it is taken out of use, with all that is on it.

use cairn_proto::ids::DiskNumber;

use super::Store;
use super::probe::probe;

impl Store {
    /// Numbers of all disks.
    pub fn disk_numbers(&self) -> Vec<DiskNumber> {
        self.shared.volumes.all().iter().map(|volume| volume.number).collect()
    }

    /// Where it is kept how far the scrub is: on each disk that can be used.
    pub fn scrub_files(&self) -> Vec<std::path::PathBuf> {
        self.shared.volumes.all().iter().filter(|v| v.works()).map(|v| v.layout.scrub()).collect()
    }

    /// Whether a disk is used.
    pub fn works(&self, disk: DiskNumber) -> bool {
        self.shared.volumes.get(disk).is_some_and(|volume| volume.works())
    }

    /// Returns when a call to a disk has failed.
    pub async fn disk_error(&self, disk: DiskNumber) {
        match self.shared.volumes.get(disk) {
            Some(volume) => volume.health.noted().await,
            None => std::future::pending().await,
        }
    }

    /// Writes, syncs and reads a file of the disk; blocks. `count` is another number each time.
    pub fn try_disk(&self, disk: DiskNumber, count: u64) -> Result<(), String> {
        match self.shared.volumes.get(disk) {
            Some(volume) => probe(volume, count),
            None => Err("there is no such disk".into()),
        }
    }

    /// From now on a disk is not used: its chunks are not here any more, and the metaservers are told. Nothing is acknowledged from it when this
    /// returns. Why it is so, unless the disk says itself. Answers how many chunks it had.
    pub fn take_out(&self, disk: DiskNumber, why: &str) -> usize {
        let Some(volume) = self.shared.volumes.get(disk) else { return 0 };
        volume.health.fail(why);
        // In this order: what is not in the index may be made anew by a write, unless it is known to be lost.
        if let Some(highest) = self.shared.index.close(disk) {
            self.shared.novel.lost(highest);
        }
        let gone = self.shared.index.remove_all(disk);
        self.shared.damage.forget_all(&gone);
        self.shared.changes.touch_all(&gone);
        self.live.close_on(disk);
        let (path, why) = (volume.layout.root().display(), volume.health.why().unwrap_or_default());
        tracing::error!(
            %path, disk = %volume.id, chunks = gone.len(), why,
            "a disk has failed: its chunks are repaired elsewhere; replace it, and start the chunkserver again"
        );
        gone.len()
    }
}
