//! Whom reads are sent to: the nearest, who answers, and a second one where the first takes long.

use std::time::{Duration, SystemTime};

use cairn_runtime::clock::ManualClock;

use super::*;
use crate::io::{Distance, IoError, ReadStats};

const BLOCK: u64 = 4096;

/// A mount of a file of many blocks that three servers have. Time stands still as far as they are judged.
struct Reader {
    fake: Arc<Fake>,
    io: Arc<Io>,
    file: Arc<FileIo>,
    clock: Arc<ManualClock>,
    data: Vec<u8>,
    read: u64,
}

/// Every read takes long after 20 ms, and there is budget for `burst` hedges.
fn hedging(burst: u32) -> IoConfig {
    let delay = Duration::from_millis(20);
    IoConfig { hedging: HedgeLimits { percent: 1, burst, floor: delay, cap: delay }, ..patient() }
}

/// No hedges, no read-ahead, and breakers that stay open for a second.
fn patient() -> IoConfig {
    let labels = "rack=r0".parse().unwrap();
    IoConfig { read_ahead_bytes: 0, breaker: BreakerLimits::default(), labels, ..quiet() }
}

impl Reader {
    /// The first server is in this mount's rack, and that is known.
    async fn new(config: IoConfig) -> Self {
        let fake = Fake::new(3, 3);
        for server in 0..3 {
            fake.set_labels(server, &format!("host=h{server},rack=r{server}"));
        }
        let data = pattern(1 << 20, 1);
        let writer = mount(&fake, quiet());
        let file = writer.file(&fake.open(FILE));
        file.write(0, Bytes::copy_from_slice(&data), now(), false).await.unwrap();
        writer.shutdown().await;
        let clock = Arc::new(ManualClock::new(SystemTime::UNIX_EPOCH));
        let io = mount_with(&fake, config, clock.clone());
        let file = io.file(&fake.open(FILE));
        let mut reader = Self { fake, io, file, clock, data, read: 0 };
        reader.read_blocks(1).await;
        reader.wait_until(|stats| stats.servers.iter().all(|server| server.labels_known)).await;
        reader
    }

    /// Reads blocks that are not cached, one after the other.
    async fn read_blocks(&mut self, count: u64) {
        for _ in 0..count {
            for read in self.begin_reads(1) {
                read.await.unwrap().unwrap();
            }
        }
    }

    /// The same, without waiting for each other. They check what they read.
    fn begin_reads(&mut self, count: u64) -> Vec<tokio::task::JoinHandle<Result<(), IoError>>> {
        let first = self.read;
        self.read += count;
        let read = |block: u64| {
            let (file, expected) = (self.file.clone(), self.data[(block * BLOCK) as usize..][..4096].to_vec());
            tokio::spawn(async move {
                let bytes = file.read(block * BLOCK, 4096).await?;
                assert_eq!(bytes, expected);
                Ok(())
            })
        };
        (first..self.read).map(read).collect()
    }

    fn stats(&self) -> ReadStats {
        self.io.read_stats()
    }

    async fn wait_until(&self, is_so: impl Fn(&ReadStats) -> bool) {
        let begin = tokio::time::Instant::now();
        loop {
            // What goes on by itself gets its turn first.
            tokio::time::sleep(Duration::from_millis(1)).await;
            if is_so(&self.stats()) {
                return;
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", self.stats());
        }
    }

    /// Reads that each server was asked for by `count` reads, one after the other.
    async fn asked_by_reading(&mut self, count: u64) -> Vec<usize> {
        let before = self.fake.reads();
        self.read_blocks(count).await;
        self.fake.reads().iter().zip(before).map(|(now, before)| now - before).collect()
    }

    fn breaker_of(&self, server: usize) -> &'static str {
        let id = self.fake.server_ids()[server];
        self.stats().servers.iter().find(|known| known.server == id).unwrap().breaker
    }
}

