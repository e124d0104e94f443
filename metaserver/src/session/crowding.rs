//! Keeps room for new leases: some of those who have many are asked to give theirs back before the table is full.

use std::sync::Arc;
use std::time::Duration;

use cairn_runtime::worker::{WorkError, WorkState, Worker};

use super::Clients;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// See the module.
#[derive(Debug)]
pub struct CrowdingWorker {
    clients: Arc<Clients>,
}

impl CrowdingWorker {
    pub fn new(clients: Arc<Clients>) -> Self {
        Self { clients }
    }
}

impl Worker for CrowdingWorker {
    fn name(&self) -> String {
        "room for leases".to_owned()
    }

    async fn work(&mut self) -> Result<WorkState, WorkError> {
        for (session, event) in self.clients.leases.to_make_room() {
            self.clients.ask(session, event);
        }
        Ok(WorkState::Wait(PAUSE))
    }

    fn detail(&self) -> Option<String> {
        Some(format!("{} leases", self.clients.leases.len()))
    }
}
