//! The disks of the server: which of them a new chunk goes to, and how much room there is on all.

use std::collections::HashSet;
use std::sync::Arc;

use cairn_proto::cluster::Space;
use cairn_proto::disk::{DiskState, DiskStatus};
use cairn_proto::error::ChunkError;
use cairn_proto::ids::DiskNumber;
use rand::Rng;
use rand::seq::IndexedRandom;

use super::disk::Capacity;
use super::index::{Index, Use};
use super::volume::Volume;

/// By their numbers.
#[derive(Debug)]
pub struct Volumes(Vec<Arc<Volume>>);

/// Free bytes of a disk that works.
type Free<'a> = (&'a Arc<Volume>, u64);

impl Volumes {
    pub fn new(volumes: Vec<Volume>) -> Self {
        Self(volumes.into_iter().map(Arc::new).collect())
    }

    pub fn all(&self) -> &[Arc<Volume>] {
        &self.0
    }

    pub fn get(&self, number: DiskNumber) -> Option<&Arc<Volume>> {
        self.0.get(usize::from(number.0))
    }

    fn working(&self) -> Vec<&Arc<Volume>> {
        self.0.iter().filter(|volume| volume.works()).collect()
    }

    /// A disk for a new chunk, or a new copy.
    pub fn choose(&self) -> Result<Arc<Volume>, ChunkError> {
        self.choose_by(&mut rand::rng())
    }

    /// Of two disks the one with more room; so they fill up alike, and not all that is new goes to the emptiest one. A disk without room for a
    /// chunk is taken only where all are such.
    fn choose_by(&self, rng: &mut impl Rng) -> Result<Arc<Volume>, ChunkError> {
        let working = self.working();
        if let [one] = working.as_slice() {
            return Ok((*one).clone());
        }
        let free = |volume: &&'_ Arc<Volume>| volume.capacity().map_or(0, |capacity| capacity.free);
        let two: Vec<Free> = working.choose_multiple(rng, 2).map(|volume| (*volume, free(volume))).collect();
        if let Some(best) = emptiest(&two)
            && !Volume::is_full(best.1)
        {
            return Ok(best.0.clone());
        }
        let all: Vec<Free> = working.iter().map(|volume| (*volume, free(volume))).collect();
        let roomy: Vec<Free> = all.iter().filter(|(_, free)| !Volume::is_full(*free)).copied().collect();
        match roomy.choose(rng).copied().or_else(|| emptiest(&all)) {
            Some((volume, _)) => Ok(volume.clone()),
            None => Err(ChunkError::Disk("no disk of this server works any more".into())),
        }
    }

    /// Of all disks that work. What is free on disks that are too full for a chunk does not count where there are others: no chunk fits there.
    pub fn space(&self, index: &Index) -> Space {
        let (mut devices, mut all, mut used) = (HashSet::new(), Vec::new(), 0);
        for volume in self.working() {
            let Ok(capacity) = volume.capacity() else { continue };
            used += index.used_on(volume.number).bytes;
            // What is on one device is counted once.
            if volume.device.is_none_or(|device| devices.insert(device)) {
                all.push(capacity);
            }
        }
        let total = all.iter().map(|capacity| capacity.total).sum();
        let roomy: u64 = all.iter().map(|capacity| capacity.free).filter(|free| !Volume::is_full(*free)).sum();
        let free = if roomy > 0 { roomy } else { all.iter().map(|capacity| capacity.free).sum() };
        Space { total, free, used }
    }

    pub fn statuses(&self, index: &Index) -> Vec<DiskStatus> {
        let status = |volume: &Arc<Volume>| {
            let Use { chunks, bytes: used } = index.used_on(volume.number);
            let (why, errors) = (volume.health.why(), volume.health.errors());
            let (disk, path) = (volume.id, volume.layout.root().display().to_string());
            let capacity = if volume.works() { volume.capacity().ok() } else { None };
            let space = capacity.map_or_else(Space::default, |Capacity { total, free }| Space { total, free, used });
            let state = match capacity {
                _ if !volume.works() => DiskState::Failed,
                Some(capacity) if Volume::is_full(capacity.free) => DiskState::Full,
                _ => DiskState::Ok,
            };
            DiskStatus { disk, path, state, space, chunks: chunks as u64, errors, why }
        };
        self.0.iter().map(status).collect()
    }
}

