//! Sessions of clients: who is there, what they hold open, what they are asked to do, and what follows from that.
//!
//! A session is opened and closed by commands, so it outlives this process; everything else about it is in memory, and a client
//! brings it along when it takes its session up again. [`Clients`] is both together. Delegations of directories belong to sessions and
//! end with them, but stand in the namespace ([`crate::namespace::delegation`]); here is how they are recalled. Leases and file locks live
//! here.

pub mod changing;
pub mod crowding;
pub mod events;
pub mod expiry;
pub mod leases;
pub mod locks;
pub mod open_files;
pub mod reaper;
pub mod recalls;
pub mod table;
pub mod trash;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cairn_proto::cluster::LiveSessions;
use cairn_proto::error::FsError;
use cairn_proto::ids::{InodeId, SessionId};
use cairn_proto::lock::{Lock, LockOutcome};
use cairn_proto::meta::{ClientInfo, Event, Events};
use cairn_runtime::clock::Clock;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::Moment;
use crate::command::Internal;
use crate::namespace::query;
use crate::state::State;
use events::EventQueues;
use leases::Leases;
use locks::Locks;
use open_files::OpenFiles;
use recalls::Recalls;
use table::Sessions;

/// A call that asks for events is answered after this, if there are none.
const LONGEST_POLL: Duration = Duration::from_secs(4);
/// Calls for events in a term at least: each is a sign of life.
const POLLS_PER_TERM: u32 = 4;

/// The clients of this metaserver.
#[derive(Debug)]
pub struct Clients {
    pub sessions: Sessions,
    /// Sessions that are about to be.
    opening: Mutex<BTreeSet<SessionId>>,
    pub files: OpenFiles,
    pub recalls: Recalls,
    pub locks: Locks,
    pub leases: Arc<Leases>,
    events: EventQueues,
    /// Another number in every process: what sessions were told by an earlier one does not count.
    pub incarnation: u64,
    state: Arc<State>,
    clock: Arc<dyn Clock>,
    /// Once cancelled nobody waits for clients any more: what they would do cannot come in.
    stopping: CancellationToken,
}

impl Clients {
    /// Takes up the sessions of the state machine: each has a term to show itself.
    pub fn new(
        state: Arc<State>,
        clock: Arc<dyn Clock>,
        term: Duration,
        max_leases: usize,
        stopping: CancellationToken,
    ) -> Result<Self, FsError> {
        let stored = state.read(query::sessions)?;
        let files = OpenFiles::default();
        let incarnation = rand::random();
        let events = EventQueues::new(incarnation);
        for (id, _) in &stored {
            files.admit(*id);
            events.admit(*id);
        }
        let locks = Locks::new(stored.iter().map(|(id, _)| *id));
        let leases = Arc::new(Leases::new(stored.iter().map(|(id, _)| *id), max_leases));
        let stored = stored.into_iter().map(|(id, session)| (id, session.client)).collect();
        let sessions = Sessions::new(term, stored, clock.monotonic());
        let recalls = Recalls::default();
        let opening = Mutex::default();
        Ok(Self { sessions, opening, files, recalls, locks, leases, events, incarnation, state, clock, stopping })
    }

    pub fn now(&self) -> Moment {
        self.clock.monotonic()
    }

    /// Opens a new session, durably.
    pub async fn open(&self, client: ClientInfo) -> Result<SessionId, FsError> {
        let session = {
            let mut opening = self.opening.lock();
            let session = self.state.next_session();
            opening.insert(session);
            session
        };
        let opened = self.state.internal(Internal::OpenSession { session, client: client.clone() }).await;
        let opened = opened.map(|_| self.admit(session, client));
        self.opening.lock().remove(&session);
        opened.map(|()| session)
    }

    fn admit(&self, session: SessionId, client: ClientInfo) {
        self.files.admit(session);
        self.events.admit(session);
        self.locks.admit(session);
        self.leases.admit(session);
        tracing::info!(%session, host = client.host, mountpoint = client.mountpoint, "session opened");
        self.sessions.opened(session, client, self.now());
    }

    /// Takes a session up again that holds `open`.
    pub fn resume(&self, session: SessionId, open: &[InodeId]) -> Result<(), FsError> {
        self.heard(session)?;
        self.files.resume(session, open)?;
        tracing::info!(%session, open = open.len(), "session resumed");
        Ok(())
    }

    /// The sessions that may write, and those to come.
    pub fn live(&self) -> LiveSessions {
        let next = {
            let opening = self.opening.lock();
            opening.first().copied().unwrap_or_else(|| self.state.coming_session())
        };
        LiveSessions { next, live: self.sessions.ids() }
    }

    /// A sign of life of a session.
    pub fn heard(&self, session: SessionId) -> Result<(), FsError> {
        self.sessions.heard(session, self.now())
    }

    /// What a session is asked to do, once there is something. A sign of life.
    pub async fn events(&self, session: SessionId, seen: u64) -> Result<Events, FsError> {
        self.heard(session)?;
        let limit = LONGEST_POLL.min(self.sessions.term() / POLLS_PER_TERM);
        self.unless_stopping(self.events.wait(session, seen, self.now(), limit)).await?
    }

    /// A session has acted upon events.
    pub fn acted(&self, session: SessionId, numbers: &[u64]) -> Result<(), FsError> {
        self.heard(session)?;
        for event in self.events.acted(session, numbers) {
            self.leases.acted(session, &event);
        }
        Ok(())
    }

    /// Asks a session to drop the leases that it says it does not need.
    pub fn returned(&self, session: SessionId, inodes: &[InodeId]) {
        let event = self.leases.returned(session, inodes);
        if matches!(&event, Event::Drop { inodes } if !inodes.is_empty()) {
            self.ask(session, event);
        }
    }

    /// Asks a session to do something about leases. Where that cannot be, whoever waits for it asks again.
    fn ask(&self, session: SessionId, event: Event) {
        if self.events.ask(session, event.clone()).is_none() {
            self.leases.not_asked(session, &event);
        }
    }

    /// Sets a lock, or says what is in its way; to one that waits, after a while. A sign of life.
    pub async fn set_lock(&self, session: SessionId, lock: Lock, wait: bool) -> Result<LockOutcome, FsError> {
        self.heard(session)?;
        if !wait {
            return self.locks.set(session, lock);
        }
        let limit = LONGEST_POLL.min(self.sessions.term() / POLLS_PER_TERM);
        self.unless_stopping(self.locks.set_waiting(session, lock, limit)).await?
    }

    /// Waits for something that clients bring about; `NotReady` where this metaserver stops first.
    async fn unless_stopping<T>(&self, waiting: impl Future<Output = T>) -> Result<T, FsError> {
        self.stopping.run_until_cancelled(waiting).await.ok_or(FsError::NotReady)
    }

    /// Ends a session in good order.
    pub async fn close(&self, session: SessionId) -> Result<(), FsError> {
        if !self.sessions.begin_close(session) {
            return Err(FsError::SessionUnknown(session));
        }
        self.finish(session).await
    }

    /// Closes, durably, a session that is marked as being closed; only then are its files let go.
    async fn finish(&self, session: SessionId) -> Result<(), FsError> {
        match self.state.internal(Internal::CloseSession { session }).await {
            Ok(_) | Err(FsError::SessionUnknown(_)) => {}
            Err(error) => return Err(error),
        }
        self.files.drop_session(session);
        self.events.drop_session(session);
        self.locks.drop_session(session);
        self.leases.drop_session(session);
        self.recalls.ended();
        self.sessions.closed(session);
        Ok(())
    }
}
