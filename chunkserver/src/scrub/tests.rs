//! The worker over a store, at a time that stands still.

use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::time::UNIX_EPOCH;

use cairn_proto::chunk::{ChunkId, fragment_crcs};
use cairn_proto::cluster::ChunkChange;
use cairn_proto::ids::{ChunkIndex, ChunkVersion, ClusterId, InodeId, ServerId};
use cairn_runtime::clock::ManualClock;
use uuid::Uuid;

use super::*;
use crate::store::disk::OsDisk;
use crate::store::{DATA_OFFSET, Layout, Piece, Place, StoreLimits};

const DAY: Duration = Duration::from_secs(86_400);
const PERIOD: Duration = Duration::from_secs(4 * 3600);
const BLOCK: usize = BLOCK_SIZE;

/// A server's data directory with some chunks, and the time.
struct World {
    dir: tempfile::TempDir,
    store: Store,
    clock: Arc<ManualClock>,
    load: Load,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let clock = Arc::new(ManualClock::new(UNIX_EPOCH + 1000 * DAY));
        Self { dir, store, clock, load: Load::default() }
    }

    fn worker(&self, period: Option<Duration>) -> (ScrubWorker, Scrub) {
        let scrub = Scrub::default();
        let (store, load) = (self.store.clone(), self.load.clone());
        (ScrubWorker::new(store, load, scrub.clone(), period, self.clock.clone()), scrub)
    }

    /// A chunk of `blocks` blocks, written and handed back.
    async fn write(&self, handle: u64, blocks: usize) {
        let id = id(handle);
        let range = self.store.lock(id.handle, 0..blocks as u32).await;
        let data = vec![handle as u8; blocks * BLOCK];
        let piece = Piece { offset: 0, crcs: fragment_crcs(0, &data), data: data.into() };
        self.store.write(&range, id, piece).await.unwrap();
        drop(range);
        self.store.hand_back(id).await.unwrap();
    }

    fn flip(&self, handle: u64, offset: u64) {
        let path = Layout::new(self.dir.path()).chunk(ChunkHandle(handle));
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&[0xee], DATA_OFFSET + offset).unwrap();
    }

    /// Works until a pass has ended, letting the time pass that the worker rests. Answers it.
    async fn pass(&self, worker: &mut ScrubWorker, scrub: &Scrub) -> ScrubbedAll {
        let before = scrub.status().last;
        for _ in 0..10_000 {
            if let WorkState::Wait(rest) = worker.work().await.unwrap() {
                self.clock.advance(rest);
            }
            match scrub.status().last {
                Some(last) if Some(last) != before => return last,
                Some(_) | None => {}
            }
        }
        panic!("the pass does not end: {:?}", scrub.status());
    }
}

fn open(dir: &tempfile::TempDir) -> Store {
    let limits = StoreLimits { reserve_bytes: 0, open_chunks: NonZeroUsize::new(64).unwrap() };
    let cluster = ClusterId(Uuid::from_u128(7));
    let place = Place::only(Arc::new(OsDisk), Layout::new(dir.path()));
    let (store, _) = Store::open(vec![place], ServerId(Uuid::from_u128(1)), Some(cluster), limits).unwrap();
    // Given out once it was there.
    store.join(cluster, ChunkHandle(0));
    store
}

fn id(handle: u64) -> ChunkId {
    ChunkId { handle: ChunkHandle(handle), version: ChunkVersion::FIRST, inode: InodeId(5), index: ChunkIndex(0) }
}

