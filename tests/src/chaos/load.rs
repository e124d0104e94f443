//! The workers, as processes: one that hangs in a call holds up nobody else, and can be told from one that works.

use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::ledger::Ledger;
use super::worker::Places;
use crate::mount::Mount;
use crate::watchdog::processes;

/// All workers. Dropped, it kills them.
#[derive(Debug)]
pub struct Load(Vec<Running>);

#[derive(Debug)]
struct Running {
    places: Places,
    child: Child,
    stdin: Option<ChildStdin>,
}

/// Where a worker's files are, and what they are to hold.
#[derive(Debug)]
pub struct Claim {
    pub places: Places,
    pub ledger: Ledger,
}

/// Name of a worker's directory.
pub fn dir_of(worker: usize) -> String {
    format!("w{worker}")
}

impl Load {
    /// As many workers, half of which work on the one mount and look through the other. `local` takes their mirrors and ledgers.
    pub fn start(workers: usize, mounts: [&Mount; 2], local: &Path, seed: u64) -> Result<Self> {
        let start = |n: usize| -> Result<Running> {
            let (own, other) = (mounts[n % 2], mounts[(n + 1) % 2]);
            let name = dir_of(n);
            let places = Places { dir: own.join(&name), seen: other.join(&name), mirror: local.join(&name) };
            let mut child = Command::new(crate::binaries::sibling("cairn-chaos-worker"))
                .args([&places.dir, &places.seen, &places.mirror, &ledger_of(&places)])
                .arg(seed.wrapping_add(n as u64).to_string())
                .stdin(Stdio::piped())
                .spawn()
                .context("start cairn-chaos-worker")?;
            let stdin = child.stdin.take();
            Ok(Running { places, child, stdin })
        };
        Ok(Self((0..workers).map(start).collect::<Result<_>>()?))
    }

    /// None has ended: an error of theirs is to be known at once, not when all is over.
    pub fn check(&mut self) -> Result<()> {
        for (n, worker) in self.0.iter_mut().enumerate() {
            let ended = worker.child.try_wait()?;
            ensure!(ended.is_none(), "worker {n} has met an error (see above)");
        }
        Ok(())
    }

    /// Each of them begins a call that it had not begun before, and comes to its end.
    pub fn wait_for_calls(&self, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        let before = self.0.iter().map(Running::calls).collect::<Result<Vec<_>>>()?;
        for (n, (worker, before)) in self.0.iter().zip(before).enumerate() {
            // One may be under way.
            while worker.calls()? < before + 2 {
                ensure!(Instant::now() < end, "worker {n} hangs in a call:\n{}", processes());
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(())
    }

    /// Has all of them stop after the call that they are in.
    pub fn finish(mut self, limit: Duration) -> Result<Vec<Claim>> {
        self.0.iter_mut().for_each(|worker| worker.stdin = None);
        let end = Instant::now() + limit;
        for (n, worker) in self.0.iter_mut().enumerate() {
            while worker.child.try_wait()?.is_none() {
                ensure!(Instant::now() < end, "worker {n} hangs in a call:\n{}", processes());
                std::thread::sleep(Duration::from_millis(10));
            }
            let status = worker.child.wait()?;
            ensure!(status.success(), "worker {n} has met an error (see above): {status}");
        }
        let claim = |worker: &Running| -> Result<Claim> {
            let ledger = std::fs::read(ledger_of(&worker.places)).context("a worker leaves its ledger")?;
            Ok(Claim { places: worker.places.clone(), ledger: serde_json::from_slice(&ledger)? })
        };
        self.0.iter().map(claim).collect()
    }
}

impl Running {
    /// Calls that have come to their end.
    fn calls(&self) -> Result<u64> {
        match std::fs::metadata(calls_of(&self.places)) {
            Ok(calls) => Ok(calls.len()),
            // It has not begun yet.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

/// The file that a worker makes longer by a byte with each call.
pub(super) fn calls_of(places: &Places) -> std::path::PathBuf {
    places.mirror.with_extension("calls")
}

fn ledger_of(places: &Places) -> std::path::PathBuf {
    places.mirror.with_extension("ledger")
}

impl Drop for Load {
    fn drop(&mut self) {
        for worker in &mut self.0 {
            // Not waited for: one that is in a call of a mount that does not answer ends with that mount.
            let _ = worker.child.kill();
        }
    }
}
