//! A daemon that does nothing for a while, and does not know it.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::daemon::Daemon;
use crate::run;

/// Stopped by SIGSTOP. Dropped, it goes on: a mount whose client is stopped can be neither used nor unmounted.
#[derive(Debug)]
pub struct Stopped<'a> {
    daemon: &'a Daemon,
}

impl<'a> Stopped<'a> {
    /// Returns when it has stopped.
    pub fn new(daemon: &'a Daemon) -> Result<Self> {
        daemon.signal(Signal::SIGSTOP)?;
        let stopped = Self { daemon };
        run::wait_until("the daemon has stopped", Duration::from_secs(10), || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid()))?;
            // The name before it, in brackets, may hold anything.
            let (_, rest) = stat.rsplit_once(") ").context("/proc/PID/stat has a name in brackets")?;
            Ok(rest.starts_with('T'))
        })?;
        Ok(stopped)
    }

    /// SIGCONT.
    pub fn resume(self) {}
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        let _ = self.daemon.signal(Signal::SIGCONT);
    }
}
