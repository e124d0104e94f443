//! How long reads take: of one server on average, and of all of them at the 95th percentile. Pure.

use std::time::Duration;

use super::breaker::Moment;

/// A new sample counts for one part in so many.
const WEIGHT: u64 = 8;
/// An estimate that no sample has confirmed for so long counts half: a server that was slow gets another chance.
const HALF_LIFE: Duration = Duration::from_secs(10);

/// Requests up to this size are small.
const SMALL_BYTES: u32 = 64 << 10;

/// How large a read is: a megabyte takes longer than a block, wherever it comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SizeClass {
    Small,
    Large,
}

impl SizeClass {
    pub(super) const ALL: [Self; 2] = [Self::Small, Self::Large];

    pub(super) fn of(bytes: u32) -> Self {
        if bytes <= SMALL_BYTES { Self::Small } else { Self::Large }
    }
}

/// The moving average of one server's reads, exponentially weighted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Estimate {
    nanos: u64,
    /// When there was a sample last.
    at: Moment,
}

impl Estimate {
    pub(super) fn learn(&mut self, took: Duration, now: Moment) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let before = self.nanos_at(now);
        self.nanos = if before == 0 { took } else { before - before / WEIGHT + took / WEIGHT };
        self.at = now;
    }

    /// Zero where nothing is known: whoever is not known is to be tried.
    pub(super) fn at(&self, now: Moment) -> Duration {
        Duration::from_nanos(self.nanos_at(now))
    }

    fn nanos_at(&self, now: Moment) -> u64 {
        let half_lives = now.saturating_sub(self.at).as_secs() / HALF_LIFE.as_secs();
        self.nanos.checked_shr(u32::try_from(half_lives).unwrap_or(u32::MAX)).unwrap_or(0)
    }
}

/// Steps of the histogram in each doubling: bounds are a fifth to a quarter apart.
const STEPS: u32 = 4;
/// The first bound is 2^14 ns, 16 us: what is faster is as fast.
const FIRST_POWER: u32 = 14;
/// The last one is 2^34 ns, 17 s: longer than any call may take.
const POWERS: u32 = 20;
const BUCKETS: usize = (POWERS * STEPS) as usize;
/// With so many samples all counts are halved: older ones fade.
const MAX_SAMPLES: u32 = 1024;

/// How long the reads of late took, as a histogram.
#[derive(Clone, Debug)]
pub(super) struct Recent {
    counts: [u16; BUCKETS],
    samples: u32,
}

impl Default for Recent {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], samples: 0 }
    }
}

impl Recent {
    pub(super) fn learn(&mut self, took: Duration) {
        self.counts[bucket(took)] += 1;
        self.samples += 1;
        if self.samples >= MAX_SAMPLES {
            for count in &mut self.counts {
                *count /= 2;
            }
            self.samples = self.counts.iter().map(|count| u32::from(*count)).sum();
        }
    }

    pub(super) fn samples(&self) -> u32 {
        self.samples
    }

    /// So many percent took no longer than this. Zero without samples.
    pub(super) fn percentile(&self, percent: u32) -> Duration {
        let wanted = (self.samples * percent).div_ceil(100);
        let mut so_far = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            so_far += u32::from(*count);
            if so_far >= wanted && wanted > 0 {
                return upper_bound(bucket);
            }
        }
        Duration::ZERO
    }
}

fn bucket(took: Duration) -> usize {
    let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1 << FIRST_POWER);
    let power = nanos.ilog2();
    let step = (nanos >> (power - STEPS.ilog2())) as u32 % STEPS;
    (((power - FIRST_POWER) * STEPS + step) as usize).min(BUCKETS - 1)
}

fn upper_bound(bucket: usize) -> Duration {
    let (power, step) = (bucket as u32 / STEPS + FIRST_POWER, bucket as u64 % u64::from(STEPS));
    Duration::from_nanos(((u64::from(STEPS) + step + 1) << power) / u64::from(STEPS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn an_estimate_follows_its_samples_and_fades() {
        let mut estimate = Estimate::default();
        let start = Moment::from_secs(100);
        assert_eq!(estimate.at(start), Duration::ZERO);
        estimate.learn(ms(8), start);
        assert_eq!(estimate.at(start), ms(8));
        estimate.learn(ms(16), start);
        assert_eq!(estimate.at(start), ms(9));
        for _ in 0..50 {
            estimate.learn(ms(2), start);
        }
        assert!((ms(2)..ms(3)).contains(&estimate.at(start)), "{estimate:?}");
        estimate.learn(ms(2), start);
        let now = estimate.at(start);
        assert_eq!(estimate.at(start + HALF_LIFE), now / 2);
        assert_eq!(estimate.at(start + 20 * HALF_LIFE), now / (1 << 20));
        assert_eq!(estimate.at(start + 1000 * HALF_LIFE), Duration::ZERO);
        estimate.learn(Duration::MAX, start);
    }

    #[test]
    fn percentiles_are_right_to_a_quarter() {
        let mut recent = Recent::default();
        assert_eq!(recent.percentile(95), Duration::ZERO);
        for n in 1..=100 {
            recent.learn(ms(n));
        }
        for (percent, exact) in [(1, 1), (50, 50), (95, 95), (100, 100)] {
            let found = recent.percentile(percent);
            assert!(found >= ms(exact) && found <= ms(exact) * 5 / 4, "{percent}: {found:?}");
        }
        for extreme in [Duration::ZERO, Duration::from_nanos(1 << 14), Duration::from_secs(17), Duration::MAX] {
            let bound = upper_bound(bucket(extreme));
            assert!(bound >= extreme.min(Duration::from_secs(17)), "{extreme:?} {bound:?}");
        }
    }

    #[test]
    fn old_samples_fade() {
        let mut recent = Recent::default();
        for _ in 0..MAX_SAMPLES {
            recent.learn(ms(1));
        }
        assert_eq!(recent.samples(), MAX_SAMPLES / 2);
        for _ in 0..10 * MAX_SAMPLES {
            recent.learn(ms(100));
        }
        assert!(recent.samples() < MAX_SAMPLES);
        assert!(recent.percentile(5) >= ms(100));
    }
}
