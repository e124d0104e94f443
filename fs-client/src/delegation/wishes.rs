//! Which directories are worth asking for: those that this mount uses again and again.

use std::collections::HashMap;
use std::time::Duration;

use cairn_proto::ids::InodeId;

use crate::cache::Moment;

/// Uses further apart than this do not count together.
const WINDOW: Duration = Duration::from_secs(2);
/// After a refusal or a recall a directory is left alone for so long.
const REST: Duration = Duration::from_secs(2);
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
}

impl Wishes {
    /// Counts a use; says whether the directory is to be asked for now.
    pub fn count(&mut self, dir: InodeId, how: Use, now: Moment) -> bool {
        if self.watched.len() >= MAX_WATCHED {
            self.watched.clear();
        }
        let fresh = || Watch { points: 0, since: now, rests_until: Moment::default() };
        let watch = self.watched.entry(dir).or_insert_with(fresh);
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
        self.watched.insert(dir, Watch { points: 0, since: now, rests_until: now.after(REST) });
    }
}
