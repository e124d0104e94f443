//! How fast repair may copy: in the whole cluster, and to and from one server.
//!
//! A copy that begins takes what it needs of each limit at once, and the next one waits until that is paid for: so the average holds, and
//! nothing is kept waiting half done. What it has taken and not copied it gives back: an attempt that fails holds nobody up. Servers that
//! clients keep busy are given a part of their limit.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use cairn_proto::admin::Tunables;
use cairn_proto::ids::ServerId;
use parking_lot::Mutex;

use crate::Moment;

/// Requests in progress at a server from which on it counts as busy.
pub const BUSY_LOAD: u32 = 4;
/// What a busy server is given of its limit: one part in so many.
const BUSY_PART: u64 = 4;
/// Over which the present rate is taken.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// Bytes per second; `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub cluster: Option<u64>,
    pub server: Option<u64>,
}

/// One end of a copy.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub server: ServerId,
    /// Requests in progress there.
    pub load: u32,
}

/// What a copy that has begun has taken of the limits. Gives it back when it is dropped, but for what was copied.
#[derive(Debug)]
#[must_use]
pub struct Charge<'a> {
    throttle: &'a Throttle,
    /// For the bytes that it was admitted for, as long as they take.
    cluster: Duration,
    servers: [(ServerId, Duration); 2],
    bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Throttle {
    configured: Limits,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    tunables: Tunables,
    /// When what was begun is paid for.
    cluster: Moment,
    servers: HashMap<ServerId, Moment>,
    /// What was copied of late.
    done: VecDeque<(Moment, u64)>,
}

impl Throttle {
    pub fn new(configured: Limits, tunables: Tunables) -> Self {
        Self { configured, inner: Mutex::new(Inner { tunables, ..Inner::default() }) }
    }

    pub fn tune(&self, tunables: Tunables) {
        let mut inner = self.inner.lock();
        inner.tunables = tunables;
        // What was begun under the old limits is forgiven.
        inner.cluster = Moment::ZERO;
        inner.servers.clear();
    }

    pub fn is_paused(&self) -> bool {
        self.inner.lock().tunables.repair_paused
    }

    /// As they are now.
    pub fn limits(&self) -> Limits {
        let Tunables { repair_bytes_per_s, repair_server_bytes_per_s, .. } = self.inner.lock().tunables;
        let limit = |tuned: Option<u64>, configured| tuned.map_or(configured, |rate| Some(rate).filter(|&r| r > 0));
        Limits {
            cluster: limit(repair_bytes_per_s, self.configured.cluster),
            server: limit(repair_server_bytes_per_s, self.configured.server),
        }
    }

    /// A copy of so many bytes may begin now; or not before the moment that is answered.
    pub fn admit(&self, ends: [End; 2], bytes: u64, now: Moment) -> Result<Charge<'_>, Moment> {
        let limits = self.limits();
        let mut inner = self.inner.lock();
        let of_server = |end: &End| inner.servers.get(&end.server).copied().unwrap_or_default();
        let paid = ends.iter().map(of_server).chain([inner.cluster]).max().unwrap_or_default();
        if paid > now {
            return Err(paid);
        }
        let mut charge = Charge {
            throttle: self,
            cluster: Duration::ZERO,
            servers: ends.map(|end| (end.server, Duration::ZERO)),
            bytes,
        };
        if let Some(rate) = limits.cluster {
            charge.cluster = time_for(bytes, rate);
            inner.cluster = now + charge.cluster;
        }
        if let Some(rate) = limits.server {
            inner.servers.retain(|_, paid| *paid > now);
            for (end, (server, time)) in ends.iter().zip(&mut charge.servers) {
                let rate = if end.load >= BUSY_LOAD { rate / BUSY_PART } else { rate };
                *time = time_for(bytes, rate);
                inner.servers.insert(*server, now + *time);
            }
        }
        Ok(charge)
    }

    /// Bytes per second of late.
    pub fn rate(&self, now: Moment) -> u64 {
        let mut inner = self.inner.lock();
        inner.forget_before(now.saturating_sub(RATE_WINDOW));
        inner.done.iter().map(|(_, bytes)| bytes).sum::<u64>() / RATE_WINDOW.as_secs()
    }
}

impl Inner {
    fn forget_before(&mut self, then: Moment) {
        while self.done.front().is_some_and(|(at, _)| *at < then) {
            self.done.pop_front();
        }
    }
}

