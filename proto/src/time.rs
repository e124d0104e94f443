//! Points in time as files carry them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Seconds and nanoseconds since the Unix epoch. `nanos` is below 1,000,000,000 and counts forward, before the epoch too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug, Default)]
pub struct Timestamp {
    pub secs: i64,
    pub nanos: u32,
}

impl Timestamp {
    /// The wall clock of this machine. Servers ask their `Clock` instead.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Nanoseconds since the epoch, saturating.
    pub fn as_nanos(self) -> i128 {
        i128::from(self.secs) * 1_000_000_000 + i128::from(self.nanos)
    }
}

impl Timestamp {
    /// From `earlier` until then; nothing where it is not earlier.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        let nanos = u64::try_from(self.as_nanos() - earlier.as_nanos());
        let is_later = self > earlier;
        if is_later { Duration::from_nanos(nanos.unwrap_or(u64::MAX)) } else { Duration::ZERO }
    }

    /// So much later, as far as times reach.
    pub fn saturating_add(self, by: Duration) -> Self {
        let nanos = self.nanos + by.subsec_nanos();
        let secs = self.secs.saturating_add_unsigned(by.as_secs()).saturating_add(i64::from(nanos / 1_000_000_000));
        Self { secs, nanos: nanos % 1_000_000_000 }
    }
}

impl From<SystemTime> for Timestamp {
    fn from(t: SystemTime) -> Self {
        match t.duration_since(UNIX_EPOCH) {
            Ok(d) => Self { secs: d.as_secs() as i64, nanos: d.subsec_nanos() },
            Err(before) => {
                let d = before.duration();
                match d.subsec_nanos() {
                    0 => Self { secs: -(d.as_secs() as i64), nanos: 0 },
                    n => Self { secs: -(d.as_secs() as i64) - 1, nanos: 1_000_000_000 - n },
                }
            }
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(t: Timestamp) -> Self {
        let whole = Duration::from_secs(t.secs.unsigned_abs());
        let base = if t.secs >= 0 { UNIX_EPOCH.checked_add(whole) } else { UNIX_EPOCH.checked_sub(whole) };
        base.and_then(|b| b.checked_add(Duration::from_nanos(u64::from(t.nanos)))).unwrap_or(UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences() {
        let at = |secs, nanos| Timestamp { secs, nanos };
        assert_eq!(at(5, 1).saturating_since(at(3, 2)), Duration::new(1, 999_999_999));
        assert_eq!(at(3, 2).saturating_since(at(5, 1)), Duration::ZERO);
        assert_eq!(at(i64::MAX, 0).saturating_since(at(0, 0)), Duration::from_nanos(u64::MAX));
        assert_eq!(at(3, 999_999_999).saturating_add(Duration::new(1, 1)), at(5, 0));
        assert_eq!(at(i64::MAX, 5).saturating_add(Duration::MAX).secs, i64::MAX);
    }

    #[test]
    fn both_sides_of_the_epoch() {
        for (secs, nanos) in [(0, 0), (1, 999_999_999), (-1, 1), (-2, 0), (i64::from(i32::MAX) + 1, 5)] {
            let t = Timestamp { secs, nanos };
            assert_eq!(Timestamp::from(SystemTime::from(t)), t);
        }
    }
}
