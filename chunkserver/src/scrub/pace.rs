//! How fast the scrub goes: decided from values.

use std::time::Duration;

/// Longest rest between two pieces: where there is little to read, it is read earlier than need be.
const LONGEST_REST: Duration = Duration::from_secs(3600);
/// What is late, because the server was off, is made up for at so many times the speed at which all would fill the period.
const CATCH_UP: u32 = 10;
/// While clients have requests here, it takes this part of the time that it would take otherwise; and of the disk's time this one in all.
const BUSY: u32 = 4;
/// For how long bytes are counted to say how fast it is.
const WINDOW: Duration = Duration::from_secs(10);

/// What a pass is after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// To be through when the period is over.
    Within { time_left: Duration, period: Duration },
    /// To be through soon.
    AtOnce { bytes_per_s: Option<u64> },
}

/// How it goes at the moment.
#[derive(Clone, Copy, Debug)]
pub struct Pacing {
    /// Bytes that are left after this piece.
    pub left: u64,
    /// Bytes of the whole pass.
    pub all: u64,
    /// How long it took to read this piece.
    pub took: Duration,
    /// Clients have requests here.
    pub busy: bool,
}

/// How long to rest after a piece of `bytes` bytes.
pub fn pause(bytes: u64, goal: Goal, at: Pacing) -> Duration {
    let pause = match goal {
        // The next pass waits for its own time.
        Goal::Within { .. } if at.left == 0 => Duration::ZERO,
        Goal::Within { time_left, period } => {
            let left = at.left.saturating_add(bytes);
            let whole = within(time_left, period, left, at.all);
            whole.mul_f64(bytes as f64 / left as f64).min(LONGEST_REST).saturating_sub(at.took)
        }
        Goal::AtOnce { bytes_per_s: Some(rate) } => at_rate(bytes, rate).saturating_sub(at.took),
        Goal::AtOnce { bytes_per_s: None } => Duration::ZERO,
    };
    match at.busy {
        // Late because of them, it goes faster when they are done.
        true => pause.saturating_mul(BUSY).min(LONGEST_REST).max(at.took * (BUSY - 1)),
        false => pause,
    }
}

/// Until a pass ends, as it is going at `rate`.
pub fn time_left(goal: Goal, left: u64, all: u64, rate: u64) -> Duration {
    match goal {
        _ if left == 0 => Duration::ZERO,
        Goal::Within { time_left, period } => within(time_left, period, left, all),
        Goal::AtOnce { bytes_per_s } => at_rate(left, bytes_per_s.map_or(rate, |limit| limit.min(rate))),
    }
}

/// In which time to read `left` bytes of `all`.
fn within(time_left: Duration, period: Duration, left: u64, all: u64) -> Duration {
    let part = left as f64 / (all.max(1) as f64 * f64::from(CATCH_UP));
    time_left.max(period.mul_f64(part.min(1.0)))
}

fn at_rate(bytes: u64, rate: u64) -> Duration {
    Duration::try_from_secs_f64(bytes as f64 / rate.max(1) as f64).unwrap_or(Duration::MAX)
}

/// Bytes per second, of late.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    since: Duration,
    bytes: u64,
    /// In the window before.
    before: Option<u64>,
}

impl Speed {
    pub fn new(now: Duration) -> Self {
        Self { since: now, bytes: 0, before: None }
    }

    pub fn add(&mut self, bytes: u64, now: Duration) {
        self.bytes += bytes;
        if now.saturating_sub(self.since) >= WINDOW {
            *self = Self { since: now, bytes: 0, before: Some(self.current(now)) };
        }
    }

    pub fn now(&self, now: Duration) -> u64 {
        self.before.unwrap_or_else(|| self.current(now))
    }

    fn current(&self, now: Duration) -> u64 {
        let millis = now.saturating_sub(self.since).as_millis().max(1) as u64;
        self.bytes.saturating_mul(1000) / millis
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const DAY: Duration = Duration::from_secs(86_400);
    const IDLE: Pacing = Pacing { left: 999 * MIB, all: 2000 * MIB, took: Duration::from_millis(10), busy: false };

    #[test]
    fn the_rest_of_the_bytes_fills_the_rest_of_the_period() {
        let goal = Goal::Within { time_left: Duration::from_secs(1000), period: Duration::from_secs(2000) };
        assert_eq!(pause(MIB, goal, IDLE), Duration::from_millis(990));
        assert_eq!(time_left(goal, 1000 * MIB, 2000 * MIB, 5), Duration::from_secs(1000));
        assert_eq!(pause(MIB, goal, Pacing { left: 0, ..IDLE }), Duration::ZERO);
    }

    #[test]
    fn who_is_late_makes_haste_without_a_rush() {
        let goal = Goal::Within { time_left: Duration::ZERO, period: Duration::from_secs(20_000) };
        assert_eq!(pause(MIB, goal, IDLE), Duration::from_millis(990));
        assert_eq!(time_left(goal, 100 * MIB, 2000 * MIB, 5), Duration::from_secs(100));
    }

    #[test]
    fn where_there_is_little_it_is_done_early() {
        let goal = Goal::Within { time_left: 14 * DAY, period: 14 * DAY };
        assert!(pause(MIB, goal, Pacing { left: MIB, ..IDLE }) <= LONGEST_REST);
    }

    #[test]
    fn clients_come_first() {
        let busy = Pacing { busy: true, ..IDLE };
        let goal = Goal::Within { time_left: Duration::from_secs(1000), period: Duration::from_secs(1000) };
        assert_eq!(pause(MIB, goal, busy), Duration::from_millis(4 * 990));
        let at_once = Goal::AtOnce { bytes_per_s: None };
        assert_eq!(pause(MIB, at_once, IDLE), Duration::ZERO);
        assert_eq!(pause(MIB, at_once, busy), Duration::from_millis(30));
    }

    #[test]
    fn a_given_rate_is_kept() {
        let goal = Goal::AtOnce { bytes_per_s: Some(2 * MIB) };
        assert_eq!(pause(MIB, goal, IDLE), Duration::from_millis(490));
        assert_eq!(time_left(goal, 10 * MIB, 20 * MIB, 9 * MIB), Duration::from_secs(5));
        assert_eq!(time_left(Goal::AtOnce { bytes_per_s: None }, 10, 20, 0), Duration::from_secs(10));
        assert_eq!(pause(MIB, Goal::AtOnce { bytes_per_s: Some(u64::MAX) }, IDLE), Duration::ZERO);
    }

    #[test]
    fn speed_is_that_of_the_last_window() {
        let at = Duration::from_secs;
        let mut speed = Speed::new(at(100));
        speed.add(5 * MIB, at(105));
        assert_eq!(speed.now(at(105)), MIB);
        speed.add(15 * MIB, at(110));
        assert_eq!(speed.now(at(110)), 2 * MIB);
        speed.add(MIB, at(111));
        assert_eq!(speed.now(at(111)), 2 * MIB);
    }
}
