//! Evens out how full the chunkservers are: copies move from the fullest to emptier ones, slowly, and only while nothing lacks copies.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cairn_proto::chunkserver::ChunkState;
use cairn_proto::ids::{ChunkHandle, ServerId};
use cairn_runtime::worker::{WorkError, WorkState, Worker};

use super::Cluster;

/// Between two looks at how full they are: heartbeats must have told what the last moves did.
const TICK: Duration = Duration::from_secs(5);
/// Copies looked at for one tick.
const PAGE_COPIES: usize = 4096;

/// When copies move, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BalanceSettings {
    /// Percent of its size that a server may be fuller than all are on average.
    pub threshold: u8,
    /// Bytes per second; 0: nothing is moved.
    pub bytes_per_s: u64,
}

/// How full a server is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    pub server: ServerId,
    pub used: u64,
    pub free: u64,
}

impl Fill {
    fn size(&self) -> u64 {
        self.used + self.free
    }

    /// Part of its size; 0 of one without any.
    fn ratio(&self) -> f64 {
        if self.size() == 0 { 0.0 } else { self.used as f64 / self.size() as f64 }
    }

    /// Whether a copy from `other` belongs here rather.
    pub fn is_emptier_than(&self, other: &Self) -> bool {
        self.ratio() < other.ratio()
    }
}

/// A server that holds too much, and by how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    pub server: ServerId,
    /// Above the average.
    pub bytes: u64,
}

/// The fullest server, where it is fuller than all are on average by more than `threshold` percent of its size.
pub fn excess(fills: &[Fill], threshold: u8) -> Option<Excess> {
    let (used, size) = fills.iter().fold((0u64, 0u64), |(used, size), fill| (used + fill.used, size + fill.size()));
    let fullest = fills.iter().max_by(|a, b| a.ratio().total_cmp(&b.ratio()))?;
    let average = if size == 0 { 0.0 } else { used as f64 / size as f64 };
    let over = fullest.ratio() - average;
    let bytes = (over * fullest.size() as f64) as u64;
    (over * 100.0 > f64::from(threshold)).then_some(Excess { server: fullest.server, bytes })
}

/// The worker that does it, by way of the repair queue.
#[derive(Debug)]
pub struct BalanceWorker {
    cluster: Arc<Cluster>,
    /// The last copy that was moved of each server: the next ones are others.
    after: HashMap<ServerId, ChunkHandle>,
    over: Option<Excess>,
}

impl BalanceWorker {
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, after: HashMap::new(), over: None }
    }

    /// Has copies of the server moved, as many as may be in a tick.
    fn relieve(&mut self, Excess { server, bytes }: Excess) {
        let registry = &self.cluster.registry;
        let mut left = bytes.min(self.cluster.balance.bytes_per_s.saturating_mul(TICK.as_secs()));
        let after = self.after.get(&server).copied();
        let page = registry.copies_after(server, after, PAGE_COPIES);
        let is_last = page.len() < PAGE_COPIES;
        let now = self.cluster.now();
        for (handle, copy) in page {
            self.after.insert(server, handle);
            if copy.state == ChunkState::Dirty || copy.length == 0 {
                continue;
            }
            self.cluster.repairs.push_move(handle, server, now);
            left = left.saturating_sub(u64::from(copy.length));
            if left == 0 {
                return;
            }
        }
        if is_last {
            self.after.remove(&server);
        }
    }
}

impl Worker for BalanceWorker {
    fn name(&self) -> String {
        "balance".to_owned()
    }

    async fn work(&mut self) -> Result<WorkState, WorkError> {
        let is_quiet = self.cluster.repairs.is_empty() && !self.cluster.throttle.is_paused();
        let BalanceSettings { threshold, bytes_per_s } = self.cluster.balance;
        if is_quiet && bytes_per_s > 0 {
            self.over = excess(&self.cluster.registry.fills(self.cluster.now()), threshold);
            if let Some(over) = self.over {
                self.relieve(over);
            }
        }
        Ok(WorkState::Wait(TICK))
    }

    fn detail(&self) -> Option<String> {
        let Excess { server, bytes } = self.over?;
        Some(format!("{} holds {} MiB more than the average", self.cluster.registry.name(server), bytes >> 20))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn fill(n: u128, used: u64, free: u64) -> Fill {
        Fill { server: ServerId(Uuid::from_u128(n)), used, free }
    }

    #[test]
    fn the_fullest_gives_what_is_above_the_average() {
        let fills = [fill(1, 90, 10), fill(2, 10, 90), fill(3, 20, 180)];
        // 120 of 400 bytes are used.
        assert_eq!(excess(&fills, 10), Some(Excess { server: fills[0].server, bytes: 60 }));
        assert_eq!(excess(&fills, 61), None);
        assert!(fills[2].is_emptier_than(&fills[0]));
        assert!(!fills[1].is_emptier_than(&fills[2]), "of different sizes, and equally full");
    }

    #[test]
    fn nobody_gives_where_all_are_equal_or_nobody_is_there() {
        assert_eq!(excess(&[fill(1, 5, 5), fill(2, 50, 50)], 0), None);
        assert_eq!(excess(&[], 0), None);
        assert_eq!(excess(&[fill(1, 0, 0)], 0), None);
    }
}
