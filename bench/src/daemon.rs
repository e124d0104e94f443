//! A process that a target runs in the background.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::{BenchError, IoContext};

/// How long a daemon may take to finish what it has begun, before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a daemon may take until it answers.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A child process with a log file. It ends with this value, by SIGTERM, or by SIGKILL where that does not help.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    log: PathBuf,
    /// Length of the log before this process added to it.
    log_start: usize,
    child: Child,
}

impl Daemon {
    /// Starts `command` with both outputs appended to `log_directory/name.log`.
    pub fn spawn(name: &str, command: &mut Command, log_directory: &Path) -> Result<Self, BenchError> {
        let log = log_directory.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).doing("open", &log)?;
        let log_start = file.metadata().doing("stat", &log)?.len() as usize;
        let second = file.try_clone().doing("open", &log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(second)
            .spawn()
            .map_err(|source| BenchError::Spawn { program: name.to_owned(), source })?;
        Ok(Self { name: name.to_owned(), log, log_start, child })
    }

    /// Waits until `ready` holds; fails if the daemon ends first, or takes too long.
    pub fn wait_until(&mut self, mut ready: impl FnMut(&Self) -> bool) -> Result<(), BenchError> {
        let deadline = Instant::now() + READY_TIMEOUT;
        while !ready(self) {
            if let Some(status) = self.child.try_wait().doing("wait for", Path::new(&self.name))? {
                return Err(BenchError::DaemonDied { daemon: self.name.clone(), status, log: self.log.clone() });
            }
            if Instant::now() > deadline {
                let (daemon, log) = (self.name.clone(), self.log.clone());
                return Err(BenchError::NotReady { daemon, timeout: READY_TIMEOUT, log });
            }
            sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// What the daemon has said so far; nothing of what an earlier one said into the same file.
    pub fn log_text(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(log.get(self.log_start..).unwrap_or_default()).into_owned()
    }

    /// Asks the daemon to end and waits for it.
    pub fn stop(mut self) -> Result<(), BenchError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), BenchError> {
        if self.has_ended()? {
            return Ok(());
        }
        // Our own child and not waited for yet, so the number cannot have passed to another process.
        let asked = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let deadline = Instant::now() + STOP_TIMEOUT;
        while asked.is_ok() && Instant::now() < deadline {
            if self.has_ended()? {
                return Ok(());
            }
            sleep(POLL_INTERVAL);
        }
        self.child.kill().doing("kill", Path::new(&self.name))?;
        self.child.wait().doing("wait for", Path::new(&self.name))?;
        Err(BenchError::DaemonStuck { daemon: self.name.clone(), timeout: STOP_TIMEOUT, log: self.log.clone() })
    }

    fn has_ended(&mut self) -> Result<bool, BenchError> {
        Ok(self.child.try_wait().doing("wait for", Path::new(&self.name))?.is_some())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn readiness_is_seen_in_the_log_and_the_daemon_stops_when_asked() {
        let logs = tempfile::tempdir().unwrap();
        let mut daemon = Daemon::spawn("d", &mut shell("echo up; exec sleep 600"), logs.path()).unwrap();
        daemon.wait_until(|daemon| daemon.log_text().contains("up")).unwrap();
        daemon.stop().unwrap();
    }

    #[test]
    fn an_earlier_log_is_kept_and_not_taken_for_readiness() {
        let logs = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let mut daemon = Daemon::spawn("d", &mut shell("echo up; exec sleep 600"), logs.path()).unwrap();
            daemon.wait_until(|daemon| !daemon.log_text().is_empty()).unwrap();
            assert_eq!(daemon.log_text(), "up\n");
            daemon.stop().unwrap();
        }
        assert_eq!(fs::read_to_string(logs.path().join("d.log")).unwrap(), "up\nup\n");
    }

    #[test]
    fn a_daemon_that_ends_while_starting_is_an_error_and_not_a_wait() {
        let logs = tempfile::tempdir().unwrap();
        let mut daemon = Daemon::spawn("d", &mut shell("exit 4"), logs.path()).unwrap();
        let error = daemon.wait_until(|_| false).unwrap_err();
        assert!(matches!(error, BenchError::DaemonDied { status, .. } if status.code() == Some(4)));
    }
}
