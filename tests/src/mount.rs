//! A mounted file system with the client process behind it.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::daemon::Daemon;
use crate::run;

/// What a client says when it did something under a delegation that the metaserver does otherwise, or not at all.
const DISAGREEMENTS: [&str; 2] = ["came to another result than this mount", "refused what was done ahead of it"];

/// Dropped, it unmounts, by force if need be.
#[derive(Debug)]
pub struct Mount {
    path: PathBuf,
    daemon: Option<Daemon>,
}

impl Mount {
    /// `CAIRN mount META PATH --foreground -o OPTIONS`.
    pub fn start(mut cairn: Command, meta: &str, path: &Path, options: &str, log: &Path) -> Result<Self> {
        // A dead mount is there and cannot be looked at.
        let there = |error: &std::io::Error| error.kind() == ErrorKind::AlreadyExists;
        std::fs::create_dir(path).or_else(|error| if there(&error) { Ok(()) } else { Err(error) })?;
        cairn.args(["mount", meta]).arg(path).arg("--foreground");
        if !options.is_empty() {
            cairn.args(["-o", options]);
        }
        let daemon = Daemon::spawn("mount", cairn, log)?;
        Ok(Self { path: path.to_owned(), daemon: Some(daemon) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` on the mount's root.
    pub fn run<T>(&self, work: impl FnOnce(PathBuf) -> T) -> T {
        work(self.path.clone())
    }

    /// How many there are.
    pub fn inodes(&self) -> Result<u64> {
        let stat = nix::sys::statvfs::statvfs(self.path())?;
        Ok(stat.files() - stat.files_free())
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The client process.
    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("only unmount and kill take it")
    }

    /// `umount`, and wants the client to end in good order, and never to have been of another opinion than the metaserver.
    pub fn unmount(mut self) -> Result<()> {
        run::check(Command::new("umount").arg(&self.path))?;
        let mut daemon = self.daemon.take().context("mounted once")?;
        let status = daemon.wait(Duration::from_secs(60))?;
        ensure!(status.success(), "the client ended with {status}; its log ends:\n{}", daemon.log_tail());
        let log = daemon.log()?;
        let disagrees = |line: &&str| DISAGREEMENTS.iter().any(|words| line.contains(words));
        ensure!(!log.lines().any(|line| disagrees(&line)), "the client and the metaserver disagree:\n{log}");
        Ok(())
    }

    /// The process behind the mount where the one that was started supervises it, from its log: of those so far the latest.
    pub fn supervised_pid(&self) -> Result<Pid> {
        supervised(&self.daemon().log()?).map(|(client, _)| client)
    }

    /// Takes the mount away with `command`, and answers how the client ended, within `limit`.
    pub fn taken_away(mut self, command: &mut Command, limit: Duration) -> Result<ExitStatus> {
        run::check(command)?;
        self.daemon.take().context("mounted once")?.wait(limit)
    }

    /// Has the client end by a signal, and answers how it did, within `limit`.
    pub fn ended_by(mut self, signal: Signal, limit: Duration) -> Result<ExitStatus> {
        let mut daemon = self.daemon.take().context("mounted once")?;
        daemon.signal(signal)?;
        daemon.wait(limit)
    }

    /// Waits until the client has died by itself, and takes the dead mount away.
    pub fn dies(mut self, limit: Duration) -> Result<()> {
        let status = self.daemon.as_mut().context("mounted once")?.wait(limit)?;
        self.daemon = None;
        run::check(Command::new("umount").arg("-l").arg(&self.path))?;
        ensure!(status.signal() == Some(Signal::SIGKILL as i32), "the client ended with {status}");
        Ok(())
    }

    /// Kills the client with -9 and leaves the dead mount behind.
    pub fn leave_dead(mut self) -> Result<()> {
        self.daemon.take().context("mounted once")?.kill()
    }

    /// Kills the client with -9 and takes the dead mount away.
    pub fn kill(mut self) -> Result<()> {
        self.daemon.take().context("mounted once")?.kill()?;
        run::check(Command::new("umount").arg("-l").arg(&self.path))?;
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        let unmounted = run::check(Command::new("umount").arg(&self.path)).is_ok();
        if !unmounted || daemon.wait(Duration::from_secs(20)).is_err() {
            let _ = daemon.kill();
            let _ = run::output(Command::new("umount").arg("-l").arg(&self.path));
        }
    }
}

/// The latest client and its supervisor, from the log of a supervised mount.
pub fn supervised(log: &str) -> Result<(Pid, Pid)> {
    let lines = log.lines().rev().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut started = lines.filter(|line| line["message"] == "started a client");
    let line = started.next().context("no client was started")?;
    let pid = |key: &str| line[key].as_i64().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
    pid("client").zip(pid("supervisor")).with_context(|| line.to_string())
}