fn emptiest<'a>(volumes: &[Free<'a>]) -> Option<Free<'a>> {
    volumes.iter().max_by_key(|(_, free)| *free).copied()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cairn_proto::chunk::CHUNK_SIZE;
    use cairn_proto::ids::DiskId;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::super::disk::sim::{Faults, SimDisk};
    use super::super::layout::Layout;
    use super::super::volume::Place;
    use super::*;

    /// Disks with so many free chunks each, and a reserve of one.
    fn volumes(free: &[u64]) -> (Volumes, Vec<SimDisk>) {
        let disks: Vec<SimDisk> = free.iter().map(|_| SimDisk::new(1)).collect();
        let volume = |(n, disk): (usize, &SimDisk)| {
            disk.set_faults(Faults { free: Some((free[n] + 1) * CHUNK_SIZE), ..Faults::default() });
            let layout = Layout::new(Path::new(&format!("/d{n}")));
            let place =
                Place { disk: Arc::new(disk.clone()), id: DiskId::random(), layout, generation: 0, failed: None };
            Volume::new(DiskNumber(n as u8), place, CHUNK_SIZE)
        };
        (Volumes::new(disks.iter().enumerate().map(volume).collect()), disks)
    }

    /// How many of a thousand new chunks go to each.
    fn chosen(volumes: &Volumes) -> Vec<usize> {
        let mut rng = StdRng::seed_from_u64(1);
        let mut counts = vec![0; volumes.all().len()];
        for _ in 0..1000 {
            counts[usize::from(volumes.choose_by(&mut rng).unwrap().number.0)] += 1;
        }
        counts
    }

    #[test]
    fn emptier_disks_get_more_and_full_ones_nothing() {
        let (all, _) = volumes(&[10, 20, 30, 0]);
        let counts = chosen(&all);
        assert!(counts[0] > 50 && counts[1] > counts[0] && counts[2] > counts[1] && counts[3] == 0, "{counts:?}");
        assert_eq!(chosen(&volumes(&[0, 0, 0, 3]).0), [0, 0, 0, 1000]);
    }

    #[test]
    fn failed_ones_are_passed_over_and_with_none_there_is_an_error() {
        let (all, _) = volumes(&[10, 20]);
        all.all()[1].health.fail("broken");
        assert_eq!(chosen(&all), [1000, 0]);
        all.all()[0].health.fail("broken, too");
        assert!(all.choose().unwrap_err().to_string().contains("no disk"));
        assert_eq!(all.space(&Index::default()), Space::default());
    }

    #[test]
    fn space_is_that_of_all_that_work_and_have_room_for_a_chunk() {
        let (all, disks) = volumes(&[10, 20]);
        let free = || all.space(&Index::default()).free / CHUNK_SIZE;
        assert_eq!(free(), 30);
        let states = || all.statuses(&Index::default()).iter().map(|disk| disk.state).collect::<Vec<_>>();
        assert_eq!(states(), [DiskState::Ok, DiskState::Ok]);
        let left = |bytes| Faults { free: Some(CHUNK_SIZE + bytes), ..Faults::default() };
        disks[0].set_faults(left(CHUNK_SIZE - 1));
        assert_eq!(free(), 20);
        assert_eq!(states(), [DiskState::Full, DiskState::Ok]);
        disks[1].set_faults(left(5));
        assert_eq!(all.space(&Index::default()).free, CHUNK_SIZE + 4, "where all are full, what there is counts");
        all.all()[0].health.fail("broken");
        assert_eq!(all.space(&Index::default()).free, 5);
        assert_eq!(states(), [DiskState::Failed, DiskState::Full]);
    }
}
