//! `cairn mount --supervise`: a small parent process that mounts again when the client behind a mount is killed or crashes.
//!
//! The client is the same program in a process of its own. A mount whose client is gone answers `Transport endpoint is not connected`
//! until the next client takes it away and mounts in its place. What programs had open on it is gone for them; the path works again. An
//! ordinary `umount` ends both processes, and so do SIGTERM and SIGINT to the parent, which passes them on.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cairn_client::mount::{Place, UnmountMode, unmount};
use cairn_proto::transport::{Backoff, Endpoint};
use cairn_runtime::shutdown::{StopSignal, StopSignals};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::commands::mount::SESSION;
use crate::out::announce;

/// Wait before a client that has died young is started again; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A client that has lived so long has not died young.
const GROWN_UP: Duration = Duration::from_secs(5);

/// What is kept mounted.
#[derive(Debug)]
pub struct Supervised {
    pub metaserver: Endpoint,
    pub mountpoint: PathBuf,
    /// What `cairn` is to be called with for a client in the foreground.
    pub client: Vec<OsString>,
}

/// How a client ended.
#[derive(Debug)]
struct Ended {
    status: ExitStatus,
    /// It had mounted.
    was_ready: bool,
    /// It was told to stop.
    stopped: bool,
    /// The session that it, or the one before it, has left behind.
    session: Option<u64>,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    MountAgain,
    End,
}

impl Supervised {
    /// Keeps it mounted, for as long as the configuration is `valid`. Answers whether all was well in the end; if not, the client has said
    /// why.
    pub async fn run(self, valid: impl Fn() -> Result<()>) -> Result<bool> {
        let mut signals = StopSignals::listen().context("listen for signals")?;
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        let mut mounted_before = false;
        let mut session = None;
        loop {
            let begin = Instant::now();
            valid().inspect_err(|_| self.clean_up())?;
            let ended = self.run_client(&mut signals, session.take(), mounted_before).await?;
            mounted_before |= ended.was_ready;
            session = ended.session;
            if self.next(&ended, mounted_before) == Next::End {
                self.clean_up();
                return Ok(ended.status.success());
            }
            tracing::warn!(mountpoint = %self.mountpoint.display(), status = %ended.status, "the client is gone; mounting again");
            if begin.elapsed() >= GROWN_UP {
                backoff.reset();
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.after_failure()) => {}
                signal = signals.next() => {
                    tracing::info!(%signal, "stopping");
                    self.clean_up();
                    return Ok(true);
                }
            }
        }
    }

    /// One client, to its end.
    async fn run_client(&self, signals: &mut StopSignals, dead: Option<u64>, again: bool) -> Result<Ended> {
        let mut client = Client::start(&self.client, dead)?;
        let (mut was_ready, mut stopped, mut session) = (false, false, dead);
        loop {
            tokio::select! {
                // First: a client that dies at once has yet mounted.
                biased;
                line = client.said.next_line(), if !was_ready => {
                    let Some(line) = line.context("hear from the client")? else {
                        let status = client.process.wait().await.context("wait for the client")?;
                        return Ok(Ended { status, was_ready, stopped, session });
                    };
                    was_ready = true;
                    session = session_of(&line);
                    if again {
                        tracing::info!(mountpoint = %self.mountpoint.display(), "mounted again");
                    } else {
                        announce!("{line}");
                    }
                }
                status = client.process.wait() => {
                    let status = status.context("wait for the client")?;
                    return Ok(Ended { status, was_ready, stopped, session });
                }
                signal = signals.next() => {
                    tracing::info!(%signal, "stopping");
                    stopped = true;
                    client.pass_on(signal);
                }
            }
        }
    }

    fn next(&self, ended: &Ended, mounted_before: bool) -> Next {
        if ended.stopped || !mounted_before {
            return Next::End;
        }
        match Place::of(&self.mountpoint) {
            place if place.is_dead_mount_of(&self.metaserver) => Next::MountAgain,
            // Somebody else has mounted something there.
            Place::Mounted { .. } | Place::Dead { .. } => Next::End,
            // Killed between taking the dead mount away and mounting anew.
            Place::Free if !ended.was_ready && ended.status.code().is_none() => Next::MountAgain,
            // It was unmounted.
            Place::Free => Next::End,
        }
    }

    /// Takes a dead mount away that is not to be replaced.
    fn clean_up(&self) {
        if !Place::of(&self.mountpoint).is_dead_mount_of(&self.metaserver) {
            return;
        }
        if let Err(error) = unmount(&self.mountpoint, UnmountMode::Lazy) {
            tracing::error!(mountpoint = %self.mountpoint.display(), %error, "a dead mount is left behind");
        }
    }
}

/// The process behind the mount.
struct Client {
    process: Child,
    /// One line, when it has mounted. Kept open: whatever else it may say must find a reader.
    said: Lines<BufReader<ChildStdout>>,
}

impl Client {
    fn start(args: &[OsString], successor_of: Option<u64>) -> Result<Self> {
        let exe = std::env::current_exe().context("the path of this program")?;
        let mut command = Command::new(exe);
        // A group of its own: Ctrl-C on a terminal comes to it from here, once.
        command.args(args);
        if let Some(session) = successor_of {
            command.arg("--successor-of").arg(session.to_string());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
        let mut process = command.spawn().context("cannot start the client")?;
        let said = BufReader::new(process.stdout.take().context("stdout is piped")?).lines();
        tracing::info!(client = process.id(), supervisor = std::process::id(), "started a client");
        Ok(Self { process, said })
    }

    fn pass_on(&self, signal: StopSignal) {
        let signal = match signal {
            StopSignal::Interrupt => Signal::SIGINT,
            StopSignal::Terminate => Signal::SIGTERM,
        };
        if let Some(pid) = self.process.id().and_then(|pid| i32::try_from(pid).ok())
            && let Err(error) = kill(Pid::from_raw(pid), signal)
        {
            tracing::warn!(%error, %signal, "the client did not get a signal");
        }
    }
}

/// The number of the session, from the line that a client says when it has mounted.
fn session_of(line: &str) -> Option<u64> {
    let after = line.rsplit_once(SESSION)?.1;
    after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_is_read_from_the_line() {
        let line = "cairn#meta:7400 is mounted at /mnt/a, session 7, health at http://127.0.0.1:80";
        assert_eq!(session_of(line), Some(7));
        assert_eq!(session_of("cairn#meta:7400 is mounted at /mnt/a, session 12"), Some(12));
        assert_eq!(session_of("cairn#meta:7400 is mounted at /mnt/a"), None);
    }
}
