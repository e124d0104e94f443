//! Points in time on the clock of validity.

use std::time::Duration;

use cairn_runtime::clock::Clock;

/// A point in time of a [`Clock`]; comparable with others of the same clock only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(Duration);

impl Moment {
    /// Goes on while the machine is suspended: what was cached before is old afterwards.
    pub fn now(clock: &dyn Clock) -> Self {
        Self(clock.monotonic())
    }

    /// This moment and `later` after it.
    pub fn after(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }

    /// Time from `earlier` to this moment; zero where it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
