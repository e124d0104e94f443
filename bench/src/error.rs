//! What can go wrong in a run.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error("cannot {action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot start {program}: {source}")]
    Spawn { program: String, source: io::Error },
    #[error("{program} ended with {status}: {stderr}")]
    ToolFailed { program: String, status: ExitStatus, stderr: String },
    #[error("{daemon} ended with {status}, see {log}")]
    DaemonDied { daemon: String, status: ExitStatus, log: PathBuf },
    #[error("{daemon} did not stop within {timeout:?} and was killed, see {log}")]
    DaemonStuck { daemon: String, timeout: Duration, log: PathBuf },
    #[error("{daemon} was not ready within {timeout:?}, see {log}")]
    NotReady { daemon: String, timeout: Duration, log: PathBuf },
    #[error("the address {address} is not on this machine: start the benchmark through bench/run")]
    NoPrivateNetwork { address: &'static str },
    #[error("the result of fio is not readable: {0}")]
    FioReport(#[source] serde_json::Error),
    #[error("fio reported error {code} in its job")]
    FioJob { code: i32 },
    #[error("{path} holds other bytes than were written, at offset {offset}")]
    WrongContents { path: PathBuf, offset: u64 },
    #[error("{path} holds {found} of {expected} entries")]
    WrongCount { path: PathBuf, expected: u64, found: u64 },
    #[error("there is no workload {name}; `cairn-bench list` shows all")]
    UnknownWorkload { name: String },
    #[error("nothing is mounted at {path} any more")]
    NotMounted { path: PathBuf },
    #[error("worker {index} stopped before it was done")]
    WorkerDied { index: usize },
    #[error("cannot write the results: {0}")]
    Report(#[source] serde_json::Error),
}

/// Says what was being done to which path when an I/O error came.
pub trait IoContext<T> {
    fn doing(self, action: &'static str, path: &Path) -> Result<T, BenchError>;
}

impl<T, E: Into<io::Error>> IoContext<T> for Result<T, E> {
    fn doing(self, action: &'static str, path: &Path) -> Result<T, BenchError> {
        self.map_err(|source| BenchError::Io { action, path: path.to_owned(), source: source.into() })
    }
}
