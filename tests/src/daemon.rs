//! One daemon as a process of its own.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a daemon may take to say that it serves.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a daemon may take to stop after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// For a killed process to be gone: it may have to leave calls of the kernel first.
const KILL_LIMIT: Duration = Duration::from_secs(20);

/// A running `cairn` process. Dropped, it is killed.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
    /// The line it printed when it was ready.
    pub ready: String,
}

impl Daemon {
    /// Starts `cairn ARGS`, with stderr appended to `log`, and waits for its first line on stdout.
    pub fn start(name: &str, args: &[String], log: &Path) -> Result<Self> {
        let mut command = Command::new(crate::binaries::cairn());
        command.args(args);
        Self::spawn(name, command, log)
    }

    /// As [`Daemon::start`], of a `cairn` with its arguments.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let stderr = OpenOptions::new().create(true).append(true).open(log)?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let stdout = child.stdout.take().expect("stdout is piped");
        let (send, receive) = std::sync::mpsc::channel();
        // The reader lives as long as the pipe, so that the daemon never blocks on it.
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout);
            let mut first = String::new();
            let _ = lines.read_line(&mut first);
            let _ = send.send(first);
            let _ = std::io::copy(&mut lines, &mut std::io::sink());
        });
        let ready = receive.recv_timeout(START_LIMIT).unwrap_or_default();
        let mut daemon = Self { name: name.to_owned(), child, log: log.to_owned(), ready: ready.trim().to_owned() };
        if daemon.ready.is_empty() {
            let status = daemon.child.try_wait()?;
            bail!("{name} did not become ready ({status:?}); its log ends:\n{}", daemon.log_tail());
        }
        Ok(daemon)
    }

    /// The word after `serves at` in the ready line.
    pub fn endpoint(&self) -> Result<String> {
        let mut words = self.ready.split_whitespace().skip_while(|w| *w != "at").skip(1);
        let word = words.next().with_context(|| format!("{}: no endpoint in {:?}", self.name, self.ready))?;
        Ok(word.trim_end_matches([',', ';', '.']).to_owned())
    }

    /// Asks for a path where it answers for its health: status and body.
    pub fn http(&self, path: &str) -> Result<(String, String)> {
        let health = self.ready.split("http://").nth(1).context("the ready line names the health address")?;
        let address = health.split(['/', ' ', ',', ')']).next().context("an address")?;
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an HTTP answer")?;
        Ok((head.split(' ').nth(1).context("an HTTP status line")?.to_owned(), body.to_owned()))
    }

    /// Its figures, from there.
    pub fn stats(&self) -> Result<serde_json::Value> {
        let (status, body) = self.http("/stats")?;
        ensure!(status == "200", "{}: {status} {body}", self.name);
        Ok(serde_json::from_str(&body)?)
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).with_context(|| format!("{signal} to {}", self.name))
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.wait(KILL_LIMIT).map(drop)
    }

    /// SIGTERM, and waits for a clean end.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait(STOP_LIMIT)
    }

    /// Waits for the process to end by itself.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > end {
                bail!("{} did not end within {limit:?}; its log ends:\n{}", self.name, self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Everything that it, and earlier ones with the same log, have logged.
    pub fn log(&self) -> Result<String> {
        std::fs::read_to_string(&self.log).with_context(|| self.log.display().to_string())
    }

    pub fn log_tail(&self) -> String {
        let text = self.log().unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
