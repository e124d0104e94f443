//! Locks on ranges of a chunk's blocks, granted in the order in which they were asked for.
//!
//! Two writes that touch a block in common must happen in one order on all of the chain, and a block written in part is read,
//! merged and written by one at a time. So whoever writes holds the blocks, whole, until everyone behind it has answered.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The locks of one chunk.
#[derive(Clone, Debug, Default)]
pub struct RangeLocks {
    queue: Arc<Mutex<Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    next_ticket: u64,
    /// In order of arrival: those that hold their blocks and those that wait.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    ticket: u64,
    blocks: Range<u32>,
    /// Earlier entries that overlap; the lock is held when there are none.
    ahead: usize,
    wake: Option<oneshot::Sender<()>>,
}

/// A held range; let go when dropped.
#[derive(Debug)]
pub struct RangeGuard {
    queue: Arc<Mutex<Queue>>,
    ticket: u64,
    blocks: Range<u32>,
}

impl RangeLocks {
    /// Waits until nobody who came before holds or wants any of `blocks`. Dropping the future gives up the place.
    pub async fn lock(&self, blocks: Range<u32>) -> RangeGuard {
        let (guard, granted) = self.enqueue(blocks);
        if let Some(granted) = granted {
            // The sender lives in our own entry, which only `guard` removes.
            let _ = granted.await;
        }
        guard
    }

    fn enqueue(&self, blocks: Range<u32>) -> (RangeGuard, Option<oneshot::Receiver<()>>) {
        let mut queue = self.queue.lock();
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        let ahead = queue.entries.iter().filter(|entry| overlap(&entry.blocks, &blocks)).count();
        let (wake, granted) = (ahead > 0).then(oneshot::channel).unzip();
        queue.entries.push(Entry { ticket, blocks: blocks.clone(), ahead, wake });
        (RangeGuard { queue: self.queue.clone(), ticket, blocks }, granted)
    }
}

impl Drop for RangeGuard {
    fn drop(&mut self) {
        let mut queue = self.queue.lock();
        queue.entries.retain(|entry| entry.ticket != self.ticket);
        for entry in queue.entries.iter_mut().filter(|entry| entry.ticket > self.ticket) {
            if overlap(&entry.blocks, &self.blocks) {
                entry.ahead -= 1;
                if entry.ahead == 0
                    && let Some(wake) = entry.wake.take()
                {
                    let _ = wake.send(());
                }
            }
        }
    }
}

fn overlap(a: &Range<u32>, b: &Range<u32>) -> bool {
    a.start < b.end && b.start < a.end
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn overlapping_ranges_wait_in_order() {
        let locks = RangeLocks::default();
        let first = locks.lock(0..4).await;
        let beside = locks.lock(4..8).now_or_never().expect("nothing in common");
        let mut second = Box::pin(locks.lock(3..5));
        assert!(second.as_mut().now_or_never().is_none());
        // Behind the waiting one, though free of the held ones: it must not overtake.
        let mut third = Box::pin(locks.lock(4..5));
        assert!(third.as_mut().now_or_never().is_none());
        drop(beside);
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        let second = second.await;
        assert!(third.as_mut().now_or_never().is_none());
        drop(second);
        assert_eq!(third.await.blocks, 4..5);
    }

    #[tokio::test]
    async fn giving_up_lets_those_behind_pass() {
        let locks = RangeLocks::default();
        let held = locks.lock(0..1).await;
        let impatient = tokio::time::timeout(Duration::from_millis(5), locks.lock(0..2)).await;
        assert!(impatient.is_err());
        let beside = locks.lock(1..2).now_or_never();
        assert!(beside.is_some(), "the one that gave up is forgotten");
        drop((held, beside));
        assert!(locks.lock(0..2).now_or_never().is_some());
        assert!(locks.queue.lock().entries.is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn never_two_at_once() {
        let locks = RangeLocks::default();
        let inside = Arc::new(Mutex::new([false; 8]));
        let tasks = (0..200u32).map(|n| {
            let (locks, inside) = (locks.clone(), inside.clone());
            tokio::spawn(async move {
                let blocks = n % 7..n % 7 + 2;
                let _guard = locks.lock(blocks.clone()).await;
                for b in blocks.clone() {
                    assert!(!std::mem::replace(&mut inside.lock()[b as usize], true));
                }
                tokio::task::yield_now().await;
                blocks.for_each(|b| inside.lock()[b as usize] = false);
            })
        });
        futures::future::try_join_all(tasks).await.unwrap();
    }
}
