//! Running workers, and saying what they do.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pace::{Pace, Pacer};
use super::{WorkState, Worker};
use crate::shutdown::Shutdown;

/// Wait after the first error in a row; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_millis(200);

/// Longest wait between two tries.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Activity {
    Working,
    /// It has nothing to do.
    Waiting,
    /// It has more to do, and keeps to its pace.
    Paced,
    /// Its last try failed, the next is to come.
    Failing,
    /// It came to its end, or was stopped.
    Ended,
    /// It panicked, which is a bug, and does nothing any more.
    Crashed,
}

/// One line of the list of workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkerStatus {
    pub name: String,
    pub activity: Activity,
    /// Units of work done.
    pub units: u64,
    /// Units of work that failed.
    pub errors: u64,
    /// Failures since the last success.
    pub errors_in_a_row: u32,
    /// Stays after the next success, so that it can be read.
    pub last_error: Option<String>,
    /// Cost per second; `None` = no limit.
    pub per_second: Option<u64>,
    /// What the worker says of itself.
    pub detail: Option<String>,
}

/// The name belongs to a worker that still runs.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there already is a worker `{0}`")]
pub struct NameTaken(pub String);

/// No worker has this name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no worker `{0}`")]
pub struct UnknownWorker(pub String);

/// The workers of a daemon. Clones are the same. They stop with the daemon's [`Shutdown`], which waits for them.
#[derive(Clone, Debug)]
pub struct Workers {
    shutdown: Shutdown,
    entries: Arc<Mutex<Vec<Arc<Entry>>>>,
}

#[derive(Debug)]
struct Entry {
    status: Mutex<WorkerStatus>,
    pacer: Pacer,
}

impl Workers {
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, entries: Arc::default() }
    }

    /// Starts a worker. One that has ended makes room for another of its name.
    pub fn spawn<W: Worker>(&self, worker: W, pace: Pace) -> Result<(), NameTaken> {
        let name = worker.name();
        let mut entries = lock(&self.entries);
        entries.retain(|entry| {
            let status = lock(&entry.status);
            status.name != name || !matches!(status.activity, Activity::Ended | Activity::Crashed)
        });
        if entries.iter().any(|entry| lock(&entry.status).name == name) {
            return Err(NameTaken(name));
        }
        let entry = Arc::new(Entry::new(name, pace));
        entries.push(entry.clone());
        drop(entries);
        let stop = self.shutdown.token();
        self.shutdown.spawn(async move {
            match AssertUnwindSafe(entry.run(worker, &stop)).catch_unwind().await {
                Ok(()) => entry.set(Activity::Ended),
                Err(_) => {
                    entry.set(Activity::Crashed);
                    tracing::error!(worker = entry.name(), "the worker panicked and is out of service");
                }
            }
        });
        Ok(())
    }

    /// What each worker is doing, by name.
    pub fn list(&self) -> Vec<WorkerStatus> {
        let mut list: Vec<_> = lock(&self.entries).iter().map(|entry| entry.snapshot()).collect();
        list.sort_by(|a, b| a.name.cmp(&b.name));
        list
    }

    /// Changes a worker's pace, from now on.
    pub fn set_pace(&self, name: &str, pace: Pace) -> Result<(), UnknownWorker> {
        let entries = lock(&self.entries);
        let entry = entries.iter().find(|entry| lock(&entry.status).name == name);
        entry.map(|entry| entry.pacer.set(pace)).ok_or_else(|| UnknownWorker(name.to_owned()))
    }
}

impl Entry {
    fn new(name: String, pace: Pace) -> Self {
        let status = WorkerStatus {
            name,
            activity: Activity::Waiting,
            units: 0,
            errors: 0,
            errors_in_a_row: 0,
            last_error: None,
            per_second: None,
            detail: None,
        };
        Self { status: Mutex::new(status), pacer: Pacer::new(pace) }
    }

    async fn run<W: Worker>(&self, mut worker: W, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            self.set(Activity::Working);
            let began = Instant::now();
            let result = worker.work().await;
            self.record(result.as_ref().err().map(ToString::to_string), worker.detail());
            let pause = async {
                match result {
                    Ok(WorkState::Busy { cost }) => {
                        self.set(Activity::Paced);
                        self.pacer.settle(cost, began).await;
                        // A worker that never waits by itself still lets the others have a turn.
                        tokio::task::yield_now().await;
                    }
                    Ok(WorkState::Wait(limit)) => {
                        self.set(Activity::Waiting);
                        let _ = tokio::time::timeout(limit, worker.wait()).await;
                    }
                    Ok(WorkState::Idle) => {
                        self.set(Activity::Waiting);
                        worker.wait().await;
                    }
                    Ok(WorkState::Done) => return false,
                    Err(_) => {
                        self.set(Activity::Failing);
                        tokio::time::sleep(self.retry_after()).await;
                    }
                }
                true
            };
            if stop.run_until_cancelled(pause).await != Some(true) {
                return;
            }
        }
    }

    /// Counts a unit of work. Of a streak of errors, the first and the end are logged.
    fn record(&self, error: Option<String>, detail: Option<String>) {
        let mut status = lock(&self.status);
        status.detail = detail;
        match error {
            None => {
                status.units += 1;
                if status.errors_in_a_row > 0 {
                    tracing::info!(worker = status.name, failures = status.errors_in_a_row, "works again");
                    status.errors_in_a_row = 0;
                }
            }
            Some(error) => {
                status.errors += 1;
                status.errors_in_a_row = status.errors_in_a_row.saturating_add(1);
                if status.errors_in_a_row == 1 {
                    tracing::warn!(worker = status.name, error, "work failed, will be tried again");
                }
                status.last_error = Some(error);
            }
        }
    }

    fn retry_after(&self) -> Duration {
        let doublings = lock(&self.status).errors_in_a_row.saturating_sub(1).min(16);
        (FIRST_RETRY * 2u32.pow(doublings)).min(LONGEST_RETRY)
    }

    fn set(&self, activity: Activity) {
        lock(&self.status).activity = activity;
    }

    fn name(&self) -> String {
        lock(&self.status).name.clone()
    }

    fn snapshot(&self) -> WorkerStatus {
        let per_second = match self.pacer.pace() {
            Pace::Unlimited => None,
            Pace::PerSecond(per_second) => Some(per_second),
        };
        WorkerStatus { per_second, ..lock(&self.status).clone() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
