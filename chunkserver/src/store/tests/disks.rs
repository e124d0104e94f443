//! Several disks in one store: where chunks go, what becomes of a disk that fails, and which of two copies counts.

use cairn_proto::chunkserver::ChunkState;
use cairn_proto::cluster::ChunkChange;
use cairn_proto::disk::DiskState;
use cairn_proto::ids::DiskNumber;

use super::super::disk::sim::Faults;
use super::*;

const FIRST: DiskNumber = DiskNumber(0);
const SECOND: DiskNumber = DiskNumber(1);

/// A store on two disks, and those.
struct Two {
    disks: [SimDisk; 2],
    store: Store,
    report: LoadReport,
}

fn layout(n: usize) -> Layout {
    Layout::new(Path::new(&format!("/d{n}")))
}

impl Two {
    fn new() -> Self {
        Self::on([SimDisk::new(1), SimDisk::new(2)], [0, 0])
    }

    fn on(disks: [SimDisk; 2], generations: [u32; 2]) -> Self {
        let place = |n: usize| {
            disks[n].put(&layout(n).identity(), b"whoever's");
            Place { generation: generations[n], ..Place::only(Arc::new(disks[n].clone()), layout(n)) }
        };
        let places = vec![place(0), place(1)];
        let limits = StoreLimits { reserve_bytes: 1 << 20, open_chunks: NonZeroUsize::new(4).unwrap() };
        let (store, report) = Store::open(places, ServerId::random(), Some(CLUSTER), limits).unwrap();
        store.join(CLUSTER, ChunkHandle(0));
        Self { disks, store, report }
    }

    fn restart(self, generations: [u32; 2]) -> Self {
        Self::on(self.disks, generations)
    }

    async fn write(&self, id: ChunkId, data: &[u8]) -> Result<(), ChunkError> {
        let range = self.store.lock(id.handle, blocks_of(0, data.len())).await;
        self.store.write(&range, id, piece(0, data)).await
    }

    async fn read(&self, id: ChunkId) -> Result<Vec<u8>, ChunkError> {
        let request =
            ReadRequest { handle: id.handle, at_least: ChunkVersion::FIRST, offset: 0, len: CHUNK_SIZE as u32 };
        self.store.read(request).await.map(|reply| reply.data.to_vec())
    }

    fn disk_of(&self, id: ChunkId) -> DiskNumber {
        self.store.stat(id.handle).unwrap().disk
    }

    /// Writes and syncs chunks 1 to `count`, so that there are some on each disk. Answers those on the first and on the second.
    async fn fill(&self, count: u64) -> [Vec<ChunkId>; 2] {
        let mut on = [Vec::new(), Vec::new()];
        for n in 1..=count {
            let id = chunk(n);
            self.write(id, &pattern(n, BLOCK)).await.unwrap();
            self.store.sync(id).await.unwrap();
            on[usize::from(self.disk_of(id).0)].push(id);
        }
        assert!(on.iter().all(|ids| ids.len() > 1), "{on:?}");
        on
    }

    fn set(&self, disk: DiskNumber, faults: Faults) {
        self.disks[usize::from(disk.0)].set_faults(faults);
    }

    /// As the worker does it.
    fn watch(&self, disk: DiskNumber) -> Result<(), String> {
        let tried = self.store.try_disk(disk, 7);
        if let Err(why) = &tried {
            self.store.take_out(disk, why);
        }
        tried
    }
}

fn broken() -> Faults {
    Faults { broken: true, ..Faults::default() }
}

#[tokio::test]
async fn chunks_are_on_both_disks_and_found_again() {
    let two = Two::new();
    let on = two.fill(40).await;
    for (disk, ids) in on.iter().enumerate() {
        assert!(ids.len() > 4, "{on:?}");
        ids.iter().for_each(|id| assert!(two.disks[disk].contents(&layout(disk).chunk(id.handle)).is_some()));
    }
    let two = two.restart([0, 0]);
    assert_eq!((two.report.dirty, two.report.superseded), (40, 0));
    for id in on.concat() {
        assert_eq!(two.read(id).await.unwrap(), pattern(id.handle.0, BLOCK));
    }
    let statuses = two.store.disks();
    assert_eq!(statuses.iter().map(|disk| disk.chunks).sum::<u64>(), 40);
    assert!(statuses.iter().all(|disk| disk.state == DiskState::Ok && disk.errors == 0), "{statuses:?}");
}

