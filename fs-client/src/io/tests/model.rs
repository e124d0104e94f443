//! Random operations against a flat buffer, while the cluster misbehaves.

use std::time::Duration;

use cairn_proto::chunk::CHUNK_SIZE;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::io::IoError;

/// Where the action is: around the border of two chunks.
const BASE: u64 = CHUNK_SIZE - 300_000;
/// Bytes of a file behind [`BASE`].
const SPAN: u64 = 600_000;

fn config() -> IoConfig {
    IoConfig {
        write_back_bytes: 300_000,
        retain_bytes: 400_000,
        cache_bytes: 1 << 20,
        pieces_in_flight: 6,
        dirty_age: Duration::from_millis(30),
        idle_hand_back: Duration::from_millis(60),
        read_ahead_bytes: 200_000,
        ..quiet()
    }
}

/// A file, and what must be in it from [`BASE`] on.
struct Model {
    bench: Bench,
    expected: Vec<u8>,
    rng: StdRng,
}

impl Model {
    fn new(seed: u64, one_in: u32) -> Self {
        let bench = Bench::new(config());
        bench.fake.faults.lock().seed(seed, one_in, Duration::from_millis(2));
        Self { bench, expected: Vec::new(), rng: StdRng::seed_from_u64(seed) }
    }

    fn range(&mut self) -> (u64, usize) {
        let at = self.rng.random_range(0..SPAN);
        let longest = if self.rng.random_ratio(1, 4) { 200_000 } else { 9_000 };
        (at, self.rng.random_range(1..longest).min((SPAN - at) as usize))
    }

    async fn step(&mut self) {
        let file = self.bench.file.clone();
        match self.rng.random_range(0..100) {
            0..40 => {
                let (at, len) = self.range();
                let data = pattern(len, self.rng.random());
                self.grow(at as usize + len);
                self.expected[at as usize..][..len].copy_from_slice(&data);
                file.write(BASE + at, data.into(), now(), false).await.unwrap();
            }
            40..46 => {
                let len = self.rng.random_range(1..9000);
                if self.expected.len() + len < SPAN as usize {
                    let data = pattern(len, self.rng.random());
                    let at = file.append(data.clone().into(), now(), false).await.unwrap();
                    let expected_at = if self.expected.is_empty() {
                        file.size() - len as u64
                    } else {
                        BASE + self.expected.len() as u64
                    };
                    assert_eq!(at, expected_at);
                    if at >= BASE {
                        self.expected.extend(data);
                    }
                }
            }
            46..80 => {
                let (at, len) = self.range();
                self.check(at, len).await;
            }
            80..85 => {
                let size = self.rng.random_range(0..SPAN) as usize;
                self.expected.resize(size, 0);
                let fake = self.bench.fake.clone();
                let size = BASE + size as u64;
                let set = async move { Ok::<_, IoError>(fake.set_size(FILE, size)) };
                file.truncate_with(size, set).await.unwrap();
                assert_eq!(file.size(), size);
            }
            85..90 => {
                let (at, len) = self.range();
                let end = (at as usize + len).min(self.expected.len());
                if (at as usize) < end {
                    self.expected[at as usize..end].fill(0);
                }
                file.zero(BASE + at, len as u64).await.unwrap();
            }
            90..94 => file.flush().await.unwrap(),
            94..97 => file.sync().await.unwrap(),
            97 => file.sync_data().await.unwrap(),
            _ => self.bench.fake.repair(),
        }
    }

    fn grow(&mut self, len: usize) {
        if self.expected.len() < len {
            self.expected.resize(len, 0);
        }
    }

    async fn check(&self, at: u64, len: usize) {
        let file = &self.bench.file;
        let seen = match file.try_read(BASE + at, len as u32) {
            Some(seen) => seen,
            None => file.read(BASE + at, len as u32).await.unwrap(),
        };
        assert_same(&seen, self.at(at, len), at);
    }

    fn at(&self, at: u64, len: usize) -> &[u8] {
        let end = (at as usize + len).min(self.expected.len());
        &self.expected[(at as usize).min(end)..end]
    }

    /// Everything is on all copies, as a new mount sees it too.
    async fn finish(self) {
        self.bench.file.sync().await.unwrap();
        self.bench.fake.faults.lock().seed(0, 0, Duration::ZERO);
        // Ghosts of lost writes.
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.check(0, SPAN as usize).await;
        for server in 0..3 {
            self.bench.fake.power_cut(server);
        }
        let other = mount(&self.bench.fake, quiet());
        let file = other.file(&self.bench.fake.open(FILE));
        let seen = file.read(BASE, SPAN as u32).await.unwrap();
        assert_same(&seen, &self.expected, 0);
        assert_eq!(self.bench.fake.diverging(), []);
        assert_eq!(self.bench.fake.violations(), [""; 0]);
        let mut cursor = self.bench.file.error_cursor();
        assert_eq!(self.bench.file.take_error(&mut cursor), None);
        self.bench.io.shutdown().await;
        assert_eq!(self.bench.fake.dirty(), []);
        assert_eq!(self.bench.io.write_back_bytes(), 0);
    }
}

