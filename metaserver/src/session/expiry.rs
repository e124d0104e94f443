//! Closes sessions that have been silent for their term.

use std::sync::Arc;

use cairn_proto::chunkserver::MAX_FENCED;
use cairn_runtime::worker::{WorkError, WorkState, Worker};

use super::Clients;
use crate::cluster::Cluster;
use crate::cluster::fencing::fence_sessions;

/// Looks at the sessions this many times in a term.
const LOOKS_PER_TERM: u32 = 8;

/// See the module.
#[derive(Debug)]
pub struct ExpiryWorker {
    clients: Arc<Clients>,
    cluster: Arc<Cluster>,
}

impl ExpiryWorker {
    pub fn new(clients: Arc<Clients>, cluster: Arc<Cluster>) -> Self {
        Self { clients, cluster }
    }
}

impl Worker for ExpiryWorker {
    fn name(&self) -> String {
        "session expiry".to_owned()
    }

    async fn work(&mut self) -> Result<WorkState, WorkError> {
        let expired = self.clients.sessions.expire(self.clients.now());
        // Before others are given what they had. As many at a time as one call may name; the rest comes with the next look.
        let expired = &expired[..expired.len().min(MAX_FENCED)];
        if !expired.is_empty() {
            fence_sessions(&self.cluster, expired).await;
        }
        for &session in expired {
            self.clients.finish(session).await?;
            tracing::warn!(%session, term = ?self.clients.sessions.term(), "session expired: its client has been silent");
        }
        Ok(WorkState::Wait(self.clients.sessions.term() / LOOKS_PER_TERM))
    }

    fn detail(&self) -> Option<String> {
        Some(format!("{} sessions", self.clients.sessions.len()))
    }
}