#[tokio::test]
async fn a_disk_that_fails_its_probe_goes_and_the_other_one_goes_on() {
    let two = Two::new();
    let [lost, kept] = two.fill(20).await;
    let feed = two.store.subscribe();
    two.watch(FIRST).unwrap();
    two.watch(SECOND).unwrap();
    assert_eq!(two.store.take_changes(&feed, 100), []);
    two.set(FIRST, broken());
    assert!(two.watch(FIRST).unwrap_err().contains("probe file"));
    two.watch(SECOND).unwrap();

    let mut told = two.store.take_changes(&feed, 100);
    told.sort_by_key(|change| format!("{change:?}"));
    let mut removed: Vec<_> = lost.iter().map(|id| ChunkChange::Removed(id.handle)).collect();
    removed.sort_by_key(|change| format!("{change:?}"));
    assert_eq!(told, removed);
    for id in &lost {
        let gone = ChunkError::NotFound(id.handle);
        assert_eq!(two.read(*id).await, Err(gone.clone()));
        // Open it was, too: nothing is acknowledged of it, nor begun anew.
        assert_eq!(two.write(*id, b"late").await, Err(gone.clone()));
        assert_eq!(two.store.sync(*id).await, Err(gone));
    }
    for id in &kept {
        assert_eq!(two.read(*id).await.unwrap(), pattern(id.handle.0, BLOCK));
    }
    for n in 100..120 {
        two.write(chunk(n), b"new").await.unwrap();
        assert_eq!(two.disk_of(chunk(n)), SECOND);
    }
    let statuses = two.store.disks();
    assert_eq!((statuses[0].state, statuses[0].chunks), (DiskState::Failed, 0));
    assert!(statuses[0].errors > 0 && statuses[0].why.is_some(), "{statuses:?}");
    assert_eq!((statuses[1].state, statuses[1].errors), (DiskState::Ok, 0));
    // It works again: that comes too late.
    two.set(FIRST, Faults::default());
    assert!(!two.store.works(FIRST));
    assert!(two.read(lost[0]).await.is_err());
}

#[tokio::test]
async fn errors_of_many_files_are_enough_and_those_of_one_are_not() {
    let two = Two::new();
    let on = two.fill(60).await;
    two.set(FIRST, Faults { syncs_fail: true, ..Faults::default() });
    for _ in 0..20 {
        two.write(on[0][0], b"one").await.unwrap_or_default();
        assert!(two.store.sync(on[0][0]).await.is_err());
    }
    assert!(two.store.works(FIRST));
    for id in &on[0] {
        two.write(*id, b"more").await.unwrap_or_default();
        let _ = two.store.sync(*id).await;
    }
    assert!(!two.store.works(FIRST) && two.store.works(SECOND));
    // Even before the worker has come to take it out, nothing is acknowledged from it.
    assert!(two.write(on[0][1], b"late").await.is_err());
}

#[tokio::test]
async fn what_was_lost_with_a_disk_can_be_copied_to_another_one() {
    let two = Two::new();
    let [lost, _] = two.fill(20).await;
    two.set(FIRST, broken());
    two.watch(FIRST).unwrap_err();
    let newer = at_version(lost[0], 2);
    let incoming = two.store.receive(newer).await.unwrap();
    let bytes = pattern(99, BLOCK);
    incoming.put(0, vec![cairn_proto::chunk::BlockSum::of(&bytes)], bytes.clone().into()).await.unwrap();
    let stat = incoming.install(&two.store, BLOCK as u32).await.unwrap();
    assert_eq!((stat.disk, stat.id, stat.state), (SECOND, newer, ChunkState::Clean));
    assert_eq!(two.read(newer).await.unwrap(), bytes);

    // The disk comes back, with the old copy of it: the one that was in use counts, and the other one goes.
    two.set(FIRST, Faults::default());
    let two = two.restart([0, 1]);
    assert_eq!(two.report.superseded, 1);
    assert_eq!((two.disk_of(newer), two.read(newer).await.unwrap()), (SECOND, bytes));
    assert_eq!(two.disks[0].contents(&layout(0).chunk(newer.handle)), None);
    assert_eq!(two.store.chunk_count(), 20);
}

