//! What waits to be repaired, the most exposed first.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use cairn_proto::ids::{ChunkHandle, ServerId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::Moment;

/// Chunks in the queue at most. Beyond it the least urgent are forgotten; the census finds them again.
pub const MAX_JOBS: usize = 65_536;
/// Before a chunk is tried again whose repair failed; doubles with each failure.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// How much a chunk is in danger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Urgency {
    /// It has all its copies; they are only to be elsewhere, or fewer.
    pub only_moves: bool,
    /// Good copies that are left. Fewer are more urgent.
    pub copies: usize,
}

impl Urgency {
    /// Of a chunk that lacks copies.
    pub fn lacking(copies: usize) -> Self {
        Self { only_moves: false, copies }
    }
}

/// Something said to be wrong with one member's copy. It is looked at before it is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complaint {
    pub server: ServerId,
    pub what: BadCopy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCopy {
    Missing,
    /// It ends before what was committed.
    Short,
    Damaged,
    /// It differs from a copy of a newer version.
    Stale,
}

/// A chunk to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub handle: ChunkHandle,
    pub complaints: Vec<Complaint>,
    /// It holds too much: its copy is to go to a server that holds less, if nothing else is wrong.
    pub relieve: Option<ServerId>,
    urgency: Urgency,
    /// When it was first found.
    since: Moment,
    failures: u32,
    not_before: Moment,
}

/// See the module.
#[derive(Debug, Default)]
pub struct RepairQueue {
    inner: Mutex<Inner>,
    filled: Notify,
}

type Place = (Urgency, Moment, ChunkHandle);

#[derive(Debug, Default)]
struct Inner {
    jobs: HashMap<ChunkHandle, Job>,
    order: BTreeSet<Place>,
}

impl RepairQueue {
    /// A chunk has too few copies, or too many.
    pub fn push(&self, handle: ChunkHandle, urgency: Urgency, now: Moment) {
        self.add(Job::new(handle, urgency, now));
    }

    /// A server is to hold less: its copy may move.
    pub fn push_move(&self, handle: ChunkHandle, from: ServerId, now: Moment) {
        let urgency = Urgency { only_moves: true, copies: usize::MAX };
        self.add(Job { relieve: Some(from), ..Job::new(handle, urgency, now) });
    }

    /// Something may be wrong with a copy.
    pub fn complain(&self, handle: ChunkHandle, complaint: Complaint, now: Moment) {
        let mut job = Job::new(handle, Urgency::lacking(1), now);
        job.complaints.push(complaint);
        self.add(job);
    }

    /// Its repair failed: it comes back after a while.
    pub fn retry(&self, mut job: Job, now: Moment) {
        job.not_before = now + (FIRST_RETRY * 2u32.pow(job.failures.min(16))).min(LONGEST_RETRY);
        job.failures += 1;
        self.add(job);
    }

    /// It may not begin before `until`; nothing went wrong.
    pub fn defer(&self, mut job: Job, until: Moment) {
        job.not_before = until;
        self.add(job);
    }

    /// A step was taken; the next one is looked for at once.
    pub fn again(&self, mut job: Job) {
        job.failures = 0;
        self.add(job);
    }

    fn add(&self, job: Job) {
        self.inner.lock().add(job);
        self.filled.notify_one();
    }

    /// The most urgent chunk that is due.
    pub fn take(&self, now: Moment) -> Option<Job> {
        let mut inner = self.inner.lock();
        let due = |place: &&Place| inner.jobs.get(&place.2).is_some_and(|job| job.not_before <= now);
        let handle = inner.order.iter().find(due)?.2;
        let job = inner.remove(handle);
        if !inner.order.is_empty() {
            self.filled.notify_one();
        }
        job
    }

    /// Returns when something was added, or more is left.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Whether a chunk waits.
    pub fn contains(&self, handle: ChunkHandle) -> bool {
        self.inner.lock().jobs.contains_key(&handle)
    }

    /// Chunks that wait.
    pub fn len(&self) -> usize {
        self.inner.lock().jobs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When the chunk was found that has waited longest of those that lack copies.
    pub fn oldest_exposure(&self) -> Option<Moment> {
        let inner = self.inner.lock();
        inner.order.iter().take_while(|(urgency, ..)| !urgency.only_moves).map(|(_, since, _)| *since).min()
    }

    /// How many of them lack copies, and have no more than `copies` good ones left.
    pub fn exposed(&self, copies: usize) -> usize {
        let end = (Urgency::lacking(copies + 1), Moment::ZERO, ChunkHandle(0));
        self.inner.lock().order.range(..end).count()
    }
}

impl Job {
    fn new(handle: ChunkHandle, urgency: Urgency, now: Moment) -> Self {
        Self {
            handle,
            complaints: Vec::new(),
            relieve: None,
            urgency,
            since: now,
            failures: 0,
            not_before: Moment::ZERO,
        }
    }

