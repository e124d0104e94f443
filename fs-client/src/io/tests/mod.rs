//! The data path against a cluster in memory that can lose, delay, damage and refuse.

mod basics;
mod choosing;
mod failures;
mod fake;
mod limits;
mod model;
mod reads;
mod reshaping;
mod syncing;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_proto::ids::InodeId;
use cairn_proto::time::Timestamp;
use cairn_runtime::clock::{Clock, SystemClock};

use super::{BreakerLimits, FileIo, HedgeLimits, Io, IoConfig};
use fake::Fake;

/// A mount of a fake cluster, with one file.
struct Bench {
    fake: Arc<Fake>,
    io: Arc<Io>,
    file: Arc<FileIo>,
}

const FILE: InodeId = InodeId(42);

impl Bench {
    /// Three chunkservers, two copies.
    fn new(config: IoConfig) -> Self {
        let fake = Fake::new(3, 2);
        let io = mount(&fake, config);
        let file = io.file(&fake.open(FILE));
        Self { fake, io, file }
    }

    async fn write(&self, offset: u64, data: &[u8]) {
        self.file.write(offset, Bytes::copy_from_slice(data), now(), false).await.unwrap();
    }

    async fn read(&self, offset: u64, len: u32) -> Bytes {
        self.file.read(offset, len).await.unwrap()
    }
}

fn mount(fake: &Arc<Fake>, config: IoConfig) -> Arc<Io> {
    mount_with(fake, config, Arc::new(SystemClock))
}

/// By a clock of its own, as far as servers are judged.
fn mount_with(fake: &Arc<Fake>, config: IoConfig, clock: Arc<dyn Clock>) -> Arc<Io> {
    let observed = fake.clone();
    let observer = Arc::new(move |attr| observed.observe(attr));
    Io::with_transport(config, fake.clone(), Arc::new(fake.clone()), clock, observer)
}

/// Nothing happens by itself within the time of a test, and nothing is given up soon.
fn quiet() -> IoConfig {
    IoConfig {
        dirty_age: Duration::from_secs(3600),
        idle_hand_back: Duration::from_secs(3600),
        write_patience: Some(Duration::from_secs(20)),
        read_patience: Some(Duration::from_secs(20)),
        breaker: BreakerLimits { hold: Duration::from_millis(50), ..BreakerLimits::default() },
        // However slow the machine is, what is asked for is asked for once.
        hedging: HedgeLimits { percent: 0, ..HedgeLimits::default() },
        ..IoConfig::default()
    }
}

/// Bytes that differ from place to place.
fn pattern(len: usize, seed: u64) -> Vec<u8> {
    (0..len as u64)
        .map(|i| (i.wrapping_mul(7).wrapping_add(seed.wrapping_mul(131)) ^ (i >> 8) ^ (i >> 16)) as u8)
        .collect()
}

fn now() -> Timestamp {
    Timestamp::now()
}
