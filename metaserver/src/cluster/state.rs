//! What silence means: when a chunkserver is suspect, when it is dead, and what follows for the chunks that it is a member of.

use std::time::Duration;

use cairn_proto::admin::{ServerMode, ServerState};
use cairn_proto::time::Timestamp;

use crate::Moment;

/// How long a chunkserver may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Silent for this long: no longer chosen for new chunks, and not counted on by writers.
    pub suspect_after: Duration,
    /// Silent for this long: its chunks are repaired elsewhere.
    pub dead_after: Duration,
    /// For a server that said goodbye: somebody is maintaining it, and it gets more time to return.
    pub stopped_grace: Duration,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            suspect_after: Duration::from_secs(10),
            dead_after: Duration::from_secs(60),
            stopped_grace: Duration::from_secs(600),
        }
    }
}

/// How far a server's registration has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Registered; the last page of its report is still to come.
    Joining,
    /// Its report is complete.
    Serving,
    /// It said goodbye, or this metaserver knows it from before its own restart only.
    Absent,
}

/// What is meant to become of a server, by this process's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Intent {
    #[default]
    Serve,
    Leave,
    /// It may be away until then.
    Pause {
        until: Moment,
    },
}

impl Intent {
    /// `wall` and `now` are the same moment.
    pub fn new(mode: ServerMode, wall: Timestamp, now: Moment) -> Self {
        match mode {
            ServerMode::InService => Self::Serve,
            ServerMode::Draining => Self::Leave,
            ServerMode::Maintenance { until, .. } => {
                Self::Pause { until: now.saturating_add(until.saturating_since(wall)) }
            }
        }
    }

    fn is_pause_at(self, now: Moment) -> bool {
        matches!(self, Self::Pause { until } if now < until)
    }
}

/// What is known of how a server is.
#[derive(Clone, Copy, Debug)]
pub struct Signs {
    pub phase: Phase,
    pub last_heard: Moment,
    pub intent: Intent,
}

/// What a member's server is worth to a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is heard from.
    Up,
    /// It is silent, and may come back with what it holds.
    Away,
    /// It is given up: its copies are made anew elsewhere.
    Lost,
}

impl Signs {
    pub fn silent(&self, now: Moment) -> Duration {
        now.saturating_sub(self.last_heard)
    }

    fn is_heard_from(&self, now: Moment, thresholds: &Thresholds) -> bool {
        self.phase != Phase::Absent && self.silent(now) < thresholds.suspect_after
    }

    /// What people are told.
    pub fn state(&self, now: Moment, thresholds: &Thresholds) -> ServerState {
        if self.intent.is_pause_at(now) {
            return ServerState::Maintenance;
        }
        if !self.is_heard_from(now, thresholds) {
            let is_dead = self.silent(now) >= thresholds.dead_after;
            return if is_dead { ServerState::Dead } else { ServerState::Suspect };
        }
        match (self.intent, self.phase) {
            (Intent::Leave, _) => ServerState::Draining,
            (_, Phase::Serving) => ServerState::Healthy,
            (_, Phase::Joining | Phase::Absent) => ServerState::Joining,
        }
    }

    /// What it is worth to the chunks that it is a member of.
    pub fn standing(&self, now: Moment, thresholds: &Thresholds) -> Standing {
        if self.is_heard_from(now, thresholds) {
            Standing::Up
        } else if self.intent.is_pause_at(now) || self.silent(now) < thresholds.dead_after {
            Standing::Away
        } else {
            Standing::Lost
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Thresholds = Thresholds {
        suspect_after: Duration::from_secs(10),
        dead_after: Duration::from_secs(60),
        stopped_grace: Duration::from_secs(600),
    };

    const HEARD: Moment = Moment::from_secs(1000);

    fn after(seconds: u64, phase: Phase, intent: Intent) -> (ServerState, Standing) {
        let signs = Signs { phase, last_heard: HEARD, intent };
        let now = HEARD + Duration::from_secs(seconds);
        (signs.state(now, &T), signs.standing(now, &T))
    }

    #[test]
    fn silence_makes_suspect_then_dead() {
        let expected = [
            (Phase::Joining, 0, ServerState::Joining, Standing::Up),
            (Phase::Serving, 9, ServerState::Healthy, Standing::Up),
            (Phase::Serving, 10, ServerState::Suspect, Standing::Away),
            (Phase::Joining, 10, ServerState::Suspect, Standing::Away),
            (Phase::Serving, 60, ServerState::Dead, Standing::Lost),
            (Phase::Absent, 0, ServerState::Suspect, Standing::Away),
            (Phase::Absent, 60, ServerState::Dead, Standing::Lost),
        ];
        for (phase, seconds, state, standing) in expected {
            assert_eq!(after(seconds, phase, Intent::Serve), (state, standing), "{phase:?} {seconds}");
        }
    }

    #[test]
    fn maintenance_buys_time() {
        let pause = Intent::Pause { until: HEARD + Duration::from_secs(600) };
        assert_eq!(after(1, Phase::Serving, pause), (ServerState::Maintenance, Standing::Up), "it still serves");
        assert_eq!(after(1, Phase::Absent, pause), (ServerState::Maintenance, Standing::Away));
        assert_eq!(after(599, Phase::Serving, pause), (ServerState::Maintenance, Standing::Away));
        assert_eq!(after(600, Phase::Serving, pause), (ServerState::Dead, Standing::Lost));
    }

    #[test]
    fn who_leaves_is_up_until_it_is_gone() {
        assert_eq!(after(1, Phase::Serving, Intent::Leave), (ServerState::Draining, Standing::Up));
        assert_eq!(after(11, Phase::Serving, Intent::Leave), (ServerState::Suspect, Standing::Away));
        assert_eq!(after(60, Phase::Serving, Intent::Leave), (ServerState::Dead, Standing::Lost));
    }

    #[test]
    fn a_time_limit_is_kept_by_the_clock_that_does_not_jump() {
        let wall = Timestamp { secs: 500, nanos: 0 };
        let until = |secs| ServerMode::Maintenance { until: Timestamp { secs, nanos: 0 }, announced: false };
        let in_ten = Intent::Pause { until: HEARD + Duration::from_secs(10) };
        assert_eq!(Intent::new(until(510), wall, HEARD), in_ten);
        assert_eq!(Intent::new(until(490), wall, HEARD), Intent::Pause { until: HEARD }, "it is over");
    }
}
