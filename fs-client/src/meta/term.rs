//! For how long the session is sure to be alive, by this mount's own clock.
//!
//! The metaserver gives a session up when it has not heard of it for its term. It heard of it no earlier than the last sign of
//! life that it answered was sent; so until a term after that, and not longer, leases and delegations hold. A mount that is cut off
//! believes nothing any more before somebody else is given what it had.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cairn_proto::ids::SessionId;
use cairn_runtime::clock::{Clock, SystemClock};

/// This part of the term is kept back: two clocks do not run at the same speed.
const MARGIN: u32 = 16;

/// See the module.
#[derive(Debug)]
pub struct Term {
    clock: Arc<dyn Clock>,
    session: AtomicU64,
    /// What programs write is granted in this session. What they wrote in an earlier one, and was not sent, must not be sent in a later
    /// one: this follows the session of the moment when such writes have been seen to.
    written_in: AtomicU64,
    /// Nanoseconds on the clock; 0 before the first session, and while one session follows another.
    until: AtomicU64,
}

impl Default for Term {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock))
    }
}

impl Term {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, session: AtomicU64::new(0), written_in: AtomicU64::new(0), until: AtomicU64::new(0) }
    }

    /// The session of the moment.
    pub fn session(&self) -> SessionId {
        SessionId(self.session.load(Ordering::SeqCst))
    }

    /// How long what `session` was granted is sure to hold. Zero once that is over.
    pub fn remaining(&self, session: SessionId) -> Duration {
        // In this order: it is of the session of the moment, or of none.
        let until = Duration::from_nanos(self.until.load(Ordering::SeqCst));
        if self.session() == session { until.saturating_sub(self.clock.monotonic()) } else { Duration::ZERO }
    }

    pub fn is_alive(&self, session: SessionId) -> bool {
        !self.remaining(session).is_zero()
    }

    /// On its clock, which goes on while the machine is suspended. To be taken before a sign of life is sent.
    pub(super) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// A sign of life that was sent at `sent` has been answered, in the session of the moment, which has this `term`.
    pub(super) fn renewed(&self, sent: Duration, term: Duration) {
        let until = sent + term - term / MARGIN;
        self.until.fetch_max(u64::try_from(until.as_nanos()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Another session has begun.
    pub(super) fn begun(&self, session: SessionId) {
        self.until.store(0, Ordering::SeqCst);
        self.session.store(session.0, Ordering::SeqCst);
        // The first one has none before it.
        let _ = self.written_in.compare_exchange(0, session.0, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Nothing is left that was written in an earlier session.
    pub fn writes_in(&self, session: SessionId) {
        self.written_in.store(session.0, Ordering::SeqCst);
    }

    /// Whether what programs wrote may be sent now.
    pub(super) fn may_send(&self) -> bool {
        let session = self.session();
        self.is_alive(session) && self.is_written_in(session)
    }

    /// The session that what programs write now is granted in.
    pub(super) fn written_in(&self) -> SessionId {
        SessionId(self.written_in.load(Ordering::SeqCst))
    }

    /// Whether what programs wrote may be sent in `session`.
    pub(super) fn is_written_in(&self, session: SessionId) -> bool {
        self.written_in() == session
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use cairn_runtime::clock::ManualClock;

    use super::*;

    const S: SessionId = SessionId(5);

    #[test]
    fn ends_before_the_metaserver_thinks_so() {
        let clock = Arc::new(ManualClock::new(UNIX_EPOCH));
        let term = Term::new(clock.clone());
        assert!(!term.is_alive(S));
        term.begun(S);
        let sent = term.now();
        clock.advance(Duration::from_secs(5));
        term.renewed(sent, Duration::from_secs(16));
        assert_eq!(term.remaining(S), Duration::from_secs(10));
        term.renewed(sent, Duration::from_secs(8));
        assert_eq!(term.remaining(S), Duration::from_secs(10), "an older answer");
        clock.advance(Duration::from_secs(10));
        assert!(!term.is_alive(S));
    }

    #[test]
    fn another_session_is_another_one() {
        let term = Term::default();
        term.begun(S);
        term.renewed(term.now(), Duration::from_secs(16));
        assert!(term.is_alive(S));
        let next = SessionId(6);
        term.begun(next);
        assert!(!term.is_alive(S) && !term.is_alive(next));
        assert!(term.is_written_in(S) && !term.is_written_in(next));
        term.writes_in(next);
        assert!(!term.is_written_in(S) && term.is_written_in(next));
        term.renewed(term.now(), Duration::from_secs(16));
        assert!(!term.is_alive(S) && term.is_alive(next));
    }
}
