//! When a read that takes long is asked for at another server, too, and how often that may be. Pure.
//!
//! What makes one read slow is often an accident of one server, so asking a second one helps. When all are slow it would only add to
//! their load: so hedges have a budget, earned by reads.

use std::time::Duration;

use super::latency::{Recent, SizeClass};

/// Reads that take longer than so many percent of all are hedged.
const PERCENTILE: u32 = 95;
/// Reads before that is known well enough.
const MIN_SAMPLES: u32 = 32;
/// What is taken for it until then.
const UNTAUGHT: Duration = Duration::from_millis(100);
/// Samples between two looks at the histogram.
const LOOK_EVERY: u32 = 16;
/// What a hedge costs; a read earns as many parts of it as the limit says percent.
const HEDGE_COST: u32 = 100;

/// When reads are hedged, and how often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HedgeLimits {
    /// Hedges for a hundred reads at most, over time. 0: none.
    pub percent: u32,
    /// Hedges at once, after a time without any.
    pub burst: u32,
    /// No read is hedged earlier: below, it is this machine's own noise.
    pub floor: Duration,
    /// Every read that takes longer is hedged, as far as the budget goes, however slow reads have been.
    pub cap: Duration,
}

impl Default for HedgeLimits {
    fn default() -> Self {
        Self { percent: 5, burst: 10, floor: Duration::from_millis(10), cap: Duration::from_millis(500) }
    }
}

/// The budget, and what reads took of late.
#[derive(Debug)]
pub(super) struct Hedging {
    limits: HedgeLimits,
    earned: u32,
    by_size: [BySize; SizeClass::ALL.len()],
}

#[derive(Debug)]
struct BySize {
    recent: Recent,
    delay: Duration,
    unseen: u32,
}

impl Hedging {
    pub(super) fn new(limits: HedgeLimits) -> Self {
        let delay = limits.bound(UNTAUGHT);
        let by_size = SizeClass::ALL.map(|_| BySize { recent: Recent::default(), delay, unseen: 0 });
        let mut hedging = Self { limits, earned: 0, by_size };
        hedging.earned = hedging.most();
        hedging
    }

    fn most(&self) -> u32 {
        if self.limits.percent == 0 { 0 } else { self.limits.burst.saturating_mul(HEDGE_COST) }
    }

    /// A read begins.
    pub(super) fn earn(&mut self) {
        self.earned = self.earned.saturating_add(self.limits.percent).min(self.most());
    }

    /// Whether there is budget for a hedge; then it is spent.
    pub(super) fn spend(&mut self) -> bool {
        let rest = self.earned.checked_sub(HEDGE_COST);
        self.earned = rest.unwrap_or(self.earned);
        rest.is_some()
    }

    /// A call was answered.
    pub(super) fn learn(&mut self, size: SizeClass, took: Duration) {
        let by_size = &mut self.by_size[size as usize];
        by_size.recent.learn(took);
        by_size.unseen += 1;
        if by_size.unseen >= LOOK_EVERY && by_size.recent.samples() >= MIN_SAMPLES {
            by_size.delay = self.limits.bound(by_size.recent.percentile(PERCENTILE));
            by_size.unseen = 0;
        }
    }

    /// How long a read waits for its first server alone.
    pub(super) fn delay(&self, size: SizeClass) -> Duration {
        self.by_size[size as usize].delay
    }
}

impl HedgeLimits {
    fn bound(&self, delay: Duration) -> Duration {
        delay.min(self.cap).max(self.floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: SizeClass = SizeClass::Small;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn hedges_are_no_more_than_their_share_of_reads() {
        let mut hedging = Hedging::new(HedgeLimits { percent: 5, burst: 3, ..HedgeLimits::default() });
        let sent = (0..1000).filter(|_| {
            hedging.earn();
            hedging.spend()
        });
        let sent = sent.count();
        assert!((50..=53).contains(&sent), "{sent} of 1000 reads, each of them slow");
        for _ in 0..1000 {
            hedging.earn();
        }
        assert_eq!((0..10).filter(|_| hedging.spend()).count(), 3, "no more at once");
    }

    #[test]
    fn none_where_there_are_to_be_none() {
        let mut hedging = Hedging::new(HedgeLimits { percent: 0, ..HedgeLimits::default() });
        hedging.earn();
        assert!(!hedging.spend());
    }

    #[test]
    fn the_delay_is_what_most_reads_take_within_its_bounds() {
        let mut hedging = Hedging::new(HedgeLimits::default());
        assert_eq!(hedging.delay(SMALL), UNTAUGHT);
        let mut after = |took: Duration| {
            for _ in 0..1000 {
                hedging.learn(SMALL, took);
            }
            hedging.delay(SMALL)
        };
        assert_eq!(after(ms(1)), ms(10), "the floor");
        let delay = after(ms(40));
        assert!(delay >= ms(40) && delay <= ms(50), "{delay:?}");
        assert_eq!(after(ms(3000)), ms(500), "the cap");
        assert_eq!(hedging.delay(SizeClass::Large), UNTAUGHT, "large reads are another matter");
    }

    #[test]
    fn a_few_slow_ones_do_not_move_it() {
        let mut hedging = Hedging::new(HedgeLimits::default());
        for n in 0..1000 {
            hedging.learn(SMALL, if n % 40 == 0 { ms(400) } else { ms(20) });
        }
        assert!(hedging.delay(SMALL) < ms(30), "{:?}", hedging.delay(SMALL));
    }
}
