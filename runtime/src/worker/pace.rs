//! How fast a worker may go.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Cost per second that a worker may spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    Unlimited,
    /// 0 pauses the worker.
    PerSecond(u64),
}

/// A pace that can be changed while somebody keeps to it.
#[derive(Debug)]
pub(super) struct Pacer {
    /// `u64::MAX` stands for no limit.
    per_second: AtomicU64,
    changed: Notify,
}

impl Pacer {
    pub(super) fn new(pace: Pace) -> Self {
        Self { per_second: AtomicU64::new(encode(pace)), changed: Notify::new() }
    }

    pub(super) fn pace(&self) -> Pace {
        match self.per_second.load(Ordering::Relaxed) {
            u64::MAX => Pace::Unlimited,
            per_second => Pace::PerSecond(per_second),
        }
    }

    pub(super) fn set(&self, pace: Pace) {
        self.per_second.store(encode(pace), Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Returns when work of `cost` that began at `began` has taken as long as it should. A change of pace counts at once.
    pub(super) async fn settle(&self, cost: u64, began: Instant) {
        loop {
            let due = match self.pace() {
                Pace::Unlimited => return,
                Pace::PerSecond(0) => None,
                Pace::PerSecond(rate) => Some(began + Duration::from_secs_f64(cost as f64 / rate as f64)),
            };
            if due.is_some_and(|due| due <= Instant::now()) {
                return;
            }
            let pause = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = pause => return,
                () = self.changed.notified() => {}
            }
        }
    }
}

fn encode(pace: Pace) -> u64 {
    match pace {
        Pace::Unlimited => u64::MAX,
        Pace::PerSecond(rate) => rate.min(u64::MAX - 1),
    }
}