    fn place(&self) -> Place {
        (self.urgency, self.since, self.handle)
    }
}

impl Inner {
    fn add(&mut self, mut job: Job) {
        if let Some(known) = self.remove(job.handle) {
            job.since = job.since.min(known.since);
            job.failures = job.failures.max(known.failures);
            job.not_before = job.not_before.max(known.not_before);
            job.relieve = job.relieve.or(known.relieve);
            job.urgency = job.urgency.min(known.urgency);
            for complaint in known.complaints {
                if !job.complaints.contains(&complaint) {
                    job.complaints.push(complaint);
                }
            }
        }
        self.order.insert(job.place());
        self.jobs.insert(job.handle, job);
        if self.jobs.len() > MAX_JOBS
            && let Some((_, _, least)) = self.order.last().copied()
        {
            self.remove(least);
        }
    }

    fn remove(&mut self, handle: ChunkHandle) -> Option<Job> {
        let job = self.jobs.remove(&handle)?;
        self.order.remove(&job.place());
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Moment = Moment::from_secs(1000);

    fn handle(n: u64) -> ChunkHandle {
        ChunkHandle(n)
    }

    fn take(queue: &RepairQueue, now: Moment) -> Option<u64> {
        queue.take(now).map(|job| job.handle.0)
    }

    #[test]
    fn copies_left_then_age() {
        let queue = RepairQueue::default();
        queue.push(handle(1), Urgency::lacking(2), T);
        queue.push(handle(2), Urgency::lacking(1), T + Duration::from_secs(2));
        queue.push(handle(3), Urgency::lacking(1), T + Duration::from_secs(1));
        queue.push(handle(3), Urgency::lacking(1), T + Duration::from_secs(9));
        assert_eq!((queue.len(), queue.exposed(1), queue.exposed(2)), (3, 2, 3));
        let order: Vec<_> = std::iter::from_fn(|| take(&queue, T)).collect();
        assert_eq!(order, [3, 2, 1]);
    }

    #[test]
    fn moves_come_last_and_are_no_exposure() {
        let queue = RepairQueue::default();
        queue.push(handle(1), Urgency { only_moves: true, copies: 1 }, T);
        assert_eq!((queue.exposed(1), queue.oldest_exposure()), (0, None));
        queue.push(handle(2), Urgency::lacking(2), T + Duration::from_secs(2));
        queue.push(handle(3), Urgency::lacking(1), T + Duration::from_secs(3));
        assert_eq!((queue.exposed(1), queue.oldest_exposure()), (1, Some(T + Duration::from_secs(2))));
        let order: Vec<_> = std::iter::from_fn(|| take(&queue, T)).collect();
        assert_eq!(order, [3, 2, 1]);
    }

    #[test]
    fn failures_wait_longer_each_time() {
        let queue = RepairQueue::default();
        queue.push(handle(1), Urgency::lacking(1), T);
        let job = queue.take(T).unwrap();
        queue.retry(job, T);
        queue.push(handle(1), Urgency::lacking(1), T);
        assert_eq!(take(&queue, T), None);
        let job = queue.take(T + FIRST_RETRY).unwrap();
        queue.retry(job, T + FIRST_RETRY);
        assert_eq!(take(&queue, T + 2 * FIRST_RETRY), None);
        assert_eq!(take(&queue, T + 3 * FIRST_RETRY), Some(1));
    }

    #[test]
    fn complaints_add_up() {
        let queue = RepairQueue::default();
        let server = ServerId(uuid::Uuid::from_u128(1));
        let (missing, damaged) =
            (Complaint { server, what: BadCopy::Missing }, Complaint { server, what: BadCopy::Damaged });
        for complaint in [missing, damaged, missing] {
            queue.complain(handle(1), complaint, T);
        }
        let mut complaints = queue.take(T).unwrap().complaints;
        complaints.sort_by_key(|complaint| complaint.what == BadCopy::Damaged);
        assert_eq!(complaints, [missing, damaged]);
    }

    #[test]
    fn forgets_the_least_urgent() {
        let queue = RepairQueue::default();
        for n in 0..MAX_JOBS as u64 {
            queue.push(handle(n), Urgency::lacking(2), T);
        }
        queue.push(handle(1 << 40), Urgency::lacking(1), T);
        assert_eq!(queue.len(), MAX_JOBS);
        assert_eq!(take(&queue, T), Some(1 << 40));
    }
}
