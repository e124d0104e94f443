//! Closes sessions that have been silent for their term.

use std::sync::Arc;

use cairn_runtime::worker::{WorkError, WorkState, Worker};

use super::Clients;

/// Looks at the sessions this many times in a term.
const LOOKS_PER_TERM: u32 = 8;

/// See the module.
#[derive(Debug)]
pub struct ExpiryWorker {
    clients: Arc<Clients>,
}

impl ExpiryWorker {
    pub fn new(clients: Arc<Clients>) -> Self {
        Self { clients }
    }
}

impl Worker for ExpiryWorker {
    fn name(&self) -> String {
        "session expiry".to_owned()
    }

    async fn work(&mut self) -> Result<WorkState, WorkError> {
        for session in self.clients.sessions.expire(self.clients.now()) {
            self.clients.finish(session).await?;
            tracing::warn!(%session, term = ?self.clients.sessions.term(), "session expired: its client has been silent");
        }
        Ok(WorkState::Wait(self.clients.sessions.term() / LOOKS_PER_TERM))
    }

    fn detail(&self) -> Option<String> {
        Some(format!("{} sessions", self.clients.sessions.len()))
    }
}
