//! Time as an argument, so that tests can hold it still.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// The two clocks that CairnFS asks: one for what users see, one for everything that must not jump.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time of day. May jump in both directions.
    fn wall(&self) -> SystemTime;

    /// Time since some fixed moment. Never goes back, and goes on while the machine is suspended.
    fn monotonic(&self) -> Duration;

    /// The time of day in nanoseconds since the Unix epoch, saturating.
    fn wall_nanos(&self) -> i64 {
        match self.wall().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
        }
    }
}

/// The clocks of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    /// `CLOCK_BOOTTIME`, which `std::time::Instant` is not: that one stands still in suspend, and a laptop that wakes up
    /// would believe in leases that ran out hours ago.
    fn monotonic(&self) -> Duration {
        let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME exists since Linux 2.6.39");
        now.into()
    }
}

/// A clock that moves when told to.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<Now>,
}

#[derive(Clone, Copy, Debug)]
struct Now {
    wall: SystemTime,
    monotonic: Duration,
}

impl ManualClock {
    pub fn new(wall: SystemTime) -> Self {
        Self { now: Mutex::new(Now { wall, monotonic: Duration::ZERO }) }
    }

    /// Lets `by` pass, on both clocks.
    pub fn advance(&self, by: Duration) {
        let mut now = self.lock();
        now.wall += by;
        now.monotonic += by;
    }

    /// Somebody sets the time of day. The monotonic clock does not notice.
    pub fn set_wall(&self, wall: SystemTime) {
        self.lock().wall = wall;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> SystemTime {
        self.lock().wall
    }

    fn monotonic(&self) -> Duration {
        self.lock().monotonic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_clock_goes_on() {
        let before = SystemClock.monotonic();
        std::thread::sleep(Duration::from_millis(5));
        assert!(SystemClock.monotonic() >= before + Duration::from_millis(5));
        assert!(SystemClock.wall_nanos() > 1_700_000_000_000_000_000);
    }

    #[test]
    fn manual_clock_moves_when_told() {
        let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(10));
        assert_eq!(clock.wall_nanos(), 10_000_000_000);
        clock.advance(Duration::from_millis(1500));
        assert_eq!((clock.wall_nanos(), clock.monotonic()), (11_500_000_000, Duration::from_millis(1500)));
        clock.set_wall(UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!((clock.wall_nanos(), clock.monotonic()), (-1_000_000_000, Duration::from_millis(1500)));
    }
}
