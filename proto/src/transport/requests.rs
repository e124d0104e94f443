//! What a server was asked: every call by its name, how often, how it ended, and how long it took.
//!
//! A call costs a look into a small map, three additions and two looks at the clock. That, and that `cairn up` and many tests
//! run several servers in one process, is why this is a table of each server's own and not the `metrics` crate, which keeps
//! one registry for the process and looks into it for each figure. What exports figures can read them from here.
//!
//! Not counted is what never became a request: connections turned down, frames that do not decode, and requests beyond the
//! limit of their connection.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

/// How often one call was made, and how it went. A batch is one call.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct RequestCounts {
    /// `MetaService.get_attr`.
    pub name: String,
    /// Begun; what is in flight counts, too.
    pub calls: u64,
    /// Not ended yet.
    pub in_flight: u64,
    /// Answered by an error of the server itself, as after a panic. A refusal such as `ENOENT` is a good answer.
    pub failed: u64,
    /// Ended without an answer: their deadline passed, or their caller gave them up or went away.
    pub dropped: u64,
    /// Microseconds that those which ended took together, waiting included.
    pub total_us: u64,
    /// The longest of them.
    pub max_us: u64,
}

/// The requests of one server since it was made.
#[derive(Debug)]
pub struct RequestCounters {
    started: SystemTime,
    since: Instant,
    /// One for each call of the services that are served: peers cannot make up names.
    by_name: RwLock<HashMap<Box<str>, Arc<Counter>>>,
}

impl Default for RequestCounters {
    fn default() -> Self {
        Self { started: SystemTime::now(), since: Instant::now(), by_name: RwLock::default() }
    }
}

impl RequestCounters {
    /// When counting began.
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// How long ago that was.
    pub fn uptime(&self) -> Duration {
        self.since.elapsed()
    }

    /// Of all calls that were made at least once, in the order of their names.
    pub fn counts(&self) -> Vec<RequestCounts> {
        let by_name = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        let mut counts: Vec<_> = by_name.iter().map(|(name, counter)| counter.counts(name)).collect();
        counts.sort_by(|a, b| a.name.cmp(&b.name));
        counts
    }

    /// A request begins.
    pub(super) fn begin(&self, name: &str) -> InFlight {
        let counter = self.counter(name);
        counter.calls.fetch_add(1, Ordering::Relaxed);
        InFlight { counter, began: Instant::now(), end: End::Dropped }
    }

    fn counter(&self, name: &str) -> Arc<Counter> {
        let known = self.by_name.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        known.unwrap_or_else(|| {
            let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
            by_name.entry(name.into()).or_default().clone()
        })
    }
}

#[derive(Debug, Default)]
struct Counter {
    calls: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    total_us: AtomicU64,
    max_us: AtomicU64,
}

impl Counter {
    fn end(&self, end: End, took: Duration) {
        let us = micros(took);
        self.total_us.fetch_add(us, Ordering::Relaxed);
        // Nearly always there was a longer one: looking is cheaper than replacing.
        if us > self.max_us.load(Ordering::Relaxed) {
            self.max_us.fetch_max(us, Ordering::Relaxed);
        }
        let ended = match end {
            End::Answered => &self.answered,
            End::Failed => &self.failed,
            End::Dropped => &self.dropped,
        };
        ended.fetch_add(1, Ordering::Relaxed);
    }

    fn counts(&self, name: &str) -> RequestCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (answered, failed, dropped) = (load(&self.answered), load(&self.failed), load(&self.dropped));
        let calls = load(&self.calls);
        RequestCounts {
            name: name.to_owned(),
            calls,
            in_flight: calls.saturating_sub(answered + failed + dropped),
            failed,
            dropped,
            total_us: load(&self.total_us),
            max_us: load(&self.max_us),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum End {
    Answered,
    Failed,
    Dropped,
}

/// A request that is being handled. Dropped before its end, it counts as dropped.
#[derive(Debug)]
pub(super) struct InFlight {
    counter: Arc<Counter>,
    began: Instant,
    end: End,
}

impl InFlight {
    pub(super) fn answered(mut self) {
        self.end = End::Answered;
    }

    pub(super) fn failed(mut self) {
        self.end = End::Failed;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.counter.end(self.end, self.began.elapsed());
    }
}

/// Rounded to the nearest, so that the mean of many short calls is right.
fn micros(took: Duration) -> u64 {
    took.as_secs() * 1_000_000 + (u64::from(took.subsec_nanos()) + 500) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(counters: &RequestCounters) -> RequestCounts {
        let [counts] = <[_; 1]>::try_from(counters.counts()).unwrap();
        counts
    }

    #[test]
    fn every_end_is_counted_once() {
        let counters = RequestCounters::default();
        assert_eq!(counters.counts(), []);
        let (first, second, third) = (counters.begin("S.a"), counters.begin("S.a"), counters.begin("S.a"));
        let in_flight = only(&counters);
        assert_eq!((in_flight.calls, in_flight.in_flight, in_flight.total_us), (3, 3, 0));
        first.answered();
        second.failed();
        let _fourth = counters.begin("S.a");
        drop(third);
        let counts = only(&counters);
        assert_eq!((counts.name.as_str(), counts.calls, counts.in_flight), ("S.a", 4, 1));
        assert_eq!((counts.failed, counts.dropped), (1, 1));
        assert!(counts.max_us <= counts.total_us);
    }

    #[test]
    fn names_are_apart_and_in_order() {
        let counters = RequestCounters::default();
        for name in ["S.c", "S.a", "R.z", "S.b", "S.a"] {
            counters.begin(name).answered();
        }
        let counts: Vec<_> = counters.counts().into_iter().map(|counts| (counts.name, counts.calls)).collect();
        let expected = [("R.z", 1), ("S.a", 2), ("S.b", 1), ("S.c", 1)];
        assert_eq!(counts, expected.map(|(name, calls)| (name.to_owned(), calls)));
    }

    #[test]
    fn times_add_up() {
        let counter = Counter::default();
        for (end, nanos) in [(End::Answered, 1_400), (End::Answered, 2_600), (End::Dropped, 5_000_000_000)] {
            counter.end(end, Duration::from_nanos(nanos));
        }
        counter.end(End::Failed, Duration::from_micros(7));
        let counts = counter.counts("S.a");
        assert_eq!((counts.total_us, counts.max_us), (1 + 3 + 5_000_000 + 7, 5_000_000));
        // It was never begun.
        assert_eq!((counts.calls, counts.in_flight), (0, 0));
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        const THREADS: u64 = 4;
        const CALLS: u64 = 1_000;
        let counters = RequestCounters::default();
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for n in 0..CALLS {
                        counters.begin(["S.a", "S.b"][n as usize % 2]).answered();
                    }
                });
            }
        });
        for counts in counters.counts() {
            assert_eq!((counts.calls, counts.in_flight), (THREADS * CALLS / 2, 0), "{}", counts.name);
        }
    }
}
