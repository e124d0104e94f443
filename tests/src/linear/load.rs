//! Workers, running as processes: one that waits for a mount that does not answer holds up nobody else.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::history::History;
use super::worker::{Manner, NAMES};

/// The workers of one history. Dropped, it kills them.
#[derive(Debug)]
pub struct Load {
    logs: TempDir,
    manner: Manner,
    workers: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    log: PathBuf,
    /// Its mount is gone, and nothing is expected of it.
    abandoned: bool,
}

impl Load {
    /// All work in this manner, with seeds of their own.
    pub fn new(manner: Manner) -> Result<Self> {
        Ok(Self { logs: tempfile::tempdir()?, manner, workers: Vec::new() })
    }

    /// Starts a worker in `dir`. Returns its number.
    pub fn start(&mut self, dir: &Path) -> Result<usize> {
        let worker = self.workers.len();
        let manner = Manner { worker, seed: self.manner.seed.wrapping_add(worker as u64), ..self.manner.clone() };
        let log = self.logs.path().join(worker.to_string());
        let mut child = Command::new(crate::binaries::sibling("cairn-worker"))
            .args([dir, &log])
            .arg(serde_json::to_string(&manner)?)
            .stdin(Stdio::piped())
            .spawn()
            .context("start cairn-worker")?;
        let stdin = child.stdin.take();
        self.workers.push(Running { child, stdin, log, abandoned: false });
        Ok(worker)
    }

    /// The mount of this worker is taken away.
    pub fn abandon(&mut self, worker: usize) {
        self.workers[worker].abandoned = true;
    }

    /// Has all of them stop after the call that they are in.
    pub fn finish(&mut self, limit: Duration) -> Result<()> {
        for worker in &mut self.workers {
            worker.stdin = None;
        }
        self.wait(limit)
    }

    /// Waits until all have made all of their calls, or cannot go on.
    pub fn wait(&mut self, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        for (n, worker) in self.workers.iter_mut().enumerate() {
            let status = loop {
                if let Some(status) = worker.child.try_wait()? {
                    break status;
                }
                if Instant::now() > end {
                    let last = std::fs::read_to_string(&worker.log).unwrap_or_default();
                    bail!("worker {n} hangs in {}", last.lines().last().unwrap_or("nothing"));
                }
                std::thread::sleep(Duration::from_millis(10));
            };
            ensure!(status.success() || worker.abandoned, "worker {n} ended with {status}");
        }
        Ok(())
    }

    /// What they all did.
    pub fn history(&self) -> Result<History> {
        let mut history = History::new(NAMES);
        for (n, worker) in self.workers.iter().enumerate() {
            if worker.log.exists() || !worker.abandoned {
                history.add_log(n, &worker.log)?;
            }
        }
        Ok(history)
    }

    /// Keeps the logs for whoever looks into a violation. Returns where.
    pub fn keep(&mut self) -> &Path {
        self.logs.disable_cleanup(true);
        self.logs.path()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            // Not waited for: one that is in a call of a mount that does not answer ends with that mount.
            let _ = worker.child.kill();
        }
    }
}