/// The generation says more than the version: what was out of use while the other was made may be of any version.
#[tokio::test]
async fn of_two_copies_the_one_counts_whose_disk_was_in_use() {
    for (generations, counts) in [([1, 0], FIRST), ([0, 1], SECOND), ([3, 3], SECOND)] {
        let two = Two::new();
        let [first, _] = two.fill(20).await;
        let id = first[0];
        two.store.fence(id.handle, ChunkVersion(2)).await.unwrap();
        let bytes = two.disks[0].contents(&layout(0).chunk(id.handle)).unwrap();
        two.store.fence(id.handle, ChunkVersion(3)).await.unwrap();
        let newer = two.disks[0].contents(&layout(0).chunk(id.handle)).unwrap();
        two.disks[0].put(&layout(0).chunk(id.handle), &bytes);
        two.disks[1].put(&layout(1).chunk(id.handle), &newer);
        let two = two.restart(generations);
        assert_eq!((two.disk_of(id), two.report.superseded), (counts, 1), "{generations:?}");
    }
}

#[tokio::test]
async fn a_disk_that_cannot_be_read_at_the_start_is_left_out_and_a_store_without_any_does_not_open() {
    let two = Two::new();
    let [lost, kept] = two.fill(20).await;
    two.set(FIRST, broken());
    let two = two.restart([0, 0]);
    assert_eq!(two.store.disks()[0].state, DiskState::Failed);
    assert_eq!(two.store.chunk_count(), kept.len());
    assert_eq!(two.read(lost[0]).await, Err(ChunkError::NotFound(lost[0].handle)));
    assert_eq!(two.read(kept[0]).await.unwrap(), pattern(kept[0].handle.0, BLOCK));
    two.set(SECOND, broken());
    let places = (0..2).map(|n| Place::only(Arc::new(two.disks[n].clone()), layout(n))).collect();
    let limits = StoreLimits { reserve_bytes: 0, open_chunks: NonZeroUsize::MIN };
    assert!(Store::open(places, ServerId::random(), Some(CLUSTER), limits).is_err());
}

#[tokio::test]
async fn a_full_disk_gets_no_new_chunk_and_what_is_on_it_can_be_read() {
    let two = Two::new();
    let [on_first, _] = two.fill(20).await;
    two.set(FIRST, Faults { free: Some(2 << 20), ..Faults::default() });
    for n in 100..130 {
        two.write(chunk(n), &pattern(n, BLOCK)).await.unwrap();
        assert_eq!(two.disk_of(chunk(n)), SECOND);
    }
    assert_eq!(two.store.disks()[0].state, DiskState::Full);
    assert_eq!(two.read(on_first[0]).await.unwrap(), pattern(on_first[0].handle.0, BLOCK));
}

#[tokio::test]
async fn many_are_handed_back_on_each_disk_with_one_sync_of_it() {
    let two = Two::new();
    let on = two.fill(60).await;
    let before: Vec<u64> = two.disks.iter().map(SimDisk::whole_syncs).collect();
    let done = two.store.hand_back_many(on.concat()).await;
    assert!(done.iter().all(|stat| stat.as_ref().is_ok_and(|stat| stat.state == ChunkState::Clean)));
    for (disk, before) in two.disks.iter().zip(before) {
        assert_eq!(disk.whole_syncs(), before + 1);
    }
}

/// Who has a file open on a disk that is not mounted any more may go on writing to it; the directory is not that disk's.
#[test]
fn a_disk_that_is_not_mounted_any_more_has_failed() {
    let two = Two::new();
    two.watch(FIRST).unwrap();
    two.disks[0].remove(&layout(0).probe()).unwrap();
    two.watch(FIRST).unwrap();
    two.disks[0].remove(&layout(0).probe()).unwrap();
    two.disks[0].remove(&layout(0).identity()).unwrap();
    assert!(two.watch(FIRST).unwrap_err().contains("not mounted"));
}
