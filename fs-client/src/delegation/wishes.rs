//! Which directories are worth asking for: those that this mount uses again and again.

use std::collections::HashMap;
use std::time::Duration;

use cairn_proto::ids::InodeId;

use crate::cache::Moment;

/// Uses further apart than this do not count together.
const WINDOW: Duration = Duration::from_secs(2);
/// After a refusal or a recall a directory is left alone for so long; after each further one twice as long.
const REST: Duration = Duration::from_secs(2);
/// And at most so long.
const LONGEST_REST: Duration = Duration::from_secs(64);
/// When nothing has come of it for so long, what was before is forgotten.
const FORGET: Duration = Duration::from_secs(120);
/// Points at which a directory is asked for.
const ENOUGH: u32 = 16;
/// Directories that are watched; beyond that all are forgotten, which costs little.
const MAX_WATCHED: usize = 4096;

/// How a directory was used without a delegation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// One of its names was looked up.
    Read,
    /// It was changed.
    Change,
}

#[derive(Debug, Default)]
pub(super) struct Wishes {
    watched: HashMap<InodeId, Watch>,
}

#[derive(Debug)]
struct Watch {
    points: u32,
    since: Moment,
    rests_until: Moment,
    /// The last rest.
    rest: Duration,
}

impl Watch {
    fn new(now: Moment) -> Self {
        Self { points: 0, since: now, rests_until: Moment::default(), rest: Duration::ZERO }
    }
}

impl Wishes {
    /// Counts a use; says whether the directory is to be asked for now.
    pub fn count(&mut self, dir: InodeId, how: Use, now: Moment) -> bool {
        if self.watched.len() >= MAX_WATCHED {
            self.watched.clear();
        }
        let watch = self.watched.entry(dir).or_insert_with(|| Watch::new(now));
        if now.since(watch.since) > WINDOW {
            (watch.points, watch.since) = (0, now);
        }
        watch.points += match how {
            Use::Read => 1,
            Use::Change => ENOUGH / 2,
        };
        let due = watch.points >= ENOUGH && watch.rests_until.since(now).is_zero();
        if due {
            (watch.points, watch.since) = (0, now);
        }
        due
    }

    /// The directory is used by others, too.
    pub fn rest(&mut self, dir: InodeId, now: Moment) {
        let watch = self.watched.entry(dir).or_insert_with(|| Watch::new(now));
        if now.since(watch.rests_until) > FORGET {
            watch.rest = Duration::ZERO;
        }
        watch.rest = (watch.rest * 2).clamp(REST, LONGEST_REST);
        (watch.points, watch.since, watch.rests_until) = (0, now, now.after(watch.rest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIR: InodeId = InodeId(5);

    fn at(millis: u64) -> Moment {
        Moment::default().after(Duration::from_millis(1_000_000 + millis))
    }

    #[test]
    fn two_changes_or_many_looks_in_a_short_time_are_enough() {
        let mut wishes = Wishes::default();
        assert!(!wishes.count(DIR, Use::Change, at(0)));
        assert!(wishes.count(DIR, Use::Change, at(10)));
        assert!(!wishes.count(DIR, Use::Change, at(20)), "counted anew");
        assert!(!wishes.count(DIR, Use::Change, at(5000)), "too far apart");
        let looks = (0..u64::from(ENOUGH)).filter(|i| wishes.count(DIR, Use::Read, at(10_000 + i))).count();
        assert_eq!(looks, 1);
    }

    #[test]
    fn a_directory_that_others_use_is_left_alone_longer_and_longer() {
        let mut wishes = Wishes::default();
        assert!(asks(&mut wishes, 0));
        wishes.rest(DIR, at(0));
        assert!(!asks(&mut wishes, 1999) && asks(&mut wishes, 2000));
        wishes.rest(DIR, at(2000));
        assert!(!asks(&mut wishes, 5999) && asks(&mut wishes, 6000));
        wishes.rest(DIR, at(200_000));
        assert!(!asks(&mut wishes, 201_999) && asks(&mut wishes, 202_000), "long ago is forgotten");
    }

    /// Uses the directory as much as it takes.
    fn asks(wishes: &mut Wishes, now: u64) -> bool {
        let once = wishes.count(DIR, Use::Change, at(now));
        wishes.count(DIR, Use::Change, at(now)) || once
    }
}
