//! The times of writes that follow each other closely.
//!
//! Local file systems take modification times from a clock with ticks: writes within one have the same time, so that syncing the second
//! changes nothing of the inode. Likewise here: within a [`TICK`] of a write whose time the metaserver has, another one has that time too, and its
//! sync need not go there. But somebody who has looked at the time meanwhile must be able to tell that there was another write. (Linux does
//! the same since 6.13, by the name of multigrain timestamps.)

use std::time::Duration;

use cairn_proto::time::Timestamp;

/// As long as those of a kernel with 250 a second.
pub(super) const TICK: Duration = Duration::from_millis(4);

/// The time of this mount's last committed write, for as long as nobody has seen it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stamp {
    committed: Option<Timestamp>,
}

impl Stamp {
    /// A write of `mtime` is committed.
    pub(super) fn committed(&mut self, mtime: Timestamp) {
        self.committed = Some(mtime);
    }

    /// Somebody has looked at the file's times, or may; or it has got others.
    pub(super) fn seen(&mut self) {
        self.committed = None;
    }

    /// The modification time of a write at `now`, to a file of which the metaserver has the time `known`.
    pub(super) fn of_write(&self, now: Timestamp, known: Timestamp) -> Timestamp {
        let is_in_tick = |last: &Timestamp| *last == known && *last <= now && now.saturating_since(*last) < TICK;
        self.committed.filter(is_in_tick).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_in_one_tick_have_one_time_until_somebody_looks() {
        let at = |ms: u32| Timestamp { secs: 7, nanos: ms * 1_000_000 };
        let mut stamp = Stamp::default();
        assert_eq!(stamp.of_write(at(1), at(1)), at(1), "nothing is committed");
        stamp.committed(at(1));
        for (now, want) in [(1, 1), (4, 1), (5, 5)] {
            assert_eq!(stamp.of_write(at(now), at(1)), at(want));
        }
        assert_eq!(stamp.of_write(at(0), at(1)), at(0), "the clock was set back");
        assert_eq!(stamp.of_write(at(4), at(3)), at(4), "it has another time since");
        stamp.seen();
        assert_eq!(stamp.of_write(at(4), at(1)), at(4));
    }
}
