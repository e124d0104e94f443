//! A clock that stands still while nobody looks at it.
//!
//! Silence is judged by what this process heard. After it was stopped itself (SIGSTOP, a suspended machine, a disk that hung for a
//! minute), everybody seems to have been silent for as long, although their messages wait in the sockets. Time that nobody in
//! here noticed passing does not count: sessions and chunkservers then have what was left of their time when it began.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cairn_runtime::clock::Clock;
use parking_lot::Mutex;

/// Somebody asks for the time more often than this (the census does, every half second), or the process was away.
pub const LONGEST_BLINK: Duration = Duration::from_secs(2);

/// See the module. Its monotonic time is never ahead of the real one: leases judged by it last longer, never shorter.
#[derive(Debug)]
pub struct Attention {
    clock: Arc<dyn Clock>,
    looks: Mutex<Looks>,
}

#[derive(Debug)]
struct Looks {
    last: Duration,
    /// Time that passed unnoticed.
    missed: Duration,
}

impl Attention {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let looks = Looks { last: clock.monotonic(), missed: Duration::ZERO };
        Self { clock, looks: Mutex::new(looks) }
    }
}

impl Clock for Attention {
    fn wall(&self) -> SystemTime {
        self.clock.wall()
    }

    fn monotonic(&self) -> Duration {
        let mut looks = self.looks.lock();
        let now = self.clock.monotonic();
        let blink = now.saturating_sub(looks.last);
        let missed = blink.saturating_sub(LONGEST_BLINK);
        if !missed.is_zero() {
            tracing::warn!(?missed, "this process was away: nobody is blamed for that time");
            looks.missed += missed;
        }
        looks.last = now;
        now.saturating_sub(looks.missed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use cairn_runtime::clock::ManualClock;

    use super::*;

    #[test]
    fn time_that_nobody_noticed_does_not_count() {
        let manual = Arc::new(ManualClock::new(UNIX_EPOCH));
        let clock = Attention::new(manual.clone());
        let start = clock.monotonic();
        for _ in 0..10 {
            manual.advance(Duration::from_secs(1));
            clock.monotonic();
        }
        assert_eq!(clock.monotonic() - start, Duration::from_secs(10));
        manual.advance(Duration::from_secs(3600));
        assert_eq!(clock.monotonic() - start, Duration::from_secs(10) + LONGEST_BLINK);
        manual.advance(Duration::from_secs(1));
        assert_eq!(clock.monotonic() - start, Duration::from_secs(11) + LONGEST_BLINK);
        assert_eq!(clock.wall(), UNIX_EPOCH + Duration::from_secs(3611));
    }
}
