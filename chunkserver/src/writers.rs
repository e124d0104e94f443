//! Which sessions of clients may write here.
//!
//! The metaserver gives a session up when its client has been silent for a term, and gives others what it had. From then on nothing
//! that the client has sent may be done any more, however long it was on its way: a session is never taken up again, so its number is the
//! epoch that its writes are fenced off by. (Versions of chunks fence off those who know an old chain; a writer that is cut
//! off knows the current one.)

use cairn_proto::cluster::LiveSessions;
use cairn_proto::error::ChunkError;
use cairn_proto::ids::SessionId;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::Notify;

/// See the module.
#[derive(Debug, Default)]
pub struct Writers {
    inner: Mutex<Inner>,
    /// A request of a session was done.
    done: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// As of the last registration. Before the first one nobody is known to be gone.
    live: Option<LiveSessions>,
    /// Given up since this process began.
    gone: HashSet<SessionId>,
    /// Requests that are being done.
    writing: HashMap<SessionId, u32>,
}

/// While it lives, a request of a session is being done.
#[derive(Debug)]
pub struct Writing {
    writers: Arc<Writers>,
    session: SessionId,
}

impl Writers {
    /// To be called before a request is done that changes something.
    pub fn begin(self: &Arc<Self>, session: SessionId) -> Result<Writing, ChunkError> {
        let mut inner = self.inner.lock();
        if inner.is_gone(session) {
            return Err(ChunkError::SessionFenced(session));
        }
        *inner.writing.entry(session).or_default() += 1;
        Ok(Writing { writers: self.clone(), session })
    }

    /// Takes no more requests of these, and returns when those that are being done are done.
    pub async fn fence(&self, sessions: &[SessionId]) {
        self.inner.lock().gone.extend(sessions);
        loop {
            let done = self.done.notified();
            tokio::pin!(done);
            done.as_mut().enable();
            if !sessions.iter().any(|session| self.inner.lock().writing.contains_key(session)) {
                return;
            }
            done.await;
        }
    }

    /// What a metaserver knows.
    pub fn registered(&self, live: LiveSessions) {
        self.inner.lock().live = Some(live);
    }
}

impl Inner {
    fn is_gone(&self, session: SessionId) -> bool {
        let is_dead = |live: &LiveSessions| session < live.next && live.live.binary_search(&session).is_err();
        session != SessionId::SERVERS && (self.gone.contains(&session) || self.live.as_ref().is_some_and(is_dead))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut inner = self.writers.inner.lock();
        if let Some(count) = inner.writing.get_mut(&self.session) {
            *count -= 1;
            if *count == 0 {
                inner.writing.remove(&self.session);
            }
        }
        drop(inner);
        self.writers.done.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_is_being_done_is_waited_for_and_nothing_more_is_taken() {
        let writers = Arc::new(Writers::default());
        let (one, two) = (SessionId(1), SessionId(2));
        let writing = writers.begin(one).unwrap();
        let early = tokio::time::timeout(Duration::from_millis(10), writers.fence(&[one])).await;
        assert!(early.is_err(), "it is still being done");
        assert_eq!(writers.begin(one).unwrap_err(), ChunkError::SessionFenced(one));
        assert!(writers.begin(two).is_ok());
        drop(writing);
        writers.fence(&[one]).await;
    }

    #[test]
    fn whoever_was_given_up_before_this_process_began_is_gone_too() {
        let writers = Arc::new(Writers::default());
        assert!(writers.begin(SessionId(3)).is_ok());
        writers.registered(LiveSessions { next: SessionId(9), live: vec![SessionId(4), SessionId(7)] });
        let may_write = |session| writers.begin(SessionId(session)).is_ok();
        assert_eq!([3, 4, 5, 7, 8, 9, 10].map(may_write), [false, true, false, true, false, true, true]);
        assert!(writers.begin(SessionId::SERVERS).is_ok());
    }
}
