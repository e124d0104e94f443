//! Background work: repair, balance, scrub, garbage, reports.
//!
//! A [`Worker`] does one unit of work at a time, which is never interrupted, and waits in between, which always may be:
//! by a stop, or by whatever the worker itself waits for. [`Workers`] runs them, paces them, tries again after errors, and
//! can say at any time what each is doing.

mod pace;
mod registry;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::time::Duration;

pub use pace::Pace;
pub use registry::{Activity, NameTaken, UnknownWorker, WorkerStatus, Workers};

/// Why a unit of work failed. It is logged and shown; nobody takes it apart.
pub type WorkError = Box<dyn std::error::Error + Send + Sync>;

/// What a worker wants after a unit of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkState {
    /// There is more to do. `cost` counts against the worker's [`Pace`], in the unit that the worker's pace is set in
    /// (chunks, bytes …).
    Busy { cost: u64 },
    /// Nothing to do for that long, or until [`Worker::wait`] returns.
    Wait(Duration),
    /// Nothing to do until [`Worker::wait`] returns.
    Idle,
    /// Nothing to do any more.
    Done,
}

/// A piece of background work.
pub trait Worker: Send + 'static {
    /// By which it is listed and paced: unique within the daemon.
    fn name(&self) -> String;

    /// One unit of work, short enough that a stop can wait for it. After an error it is called again, after a back-off.
    fn work(&mut self) -> impl Future<Output = Result<WorkState, WorkError>> + Send;

    /// Returns when there may be work again: a queue was filled, a condition has changed. May be dropped at any time.
    fn wait(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// What there is to say about it now: length of the queue, expected end.
    fn detail(&self) -> Option<String> {
        None
    }
}