#[tokio::test]
async fn a_pass_fills_its_period_and_finds_what_is_damaged() {
    let world = World::new();
    for handle in 1..=8 {
        world.write(handle, 600).await;
    }
    let feed = world.store.subscribe();
    world.flip(3, 5);
    world.flip(8, 599 * BLOCK as u64);
    let (mut worker, scrub) = world.worker(Some(PERIOD));
    let began = Timestamp::from(world.clock.wall());
    let pass = world.pass(&mut worker, &scrub).await;
    assert_eq!((pass.began, pass.verified, pass.damaged), (began, 8 * 600 * BLOCK as u64, 2));
    let took = pass.ended.saturating_since(pass.began);
    assert!(took > PERIOD * 9 / 10 && took <= PERIOD, "{took:?}");
    let told = world.store.take_changes(&feed, 10);
    let damaged = |handle, block| ChunkChange::Damaged { handle: ChunkHandle(handle), block };
    assert_eq!(told, [damaged(3, 0), damaged(8, 599)]);
    // The next one begins when the period of this one is over, and says the same.
    let next = scrub.status().next;
    assert!(matches!(worker.work().await.unwrap(), WorkState::Wait(_)));
    assert_eq!((scrub.status().pass, next), (None, Some(began.saturating_add(PERIOD))));
    let again = world.pass(&mut worker, &scrub).await;
    assert!(again.began >= began.saturating_add(PERIOD) && again.damaged == 2);
    assert_eq!(scrub.status().damaged, 4);
    assert_eq!(world.store.take_changes(&feed, 10), [], "it is told once");
}

#[tokio::test]
async fn goes_on_after_a_restart_where_it_was() {
    let world = World::new();
    for handle in 1..=10 {
        world.write(handle, 200).await;
    }
    let (mut worker, scrub) = world.worker(Some(DAY));
    for _ in 0..6 {
        match worker.work().await.unwrap() {
            WorkState::Wait(rest) => world.clock.advance(rest),
            other => panic!("{other:?}"),
        }
    }
    let before = scrub.status().pass.unwrap();
    assert_eq!(before.verified, 6 * 200 * BLOCK as u64);
    drop(worker);
    let (mut worker, scrub) = world.worker(Some(DAY));
    worker.work().await.unwrap();
    let after = scrub.status().pass.unwrap();
    assert_eq!(after.began, before.began);
    // The chunk that it was at is read once more.
    assert_eq!(after.verified, 7 * 200 * BLOCK as u64);
    assert_eq!(after.left, 4 * 200 * BLOCK as u64);
}

#[tokio::test]
async fn an_order_begins_a_pass_at_once_and_in_no_time() {
    let world = World::new();
    world.write(1, 600).await;
    let (mut worker, scrub) = world.worker(None);
    assert!(matches!(worker.work().await.unwrap(), WorkState::Wait(_)));
    assert_eq!(scrub.status(), ScrubStatus::default());
    scrub.order(ScrubOrder { bytes_per_s: None });
    // Whoever waits is woken.
    worker.wait().await;
    let pass = world.pass(&mut worker, &scrub).await;
    assert_eq!((pass.verified, pass.ended), (600 * BLOCK as u64, pass.began));
    scrub.order(ScrubOrder { bytes_per_s: Some(100 * BLOCK as u64) });
    let slow = world.pass(&mut worker, &scrub).await;
    assert_eq!(slow.ended.saturating_since(slow.began).as_secs(), 6);
}

#[tokio::test]
async fn holes_are_not_read_and_lost_bytes_are_damage() {
    let world = World::new();
    world.write(1, 10).await;
    let path = Layout::new(world.dir.path()).chunk(ChunkHandle(1));
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(DATA_OFFSET + 4 * BLOCK as u64).unwrap();
    let range = world.store.lock(ChunkHandle(2), 0..16_384).await;
    let data = vec![7; BLOCK];
    let piece = Piece { offset: 16_000 * BLOCK as u32, crcs: fragment_crcs(0, &data), data: data.into() };
    world.store.write(&range, id(2), piece).await.unwrap();
    let (mut worker, scrub) = world.worker(Some(DAY));
    let pass = world.pass(&mut worker, &scrub).await;
    assert_eq!((pass.verified, pass.damaged), (11 * BLOCK as u64, 6));
}

#[tokio::test]
async fn rests_longer_while_clients_are_here() {
    let world = World::new();
    world.write(1, 600).await;
    let (mut worker, scrub) = world.worker(None);
    scrub.order(ScrubOrder { bytes_per_s: Some(BLOCK as u64) });
    let idle = worker.work().await.unwrap();
    scrub.order(ScrubOrder { bytes_per_s: Some(BLOCK as u64) });
    let _request = world.load.begin();
    let busy = worker.work().await.unwrap();
    assert_eq!(idle, WorkState::Wait(Duration::from_secs(256)));
    assert_eq!(busy, WorkState::Wait(Duration::from_secs(4 * 256)));
}
