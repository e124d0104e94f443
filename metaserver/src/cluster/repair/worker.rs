//! Takes chunks from the queue and mends them, one at a time. Several of these run side by side.

use std::sync::Arc;
use std::time::Duration;

use cairn_proto::error::FsError;
use cairn_runtime::worker::{WorkError, WorkState, Worker};

use super::super::Cluster;
use super::mend::{MendError, Mended, mend};

/// Between two looks for failed jobs that are due again.
const PAUSE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct RepairWorker {
    cluster: Arc<Cluster>,
    /// Among the repair workers, from 1.
    number: usize,
}

impl RepairWorker {
    pub fn new(cluster: Arc<Cluster>, number: usize) -> Self {
        Self { cluster, number }
    }
}

impl Worker for RepairWorker {
    fn name(&self) -> String {
        format!("repair-{}", self.number)
    }

    /// Its cost is in bytes copied. A chunk that cannot be mended goes back to the queue; it is no failure of the worker.
    async fn work(&mut self) -> Result<WorkState, WorkError> {
        let queue = &self.cluster.repairs;
        if self.cluster.throttle.is_paused() {
            return Ok(WorkState::Wait(PAUSE));
        }
        let Some(mut job) = queue.take(self.cluster.now()) else { return Ok(WorkState::Wait(PAUSE)) };
        match mend(&self.cluster, &job).await {
            Ok(Mended::Fine) => Ok(WorkState::Busy { cost: 0 }),
            Ok(Mended::Progress { bytes }) => {
                job.complaints.clear();
                job.relieve = None;
                queue.again(job);
                Ok(WorkState::Busy { cost: bytes })
            }
            Ok(Mended::TooEarly(until)) => {
                queue.defer(job, until);
                Ok(WorkState::Busy { cost: 0 })
            }
            Ok(Mended::Busy) => {
                queue.retry(job, self.cluster.now());
                Ok(WorkState::Busy { cost: 0 })
            }
            // Removed, or changed by somebody else, in the meantime.
            Err(MendError::Metadata(_, FsError::NotFound | FsError::ChunkBusy(_))) => Ok(WorkState::Busy { cost: 0 }),
            Err(error) => {
                tracing::info!(%error, "a chunk could not be repaired, will be tried again");
                queue.retry(job, self.cluster.now());
                Ok(WorkState::Busy { cost: 0 })
            }
        }
    }

    async fn wait(&mut self) {
        self.cluster.repairs.filled().await;
    }

    fn detail(&self) -> Option<String> {
        let queue = &self.cluster.repairs;
        Some(format!("{} chunks wait, {} of them with one copy or none", queue.len(), queue.exposed(1)))
    }
}
