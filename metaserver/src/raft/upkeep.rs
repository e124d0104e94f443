//! What a node does in the background: flush its store, take checkpoints.

use std::time::Duration;

use cairn_runtime::worker::{WorkError, WorkState, Worker};

use super::MetaNode;
use super::space::has_reserve;

/// Between two looks at whether a checkpoint is due.
const CHECKPOINT_PAUSE: Duration = Duration::from_secs(1);

/// Moves the store's changes to disk now and then, so that a start after a crash has little to apply again.
#[derive(Debug)]
pub(super) struct FlushWorker {
    pub(super) node: MetaNode,
}

impl Worker for FlushWorker {
    fn name(&self) -> String {
        "metadata-flush".to_owned()
    }

    async fn work(&mut self) -> Result<WorkState, WorkError> {
        let config = self.node.config();
        let pause = WorkState::Wait(config.flush_interval);
        // A flush that runs out of space costs the store; one that waits costs memory, and as nothing is proposed below the
        // reserve, not much of it.
        if has_reserve(&config.dir, config.reserve_bytes / 2) {
            self.node.flush().await?;
        }
        Ok(pause)
    }
}

/// Takes a checkpoint when enough has been applied since the last one.
#[derive(Debug)]
pub(super) struct CheckpointWorker {
    pub(super) node: MetaNode,
    /// Size of the log after the last checkpoint.
    pub(super) log_bytes: u64,
}

impl Worker for CheckpointWorker {
    fn name(&self) -> String {
        "metadata-checkpoint".to_owned()
    }

    async fn work(&mut self) -> Result<WorkState, WorkError> {
        let metrics = self.node.metrics();
        let config = self.node.config();
        let commands = metrics.applied.0 - metrics.checkpoint.map_or(0, |index| index.0);
        let log_bytes = metrics.log_bytes.saturating_sub(self.log_bytes);
        let due = commands >= config.checkpoint_every || log_bytes >= config.checkpoint_log_bytes;
        if due && commands > 0 {
            self.node.checkpoint().await?;
            self.log_bytes = self.node.metrics().log_bytes;
        }
        Ok(WorkState::Wait(CHECKPOINT_PAUSE))
    }

    fn detail(&self) -> Option<String> {
        let metrics = self.node.metrics();
        let commands = metrics.applied.0 - metrics.checkpoint.map_or(0, |index| index.0);
        Some(format!("{commands} commands since the last one, log of {} bytes", metrics.log_bytes))
    }
}
