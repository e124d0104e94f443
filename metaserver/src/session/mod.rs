//! Sessions of clients: who is there, what they hold open, and what follows from that.
//!
//! A session is opened and closed by commands, so it outlives this process; everything else about it is in memory, and a client
//! brings it along when it takes its session up again. [`Clients`] is both together. Leases and file locks will live here too: they
//! belong to sessions, are granted and recalled in memory, and die with them.

pub mod expiry;
pub mod open_files;
pub mod reaper;
pub mod table;

use std::sync::Arc;
use std::time::Duration;

use cairn_proto::error::FsError;
use cairn_proto::ids::{InodeId, SessionId};
use cairn_proto::meta::ClientInfo;
use cairn_runtime::clock::Clock;

use crate::Moment;
use crate::command::Internal;
use crate::namespace::query;
use crate::state::State;
use open_files::OpenFiles;
use table::Sessions;

/// The clients of this metaserver.
#[derive(Debug)]
pub struct Clients {
    pub sessions: Sessions,
    pub files: OpenFiles,
    state: Arc<State>,
    clock: Arc<dyn Clock>,
}

impl Clients {
    /// Takes up the sessions of the state machine: each has a term to show itself.
    pub fn new(state: Arc<State>, clock: Arc<dyn Clock>, term: Duration) -> Result<Self, FsError> {
        let stored = state.read(query::sessions)?;
        let files = OpenFiles::default();
        stored.iter().for_each(|(id, _)| files.admit(*id));
        let stored = stored.into_iter().map(|(id, session)| (id, session.client)).collect();
        Ok(Self { sessions: Sessions::new(term, stored, clock.monotonic()), files, state, clock })
    }

    pub fn now(&self) -> Moment {
        self.clock.monotonic()
    }

    /// Opens a new session, durably.
    pub async fn open(&self, client: ClientInfo) -> Result<SessionId, FsError> {
        let session = self.state.next_session();
        self.state.internal(Internal::OpenSession { session, client: client.clone() }).await?;
        self.files.admit(session);
        tracing::info!(%session, host = client.host, mountpoint = client.mountpoint, "session opened");
        self.sessions.opened(session, client, self.now());
        Ok(session)
    }

    /// Takes a session up again that holds `open`.
    pub fn resume(&self, session: SessionId, open: &[InodeId]) -> Result<(), FsError> {
        self.heard(session)?;
        self.files.resume(session, open)?;
        tracing::info!(%session, open = open.len(), "session resumed");
        Ok(())
    }

    /// A sign of life of a session.
    pub fn heard(&self, session: SessionId) -> Result<(), FsError> {
        self.sessions.heard(session, self.now())
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
        self.sessions.closed(session);
        Ok(())
    }
}
