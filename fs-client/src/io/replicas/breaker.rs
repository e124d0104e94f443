//! Whether a server is to be asked: a circuit breaker. Pure: when it is, is an argument.
//!
//! *Closed*: it is asked like any other. *Open*: its calls failed, or read after read was overtaken while it said nothing; it is asked
//! last. When it has been open for a while, one read is let through to it as a probe, and it is *half-open* until that has ended: then
//! it is closed, or open again for twice as long.

use std::time::Duration;

/// Time by the clock that never goes back.
pub(crate) type Moment = Duration;

/// When a server is not to be asked first, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BreakerLimits {
    /// Calls in a row that failed: so many open it. A call fails when its time is up, too.
    pub failures: u32,
    /// Reads in a row that another server answered first, while this one has answered nothing at all: so many open it. One alone may be
    /// a request that was unlucky.
    pub overtaken: u32,
    /// Open for so long before the first probe.
    pub hold: Duration,
    /// Each probe that fails doubles that, up to this.
    pub longest_hold: Duration,
    /// A probe of which nothing was heard for so long is followed by another one. Longer than a call may take.
    pub probe_timeout: Duration,
}

impl Default for BreakerLimits {
    fn default() -> Self {
        Self {
            failures: 1,
            overtaken: 3,
            hold: Duration::from_secs(1),
            longest_hold: Duration::from_secs(30),
            probe_timeout: Duration::from_secs(15),
        }
    }
}

/// What a reader makes of a server's breaker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Admission {
    Closed,
    /// Open: not first. A longer time means that it was found wanting more often.
    Open(Duration),
    /// Open, and it is time for a probe.
    Due(Duration),
}

/// A change of state, to be counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    Opened,
    /// A probe is on its way.
    HalfOpened,
    /// The probe has failed.
    Reopened,
    Closed,
}

/// The state of one server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Breaker {
    state: State,
    /// What began earlier, and failed, says nothing about the server as it is.
    closed_at: Moment,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Closed { failures: u32, overtaken: u32 },
    Open { probe_at: Moment, hold: Duration },
    HalfOpen { probed_at: Moment, hold: Duration },
}

const CLOSED: State = State::Closed { failures: 0, overtaken: 0 };

impl Default for Breaker {
    fn default() -> Self {
        Self { state: CLOSED, closed_at: Moment::ZERO }
    }
}

impl Breaker {
    /// A call was answered.
    pub(super) fn answered(&mut self, now: Moment) -> Option<Change> {
        match &mut self.state {
            State::Closed { .. } => {
                self.state = CLOSED;
                None
            }
            // It lives: no need to wait for the probe.
            State::Open { probe_at, .. } => {
                *probe_at = (*probe_at).min(now);
                None
            }
            State::HalfOpen { .. } => {
                (self.state, self.closed_at) = (CLOSED, now);
                Some(Change::Closed)
            }
        }
    }

    /// A call that began at `began` has failed.
    pub(super) fn failed(&mut self, began: Moment, now: Moment, limits: &BreakerLimits) -> Option<Change> {
        match &mut self.state {
            State::Closed { failures, .. } if began >= self.closed_at => {
                *failures += 1;
                (*failures >= limits.failures).then(|| self.open(now, limits))
            }
            State::HalfOpen { probed_at, hold } if began >= *probed_at => {
                let hold = hold.saturating_mul(2).min(limits.longest_hold);
                self.state = State::Open { probe_at: now + hold, hold };
                Some(Change::Reopened)
            }
            State::Closed { .. } | State::HalfOpen { .. } | State::Open { .. } => None,
        }
    }

    /// Another server has answered a read that this one was asked first for.
    pub(super) fn overtaken(&mut self, now: Moment, limits: &BreakerLimits) -> Option<Change> {
        let State::Closed { overtaken, .. } = &mut self.state else { return None };
        *overtaken += 1;
        (*overtaken >= limits.overtaken).then(|| self.open(now, limits))
    }

    fn open(&mut self, now: Moment, limits: &BreakerLimits) -> Change {
        self.state = State::Open { probe_at: now + limits.hold, hold: limits.hold };
        Change::Opened
    }

    pub(super) fn admission(&self, now: Moment, limits: &BreakerLimits) -> Admission {
        let (due_at, hold) = match self.state {
            State::Closed { .. } => return Admission::Closed,
            State::Open { probe_at, hold } => (probe_at, hold),
            State::HalfOpen { probed_at, hold } => (probed_at + limits.probe_timeout, hold),
        };
        if now >= due_at { Admission::Due(hold) } else { Admission::Open(hold) }
    }

