//! Orderly stopping: one token that says "stop", one tracker of everything that has to end before the process does.

use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Shared by all parts of a daemon; clones are the same shutdown.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Tasks that had not ended when the patience for them had.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{tasks} tasks are still running after {limit:?}")]
pub struct StillRunning {
    pub tasks: usize,
    pub limit: Duration,
}

/// A signal that asks a process to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT: somebody pressed Ctrl-C.
    Interrupt,
    /// SIGTERM: the service manager.
    Terminate,
}

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when the daemon is to stop.
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Resolves when the daemon is to stop.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Tells everyone to stop. Does not wait.
    pub fn trigger(&self) {
        self.stop.cancel();
    }

    /// Spawns a task that [`Shutdown::finish`] waits for. The task has to watch the token by itself.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Tells everyone to stop and waits until they have, for at most `limit`.
    pub async fn finish(&self, limit: Duration) -> Result<(), StillRunning> {
        self.trigger();
        self.tasks.close();
        let waited = tokio::time::timeout(limit, self.tasks.wait()).await;
        waited.map_err(|_| StillRunning { tasks: self.tasks.len(), limit })
    }

    /// Triggers at the first SIGINT or SIGTERM. A second one ends the process at once: everything that counts is built
    /// to survive that.
    pub fn trigger_on_signals(&self) -> io::Result<()> {
        let mut signals = StopSignals::listen()?;
        let shutdown = self.clone();
        // Not tracked: it waits for signals as long as the process lives.
        tokio::spawn(async move {
            let first = signals.next().await;
            tracing::info!(signal = %first, "stopping; the same signal again ends the process at once");
            shutdown.trigger();
            let second = signals.next().await;
            tracing::warn!(signal = %second, "ending at once");
            std::process::exit(128 + second.number());
        });
        Ok(())
    }
}

/// SIGINT and SIGTERM, from the moment of [`StopSignals::listen`] on.
#[derive(Debug)]
pub struct StopSignals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl StopSignals {
    pub fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    pub async fn next(&mut self) -> StopSignal {
        tokio::select! {
            _ = self.interrupt.recv() => StopSignal::Interrupt,
            _ = self.terminate.recv() => StopSignal::Terminate,
        }
    }
}

impl StopSignal {
    /// As the kernel numbers it.
    pub fn number(self) -> i32 {
        match self {
            Self::Interrupt => SignalKind::interrupt().as_raw_value(),
            Self::Terminate => SignalKind::terminate().as_raw_value(),
        }
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[tokio::test]
    async fn waits_for_what_it_spawned() {
        let shutdown = Shutdown::new();
        let ended = Arc::new(AtomicBool::new(false));
        shutdown.spawn({
            let (shutdown, ended) = (shutdown.clone(), ended.clone());
            async move {
                shutdown.stopping().await;
                tokio::time::sleep(Duration::from_millis(20)).await;
                ended.store(true, Ordering::Relaxed);
            }
        });
        assert!(!shutdown.is_stopping());
        shutdown.finish(Duration::from_secs(5)).await.unwrap();
        assert!(ended.load(Ordering::Relaxed) && shutdown.is_stopping());
    }

    #[tokio::test]
    async fn loses_patience() {
        let shutdown = Shutdown::new();
        let stuck = shutdown.spawn(std::future::pending::<()>());
        let limit = Duration::from_millis(20);
        assert_eq!(shutdown.finish(limit).await, Err(StillRunning { tasks: 1, limit }));
        stuck.abort();
        shutdown.finish(Duration::from_secs(5)).await.unwrap();
    }

    #[tokio::test]
    async fn a_signal_triggers() {
        let shutdown = Shutdown::new();
        shutdown.trigger_on_signals().unwrap();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).unwrap();
        tokio::time::timeout(Duration::from_secs(5), shutdown.stopping()).await.unwrap();
    }
}
