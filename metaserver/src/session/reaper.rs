//! Frees unlinked inodes that nobody holds open.

use std::sync::Arc;
use std::time::Duration;

use cairn_proto::ids::InodeId;
use cairn_runtime::worker::{WorkError, WorkState, Worker};

use super::Clients;
use crate::command::Internal;
use crate::namespace::{MAX_REAP_INODES, Reply, query};
use crate::state::State;

/// Between two passes over the orphans.
const PAUSE: Duration = Duration::from_millis(250);

/// See the module.
#[derive(Debug)]
pub struct Reaper {
    state: Arc<State>,
    clients: Arc<Clients>,
    after: InodeId,
}

impl Reaper {
    pub fn new(state: Arc<State>, clients: Arc<Clients>) -> Self {
        Self { state, clients, after: InodeId(0) }
    }

    /// Frees `inodes`, which nobody holds open and nobody can open, however many commands their chunks take.
    async fn reap(&self, inodes: &[InodeId]) -> Result<(), WorkError> {
        let mut left = inodes.to_vec();
        while !left.is_empty() {
            match self.state.internal(Internal::Reap { inodes: left.clone() }).await? {
                Reply::Reaped { gone, more } => {
                    left.retain(|inode| !gone.contains(inode));
                    if !more {
                        return Ok(());
                    }
                }
                other => return Err(format!("reaping was answered by {other:?}").into()),
            }
        }
        Ok(())
    }
}

impl Worker for Reaper {
    fn name(&self) -> String {
        "reaper".to_owned()
    }

    async fn work(&mut self) -> Result<WorkState, WorkError> {
        // Sessions from before a restart say first what they hold open.
        if !self.clients.sessions.reclaimed(self.clients.now()) {
            return Ok(WorkState::Wait(PAUSE));
        }
        let page = self.state.read(|read| query::orphans(read, self.after, MAX_REAP_INODES))?;
        let orphans: Vec<_> = page.iter().map(|(inode, _)| *inode).collect();
        let is_last = orphans.len() < MAX_REAP_INODES;
        self.after = if is_last { InodeId(0) } else { orphans.last().copied().unwrap_or(InodeId(0)) };
        let free = self.clients.files.begin_reap(&orphans);
        if !free.is_empty() {
            let result = self.reap(&free).await;
            self.clients.files.end_reap(&free);
            result?;
        }
        Ok(if is_last { WorkState::Wait(PAUSE) } else { WorkState::Busy { cost: free.len() as u64 } })
    }
}