    /// A read that is [`Admission::Due`] is sent as a probe.
    pub(super) fn probe(&mut self, now: Moment) -> Option<Change> {
        let (State::Open { hold, .. } | State::HalfOpen { hold, .. }) = self.state else { return None };
        self.state = State::HalfOpen { probed_at: now, hold };
        Some(Change::HalfOpened)
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// For people.
    pub(super) fn name(&self) -> &'static str {
        match self.state {
            State::Closed { .. } => "closed",
            State::Open { .. } => "open",
            State::HalfOpen { .. } => "half-open",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BreakerLimits = BreakerLimits {
        failures: 2,
        overtaken: 3,
        hold: Duration::from_secs(1),
        longest_hold: Duration::from_secs(3),
        probe_timeout: Duration::from_secs(15),
    };

    fn at(secs: u64) -> Moment {
        Moment::from_secs(secs)
    }

    fn admission(breaker: &Breaker, secs: u64) -> Admission {
        breaker.admission(at(secs), &LIMITS)
    }

    /// Opened by failures at 10 s.
    fn open() -> Breaker {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.failed(at(9), at(10), &LIMITS), None);
        assert_eq!(breaker.failed(at(10), at(10), &LIMITS), Some(Change::Opened));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_probe_closes_it() {
        let mut breaker = Breaker::default();
        breaker.failed(at(1), at(2), &LIMITS);
        breaker.answered(at(3));
        assert_eq!(breaker.failed(at(3), at(4), &LIMITS), None, "not in a row");
        let mut breaker = open();
        assert_eq!(admission(&breaker, 10), Admission::Open(at(1)));
        assert_eq!(breaker.failed(at(10), at(10), &LIMITS), None, "it is open");
        assert_eq!(admission(&breaker, 11), Admission::Due(at(1)));
        assert_eq!(breaker.probe(at(11)), Some(Change::HalfOpened));
        assert_eq!(admission(&breaker, 12), Admission::Open(at(1)), "one probe at a time");
        assert_eq!(breaker.answered(at(12)), Some(Change::Closed));
        assert_eq!(admission(&breaker, 12), Admission::Closed);
        assert_eq!(breaker.probe(at(12)), None);
    }

    #[test]
    fn probes_that_fail_make_it_wait_longer_each_time() {
        let mut breaker = open();
        let mut now = 11;
        for hold in [2, 3, 3] {
            assert!(matches!(admission(&breaker, now), Admission::Due(_)));
            breaker.probe(at(now));
            assert_eq!(breaker.failed(at(now), at(now), &LIMITS), Some(Change::Reopened));
            assert_eq!(admission(&breaker, now + hold - 1), Admission::Open(at(hold)));
            now += hold;
        }
        breaker.probe(at(now));
        breaker.answered(at(now));
        breaker.failed(at(now), at(now), &LIMITS);
        breaker.failed(at(now), at(now), &LIMITS);
        assert_eq!(admission(&breaker, now), Admission::Open(at(1)), "a new beginning");
    }

    #[test]
    fn what_began_before_it_was_found_well_is_old_news() {
        let mut breaker = open();
        breaker.probe(at(12));
        assert_eq!(breaker.failed(at(11), at(13), &LIMITS), None, "not the probe");
        breaker.answered(at(14));
        for _ in 0..3 {
            assert_eq!(breaker.failed(at(13), at(15), &LIMITS), None);
        }
        breaker.failed(at(14), at(16), &LIMITS);
        assert_eq!(breaker.failed(at(14), at(16), &LIMITS), Some(Change::Opened));
    }

    #[test]
    fn a_server_that_says_nothing_while_others_answer_is_open() {
        let mut breaker = Breaker::default();
        for round in 0..2 {
            assert_eq!(breaker.overtaken(at(1), &LIMITS), None);
            assert_eq!(breaker.overtaken(at(1), &LIMITS), None);
            if round == 0 {
                breaker.answered(at(1));
            }
        }
        assert_eq!(breaker.overtaken(at(1), &LIMITS), Some(Change::Opened));
        assert_eq!(breaker.overtaken(at(1), &LIMITS), None);
    }

    #[test]
    fn an_answer_while_it_is_open_brings_the_probe_forward() {
        let mut breaker = open();
        assert_eq!(breaker.answered(at(10)), None);
        assert_eq!(admission(&breaker, 10), Admission::Due(at(1)));
    }

    #[test]
    fn a_probe_that_is_never_heard_of_is_made_again() {
        let mut breaker = open();
        breaker.probe(at(20));
        assert_eq!(admission(&breaker, 34), Admission::Open(at(1)));
        assert_eq!(admission(&breaker, 35), Admission::Due(at(1)));
        assert_eq!(breaker.probe(at(35)), Some(Change::HalfOpened));
        assert_eq!(admission(&breaker, 36), Admission::Open(at(1)));
    }
}
