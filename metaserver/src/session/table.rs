//! Which sessions there are, and when each was last heard. That they exist is durable; when they were heard is not: after a
//! restart every session has a whole term to show itself.

use std::collections::HashMap;
use std::time::Duration;

use crate::Moment;
use cairn_proto::admin::SessionStatus;
use cairn_proto::error::FsError;
use cairn_proto::ids::SessionId;
use cairn_proto::meta::ClientInfo;
use parking_lot::Mutex;

/// The sessions of this metaserver.
#[derive(Debug)]
pub struct Sessions {
    sessions: Mutex<HashMap<SessionId, Session>>,
    term: Duration,
    /// Sessions from before a restart have until a term after this to come back.
    started: Moment,
}

#[derive(Debug)]
struct Session {
    client: ClientInfo,
    heard: Moment,
    /// It is being given up: nothing it says counts any more.
    closing: bool,
}

impl Sessions {
    /// `stored`: the sessions of the state machine.
    pub fn new(term: Duration, stored: Vec<(SessionId, ClientInfo)>, now: Moment) -> Self {
        let known = |(id, client)| (id, Session { client, heard: now, closing: false });
        Self { sessions: Mutex::new(stored.into_iter().map(known).collect()), term, started: now }
    }

    pub fn term(&self) -> Duration {
        self.term
    }

    /// A session was opened, durably.
    pub fn opened(&self, session: SessionId, client: ClientInfo, now: Moment) {
        self.sessions.lock().insert(session, Session { client, heard: now, closing: false });
    }

    /// A sign of life.
    pub fn heard(&self, session: SessionId, now: Moment) -> Result<(), FsError> {
        match self.sessions.lock().get_mut(&session) {
            Some(known) if !known.closing => {
                known.heard = now;
                Ok(())
            }
            _ => Err(FsError::SessionUnknown(session)),
        }
    }

    /// Marks a session as being closed. `false` where there is none, or somebody else closes it.
    pub fn begin_close(&self, session: SessionId) -> bool {
        let mut sessions = self.sessions.lock();
        let Some(known) = sessions.get_mut(&session).filter(|known| !known.closing) else { return false };
        known.closing = true;
        true
    }

    /// Marks the sessions that have been silent for a term as being closed, and names them; those whose close has not come
    /// through yet, too.
    pub fn expire(&self, now: Moment) -> Vec<SessionId> {
        let mut expired = Vec::new();
        for (&id, session) in self.sessions.lock().iter_mut() {
            if now.saturating_sub(session.heard) >= self.term {
                session.closing = true;
                expired.push(id);
            }
        }
        expired.sort_unstable();
        expired
    }

    /// The session is closed, durably.
    pub fn closed(&self, session: SessionId) {
        self.sessions.lock().remove(&session);
    }

    /// Every session that outlived a restart has had a term to say what it holds open.
    pub fn reclaimed(&self, now: Moment) -> bool {
        now.saturating_sub(self.started) >= self.term
    }

    /// All that are not being closed, ascending.
    pub fn ids(&self) -> Vec<SessionId> {
        let sessions = self.sessions.lock();
        let mut ids: Vec<_> = sessions.iter().filter(|(_, known)| !known.closing).map(|(&id, _)| id).collect();
        ids.sort_unstable();
        ids
    }

    pub fn len(&self) -> usize {
        self.sessions.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.sessions.lock().is_empty()
    }

    /// All sessions in order of their ids; `open_files` counts those of one.
    pub fn list(&self, now: Moment, open_files: impl Fn(SessionId) -> u64) -> Vec<SessionStatus> {
        let sessions = self.sessions.lock();
        let status = |(&id, session): (&SessionId, &Session)| SessionStatus {
            session: id.0,
            host: session.client.host.clone(),
            mountpoint: session.client.mountpoint.clone(),
            open_files: open_files(id),
            idle_ms: now.saturating_sub(session.heard).as_millis() as u64,
        };
        let mut list: Vec<_> = sessions.iter().map(status).collect();
        list.sort_unstable_by_key(|status| status.session);
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Duration = Duration::from_secs(15);
    const A: SessionId = SessionId(1);
    const B: SessionId = SessionId(2);

    fn client() -> ClientInfo {
        ClientInfo { host: "h".into(), mountpoint: "/m".into(), pid: 1, version: "0".into() }
    }

    #[test]
    fn silence_for_a_term_ends_a_session() {
        let start = Moment::from_secs(1000);
        let sessions = Sessions::new(TERM, vec![(A, client())], start);
        sessions.opened(B, client(), start);
        sessions.heard(B, start + TERM / 2).unwrap();
        assert_eq!(sessions.expire(start + TERM), [A]);
        assert_eq!(sessions.heard(A, start + TERM), Err(FsError::SessionUnknown(A)));
        sessions.closed(A);
        assert_eq!(sessions.expire(start + TERM), []);
        assert_eq!(sessions.len(), 1);
    }

    #[test]
    fn a_close_that_failed_is_tried_again() {
        let start = Moment::from_secs(1000);
        let sessions = Sessions::new(TERM, vec![(A, client())], start);
        assert_eq!(sessions.expire(start + TERM), [A]);
        assert_eq!(sessions.expire(start + TERM), [A]);
        assert!(!sessions.begin_close(A));
    }

    #[test]
    fn closed_once() {
        let start = Moment::from_secs(1000);
        let sessions = Sessions::new(TERM, vec![(A, client())], start);
        assert!(sessions.begin_close(A));
        assert!(!sessions.begin_close(A));
        assert_eq!(sessions.heard(A, start), Err(FsError::SessionUnknown(A)));
        assert!(!sessions.begin_close(B));
    }

    #[test]
    fn reclaiming_lasts_a_term() {
        let start = Moment::from_secs(1000);
        let sessions = Sessions::new(TERM, vec![], start);
        assert!(!sessions.reclaimed(start + TERM - Duration::from_millis(1)));
        assert!(sessions.reclaimed(start + TERM));
    }
}