impl Charge<'_> {
    /// So much was copied. That much stays charged, and counts for the rate.
    pub fn copied(mut self, bytes: u64, now: Moment) {
        let left = 1.0 - (bytes as f64 / self.bytes.max(1) as f64).min(1.0);
        self.cluster = self.cluster.mul_f64(left);
        self.servers.iter_mut().for_each(|(_, time)| *time = time.mul_f64(left));
        let mut inner = self.throttle.inner.lock();
        inner.done.push_back((now, bytes));
        inner.forget_before(now.saturating_sub(RATE_WINDOW));
        // It is taken again for what is left.
        drop(inner);
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        let mut inner = self.throttle.inner.lock();
        inner.cluster = inner.cluster.saturating_sub(self.cluster);
        for (server, time) in self.servers {
            if let Some(paid) = inner.servers.get_mut(&server) {
                *paid = paid.saturating_sub(time);
            }
        }
    }
}

fn time_for(bytes: u64, rate: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const T: Moment = Moment::from_secs(1000);
    const SECOND: Duration = Duration::from_secs(1);

    fn ends(source: u128, target: u128, load: u32) -> [End; 2] {
        [source, target].map(|n| End { server: ServerId(Uuid::from_u128(n)), load })
    }

    /// Admits a copy, and copies all of it.
    fn copy(throttle: &Throttle, ends: [End; 2], bytes: u64, now: Moment) -> Result<(), Moment> {
        throttle.admit(ends, bytes, now).map(|charge| charge.copied(bytes, now))
    }

    fn throttle(cluster: Option<u64>, server: Option<u64>) -> Throttle {
        Throttle::new(Limits { cluster, server }, Tunables::default())
    }

    #[test]
    fn without_limits_all_may_begin() {
        let throttle = throttle(None, None);
        for _ in 0..10 {
            assert_eq!(copy(&throttle, ends(1, 2, 99), 1 << 40, T), Ok(()));
        }
    }

    #[test]
    fn a_servers_limit_holds_for_what_it_sends_and_takes() {
        let throttle = throttle(None, Some(100));
        assert_eq!(copy(&throttle, ends(1, 2, 0), 200, T), Ok(()));
        assert_eq!(copy(&throttle, ends(1, 3, 0), 1, T), Err(T + 2 * SECOND));
        assert_eq!(copy(&throttle, ends(3, 2, 0), 1, T), Err(T + 2 * SECOND));
        assert_eq!(copy(&throttle, ends(3, 4, 0), 1, T), Ok(()), "others may");
        assert_eq!(copy(&throttle, ends(1, 2, 0), 1, T + 2 * SECOND), Ok(()));
    }

    #[test]
    fn only_what_was_copied_is_charged() {
        let throttle = throttle(Some(100), Some(100));
        drop(throttle.admit(ends(1, 2, 0), 200, T).unwrap());
        assert_eq!(throttle.rate(T), 0);
        let charge = throttle.admit(ends(1, 2, 0), 200, T).expect("the attempt that failed costs nothing");
        assert_eq!(throttle.admit(ends(3, 4, 0), 1, T).err(), Some(T + 2 * SECOND), "it is under way");
        charge.copied(50, T);
        assert_eq!(copy(&throttle, ends(1, 3, 0), 1, T), Err(T + SECOND / 2), "less than was thought");
    }

    #[test]
    fn busy_servers_give_a_quarter() {
        let throttle = throttle(None, Some(100));
        assert_eq!(copy(&throttle, ends(1, 2, BUSY_LOAD), 100, T), Ok(()));
        assert_eq!(copy(&throttle, ends(1, 2, 0), 1, T), Err(T + 4 * SECOND));
    }

    #[test]
    fn operators_have_the_last_word() {
        let throttle = throttle(Some(100), None);
        assert_eq!(copy(&throttle, ends(1, 2, 0), 1000, T), Ok(()));
        assert_eq!(copy(&throttle, ends(3, 4, 0), 1, T), Err(T + 10 * SECOND));
        let none = Tunables { repair_bytes_per_s: Some(0), repair_paused: true, ..Tunables::default() };
        throttle.tune(none);
        assert_eq!(throttle.limits(), Limits::default());
        assert_eq!(copy(&throttle, ends(3, 4, 0), 1 << 40, T), Ok(()));
        assert!(throttle.is_paused());
    }

    #[test]
    fn the_rate_is_that_of_late() {
        let throttle = throttle(None, None);
        copy(&throttle, ends(1, 2, 0), 50, T).unwrap();
        copy(&throttle, ends(1, 2, 0), 50, T + 5 * SECOND).unwrap();
        assert_eq!(throttle.rate(T + 6 * SECOND), 10);
        assert_eq!(throttle.rate(T + 12 * SECOND), 5);
        assert_eq!(throttle.rate(T + 60 * SECOND), 0);
    }
}
