//! Has what was in the trash for long enough leave it. Then it is an orphan, which the [reaper](super::reaper) frees.

use std::sync::Arc;
use std::time::Duration;

use cairn_runtime::worker::{WorkError, WorkState, Worker};

use crate::command::Internal;
use crate::namespace::{MAX_REAP_INODES, query};
use crate::state::State;

/// Between two looks at what has expired.
const PAUSE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct TrashWorker {
    state: Arc<State>,
}

impl TrashWorker {
    pub fn new(state: Arc<State>) -> Self {
        Self { state }
    }
}

impl Worker for TrashWorker {
    fn name(&self) -> String {
        "trash".to_owned()
    }

    async fn work(&mut self) -> Result<WorkState, WorkError> {
        let now = self.state.wall();
        let inodes = self.state.read(|read| query::expired_trash(read, now, MAX_REAP_INODES))?;
        if inodes.is_empty() {
            return Ok(WorkState::Wait(PAUSE));
        }
        let cost = inodes.len() as u64;
        self.state.internal(Internal::DropTrash { inodes, expired: true }).await?;
        Ok(WorkState::Busy { cost })
    }
}