fn assert_same(seen: &[u8], expected: &[u8], at: u64) {
    assert_eq!(seen.len(), expected.len(), "length of a read at {at}");
    if let Some(i) = (0..seen.len()).find(|i| seen[*i] != expected[*i]) {
        panic!("byte {} is {} and should be {}", at + i as u64, seen[i], expected[i]);
    }
}

async fn sequence(seed: u64, one_in: u32) {
    println!("seed {seed}, one call in {one_in} fails");
    let mut model = Model::new(seed, one_in);
    for _ in 0..150 {
        model.step().await;
    }
    model.finish().await;
}

/// `count` seeds from `first`; with `CAIRN_SEEDS=n`, n times as many.
fn seeds(first: u64, count: u64) -> std::ops::Range<u64> {
    let times = std::env::var("CAIRN_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    first..first + count * times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_sequences_agree_with_a_flat_buffer() {
    for seed in seeds(0, 10) {
        sequence(seed, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_sequences_agree_while_calls_fail() {
    for seed in seeds(10_000, 20) {
        sequence(seed, 6).await;
    }
}

/// Several writers, each with blocks of its own between those of the others, and power cuts that the buffer makes good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_keep_their_own_bytes() {
    const WRITERS: u64 = 4;
    const STRIDE: u64 = 1500;
    for seed in seeds(0, 5) {
        println!("seed {seed}");
        let bench = Bench::new(IoConfig { retain_bytes: 64 << 20, ..config() });
        bench.fake.faults.lock().seed(seed, 12, Duration::from_millis(2));
        let mut tasks = Vec::new();
        for writer in 0..WRITERS {
            let file = bench.file.clone();
            let mut rng = StdRng::seed_from_u64(seed * 100 + writer);
            tasks.push(tokio::spawn(async move {
                let mut mine = vec![0u8; 60];
                for round in 0..80 {
                    let slot = rng.random_range(0..60u64);
                    let at = BASE + (slot * WRITERS + writer) * STRIDE;
                    if rng.random_ratio(2, 3) {
                        let fill = (round * 4 + writer) as u8 | 1;
                        mine[slot as usize] = fill;
                        file.write(at, Bytes::from(vec![fill; STRIDE as usize]), now(), false).await.unwrap();
                    }
                    let seen = file.read(at, STRIDE as u32).await.unwrap();
                    let fill = mine[slot as usize];
                    assert!(
                        seen.iter().all(|byte| *byte == fill),
                        "seed {seed}: {at}: {:?} is not {fill}",
                        &seen[..4.min(seen.len())]
                    );
                    match rng.random_range(0..20) {
                        0 => file.sync().await.unwrap(),
                        1 => file.flush().await.unwrap(),
                        _ => {}
                    }
                }
                (writer, mine)
            }));
        }
        let (fake, io) = (bench.fake.clone(), bench.io.clone());
        let trouble = tokio::spawn(async move {
            for i in 0.. {
                tokio::time::sleep(Duration::from_millis(7)).await;
                assert!(io.write_back_bytes() <= config().write_back_bytes + (1 << 20));
                match i % 40 {
                    1 | 11 | 21 => fake.repair(),
                    25 => fake.power_cut(i / 40 % 3),
                    _ => {}
                }
            }
        });
        let mut all = Vec::new();
        for task in tasks {
            all.push(task.await.unwrap());
        }
        trouble.abort();
        bench.file.sync().await.unwrap();
        bench.fake.faults.lock().seed(0, 0, Duration::ZERO);
        tokio::time::sleep(Duration::from_millis(50)).await;
        for server in 0..3 {
            bench.fake.power_cut(server);
        }
        let other = mount(&bench.fake, quiet());
        let file = other.file(&bench.fake.open(FILE));
        for (writer, mine) in all {
            for (slot, fill) in mine.into_iter().enumerate() {
                let at = BASE + (slot as u64 * WRITERS + writer) * STRIDE;
                let seen = file.read(at, STRIDE as u32).await.unwrap();
                assert!(seen.iter().all(|byte| *byte == fill), "seed {seed}, writer {writer}, slot {slot}");
            }
        }
        assert_eq!(bench.fake.violations(), [""; 0]);
        assert_eq!(bench.fake.diverging(), []);
    }
}
