//! Processes that lock files as a test tells them to: the program `cairn-locker`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than any answer takes that is not waiting for a lock.
const PROMPTLY: Duration = Duration::from_secs(20);

/// One process. It ends with this, and so do its locks.
#[derive(Debug)]
pub struct Locker {
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Locker {
    /// Works in `dir`.
    pub fn start(dir: &Path) -> Result<Self> {
        let program = crate::binaries::sibling("cairn-locker");
        let mut command = Command::new(program);
        let mut child =
            command.arg(dir).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start cairn-locker")?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("no stdout")?;
        let (said, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if said.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, stdin, answers })
    }

    /// Starts a call, and does not wait for what it comes to.
    pub fn begin(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("stopped")?;
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).context("tell cairn-locker")
    }

    /// What the call that was begun has come to, if it does so within `limit`.
    pub fn answer_within(&self, limit: Duration) -> Option<String> {
        self.answers.recv_timeout(limit).ok()
    }

    /// What the call that was begun comes to.
    pub fn answer(&self) -> Result<String> {
        self.answer_within(PROMPTLY).context("no answer")
    }

    pub fn ask(&mut self, line: &str) -> Result<String> {
        self.begin(line)?;
        self.answer().with_context(|| line.to_owned())
    }

    /// A call, and what it must come to.
    pub fn expect(&mut self, line: &str, answer: &str) -> Result<()> {
        let got = self.ask(line)?;
        ensure!(got == answer, "`{line}`: {got}, not {answer}");
        Ok(())
    }

    /// Interrupts the call that was begun.
    pub fn interrupt(&self) -> Result<()> {
        self.signal(Signal::SIGUSR1)
    }

    /// As by `kill -9`. Returns when the process is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.child.wait().map(drop).context("wait for cairn-locker")
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.child.id() as i32), signal).context("signal cairn-locker")
    }
}

impl Drop for Locker {
    fn drop(&mut self) {
        // It ends with its input; one that waits for a lock does not read any.
        self.stdin = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