#[tokio::test(start_paused = true)]
async fn the_nearest_copy_is_read() {
    let mut reader = Reader::new(patient()).await;
    assert_eq!(reader.asked_by_reading(20).await, [20, 0, 0]);
    let distances: Vec<_> = reader.stats().servers.iter().map(|server| server.distance).collect();
    assert_eq!(distances.iter().filter(|distance| **distance == Distance::Rack).count(), 1, "{distances:?}");
    reader.fake.set_up(0, false);
    let asked = reader.asked_by_reading(10).await;
    assert_eq!((asked[0], asked.iter().sum::<usize>()), (1, 11), "tried once");
    assert_eq!(reader.stats().failed_over, 1);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_takes_long_is_answered_by_another_server() {
    let mut reader = Reader::new(hedging(10)).await;
    for round in 1..=4 {
        reader.fake.set_stopped(0, true);
        let asked = reader.asked_by_reading(2).await;
        assert_eq!((asked[0], asked[1] + asked[2]), (2, 2));
        let stats = reader.stats();
        assert_eq!((stats.hedges.sent, stats.hedges.won), (2 * round, 2 * round));
        assert_eq!((stats.failed_over, reader.breaker_of(0)), (0, "closed"), "two may be bad luck");
        // The calls that were overtaken are answered in the end, and so it is known that it lives.
        reader.fake.set_stopped(0, false);
        let all = reader.fake.reads().iter().sum::<usize>() * BLOCK as usize;
        reader.wait_until(|_| reader.fake.counts(|counts| counts.read_bytes) == all).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_block_does_not_win() {
    let mut reader = Reader::new(hedging(10)).await;
    reader.fake.set_stopped(0, true);
    for holder in 0..3 {
        if reader.fake.holders(FILE, 0)[holder] == 1 {
            reader.fake.damage(FILE, BLOCK, holder);
        }
    }
    // Whichever of the others is asked: what is wrong is not taken, and the next one is asked.
    reader.read_blocks(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_asked_no_more_until_a_probe_is_answered() {
    let mut reader = Reader::new(hedging(10)).await;
    reader.fake.set_stopped(0, true);
    let asked = reader.asked_by_reading(30).await;
    assert_eq!((asked[0], asked[1] + asked[2]), (3, 30), "three reads were overtaken, and then it is asked no more");
    assert_eq!((reader.stats().hedges.sent, reader.breaker_of(0)), (3, "open"));

    reader.clock.advance(Duration::from_secs(1));
    let asked = reader.asked_by_reading(10).await;
    assert_eq!((asked[0], asked[1] + asked[2]), (1, 10), "one probe, and nobody waits for it");
    assert_eq!(reader.breaker_of(0), "half-open");
    reader.wait_until(|stats| stats.breakers.reopened == 1).await;
    reader.clock.advance(Duration::from_millis(1900));
    assert_eq!(reader.asked_by_reading(5).await[0], 0, "two seconds, this time");

    reader.fake.set_stopped(0, false);
    reader.clock.advance(Duration::from_millis(100));
    reader.read_blocks(1).await;
    reader.wait_until(|stats| stats.breakers.closed == 1).await;
    assert_eq!(reader.asked_by_reading(10).await, [10, 0, 0]);
    let stats = reader.stats();
    assert_eq!((stats.breakers.opened, stats.breakers.half_opened, stats.failed_over), (1, 2, 0));
    assert_eq!((stats.hedges.sent, stats.hedges.won), (3, 3), "probes are none");
}

#[tokio::test(start_paused = true)]
async fn hedges_have_a_budget() {
    let mut reader = Reader::new(hedging(2)).await;
    reader.fake.set_stopped(0, true);
    let reads = reader.begin_reads(20);
    reader.wait_until(|stats| stats.hedges.held_back == 18).await;
    reader.fake.set_stopped(0, false);
    for read in reads {
        read.await.unwrap().unwrap();
    }
    let stats = reader.stats();
    assert_eq!((stats.hedges.sent, stats.moved_on, stats.breakers.opened), (2, 0, 0), "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_server_that_is_found_silent_moves_on_without_budget() {
    let mut reader = Reader::new(hedging(3)).await;
    reader.fake.set_stopped(0, true);
    for read in reader.begin_reads(20) {
        read.await.unwrap().unwrap();
    }
    let stats = reader.stats();
    assert_eq!((stats.hedges.sent, stats.moved_on, stats.failed_over), (3, 17, 0), "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn no_read_fails_for_a_breaker_s_sake() {
    let mut reader = Reader::new(IoConfig { read_patience: Some(Duration::from_millis(50)), ..patient() }).await;
    for server in 0..3 {
        reader.fake.set_up(server, false);
    }
    for read in reader.begin_reads(1) {
        assert!(matches!(read.await.unwrap(), Err(IoError::Unreadable { .. })));
    }
    assert_eq!((0..3).map(|server| reader.breaker_of(server)).collect::<Vec<_>>(), ["open"; 3]);
    for server in 0..3 {
        reader.fake.set_up(server, true);
    }
    assert_eq!(reader.asked_by_reading(1).await.iter().sum::<usize>(), 1, "time stands still, and all are open");
}
