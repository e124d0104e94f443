//! What silence means: when a chunkserver is suspect, when it is dead, and what follows for the chunks that it is a member of.

use std::time::Duration;

use cairn_proto::admin::ServerState;

/// How long a chunkserver may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Silent for this long: no longer chosen for new chunks, and not counted on by writers.
    pub suspect_after: Duration,
    /// Silent for this long: its chunks are repaired elsewhere.
    pub dead_after: Duration,
    /// The same for a server that said goodbye: somebody is maintaining it, and it gets more time to return.
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
    Absent { goodbye: bool },
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

/// The state of a server in `phase` that has been silent for `silent`.
pub fn judge(phase: Phase, silent: Duration, thresholds: &Thresholds) -> ServerState {
    match phase {
        Phase::Absent { goodbye: true } => ServerState::Stopped,
        _ if silent >= thresholds.dead_after => ServerState::Dead,
        Phase::Absent { goodbye: false } => ServerState::Suspect,
        _ if silent >= thresholds.suspect_after => ServerState::Suspect,
        Phase::Joining => ServerState::Joining,
        Phase::Serving => ServerState::Healthy,
    }
}

/// What a server in `state` is worth that has been silent for `silent`.
pub fn standing(state: ServerState, silent: Duration, thresholds: &Thresholds) -> Standing {
    match state {
        ServerState::Joining | ServerState::Healthy => Standing::Up,
        ServerState::Suspect => Standing::Away,
        ServerState::Stopped if silent < thresholds.stopped_grace => Standing::Away,
        ServerState::Stopped | ServerState::Dead => Standing::Lost,
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

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn silence_makes_suspect_then_dead() {
        let state = |phase, silent| judge(phase, secs(silent), &T);
        assert_eq!(state(Phase::Joining, 0), ServerState::Joining);
        assert_eq!(state(Phase::Serving, 9), ServerState::Healthy);
        assert_eq!(state(Phase::Serving, 10), ServerState::Suspect);
        assert_eq!(state(Phase::Joining, 10), ServerState::Suspect);
        assert_eq!(state(Phase::Serving, 60), ServerState::Dead);
        assert_eq!(state(Phase::Absent { goodbye: false }, 0), ServerState::Suspect);
        assert_eq!(state(Phase::Absent { goodbye: false }, 60), ServerState::Dead);
    }

    #[test]
    fn a_goodbye_buys_time() {
        let phase = Phase::Absent { goodbye: true };
        for (silent, expected) in [(0, Standing::Away), (599, Standing::Away), (600, Standing::Lost)] {
            let state = judge(phase, secs(silent), &T);
            assert_eq!(state, ServerState::Stopped);
            assert_eq!(standing(state, secs(silent), &T), expected);
        }
    }

    #[test]
    fn only_who_is_heard_from_is_up() {
        assert_eq!(standing(ServerState::Joining, secs(0), &T), Standing::Up);
        assert_eq!(standing(ServerState::Healthy, secs(9), &T), Standing::Up);
        assert_eq!(standing(ServerState::Suspect, secs(11), &T), Standing::Away);
        assert_eq!(standing(ServerState::Dead, secs(61), &T), Standing::Lost);
    }
}
