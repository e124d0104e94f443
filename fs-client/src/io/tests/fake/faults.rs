//! What goes wrong on the wire, by chance (seeded) or as scripted.

use std::collections::VecDeque;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What happens to the next call of its kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Script {
    Fine,
    /// It never left.
    NotSent,
    /// Done by the first so many members; then the connection is lost.
    LostAfter(usize),
    /// The connection is lost, and the call is done later all the same.
    LostButDoneLater(Duration),
    DamagedInTransit,
    /// The metaserver has moved on to another version meanwhile.
    Fenced,
}

/// The wire.
#[derive(Debug)]
pub struct Faults {
    rng: StdRng,
    /// One call in so many goes wrong; 0: none.
    pub one_in: u32,
    /// Longest wait before a member does its part.
    pub delay: Duration,
    /// For the next writes.
    pub writes: VecDeque<Script>,
    /// For the next syncs.
    pub syncs: VecDeque<Script>,
    /// Writes wait while this is held.
    pub hold_writes: Option<std::sync::Arc<tokio::sync::Semaphore>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            rng: StdRng::seed_from_u64(1),
            one_in: 0,
            delay: Duration::ZERO,
            writes: VecDeque::new(),
            syncs: VecDeque::new(),
            hold_writes: None,
        }
    }
}

impl Faults {
    pub fn seed(&mut self, seed: u64, one_in: u32, delay: Duration) {
        self.rng = StdRng::seed_from_u64(seed);
        self.one_in = one_in;
        self.delay = delay;
    }

    pub fn pause(&mut self) -> Duration {
        if self.delay.is_zero() { Duration::ZERO } else { self.rng.random_range(Duration::ZERO..self.delay) }
    }

    pub fn chance(&mut self) -> bool {
        self.one_in > 0 && self.rng.random_range(0..self.one_in) == 0
    }

    pub fn next_write(&mut self) -> Script {
        let scripted = self.writes.pop_front();
        scripted.unwrap_or_else(|| self.by_chance())
    }

    pub fn next_sync(&mut self) -> Script {
        match self.syncs.pop_front() {
            Some(script) => script,
            None if self.chance() => [Script::NotSent, Script::LostAfter(1)][self.rng.random_range(0..2)],
            None => Script::Fine,
        }
    }

    fn by_chance(&mut self) -> Script {
        if !self.chance() {
            return Script::Fine;
        }
        match self.rng.random_range(0..6) {
            0 => Script::NotSent,
            1 => Script::LostAfter(self.rng.random_range(0..3)),
            2 | 3 => Script::LostButDoneLater(Duration::from_millis(self.rng.random_range(0..40))),
            4 => Script::DamagedInTransit,
            _ => Script::Fenced,
        }
    }
}
