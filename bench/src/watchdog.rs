//! Ends the program when a workload hangs.
//!
//! A thread inside of a call on a dead mount cannot be cancelled, so there is nothing to return to; results of
//! finished targets are on disk by then, and the namespaces around the program take daemons and mounts with them.

use std::process::exit;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::spawn;
use std::time::Duration;

/// The exit status of timeout(1), for the same reason.
const TIMED_OUT: i32 = 124;

/// Ends the program after `limit`, unless dropped before.
#[derive(Debug)]
pub struct Watchdog {
    _dropped_when_done: Sender<()>,
}

impl Watchdog {
    pub fn new(limit: Duration, what: String) -> Self {
        let (sender, done) = channel::<()>();
        spawn(move || {
            if done.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                eprintln!("{what} was not done after {limit:?}: giving up");
                exit(TIMED_OUT);
            }
        });
        Self { _dropped_when_done: sender }
    }
}
