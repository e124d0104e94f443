//! Processes that create files side by side.
//!
//! Processes and not threads, because a filesystem may treat them differently (locks, sessions, write-back), and users
//! run processes. Workers are this same program; a word each way over their pipes keeps start-up out of the measured time.

use std::env::current_exe;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::contents::Contents;
use crate::error::{BenchError, IoContext};

const READY: &str = "ready";
const GO: &str = "go";
const DONE: &str = "done";

/// What one worker does.
#[derive(Debug, Clone, Args)]
pub struct Creation {
    /// An existing directory for the files.
    #[arg(long)]
    pub directory: PathBuf,
    #[arg(long)]
    pub files: u64,
    #[arg(long)]
    pub bytes: usize,
    /// Fsync each file before it is closed.
    #[arg(long)]
    pub fsync: bool,
}

/// The name of the file with number `index`.
pub fn file_name(index: u64) -> String {
    format!("file-{index:06}")
}

/// The life of a worker process: says that it is ready, waits for the word, works, says that it is done.
pub fn serve(creation: &Creation) -> Result<(), BenchError> {
    let pipe = Path::new("the pipe to the parent");
    say(READY).doing("write to", pipe)?;
    io::stdin().lock().read_line(&mut String::new()).doing("read from", pipe)?;
    create_files(creation)?;
    say(DONE).doing("write to", pipe)
}

/// Creates, writes and closes the files of `creation`, one after the other.
pub fn create_files(creation: &Creation) -> Result<(), BenchError> {
    let mut contents = Contents::new(creation.bytes);
    (0..creation.files).try_for_each(|index| create_file(creation, &mut contents, index))
}

/// Creates the files of `creation` with `threads` of this process, each taking every `threads`-th.
pub fn create_files_in_parallel(creation: &Creation, threads: usize) -> Result<(), BenchError> {
    thread::scope(|scope| {
        let part = |first: u64| {
            let mut contents = Contents::new(creation.bytes);
            (first..creation.files).step_by(threads).try_for_each(|index| create_file(creation, &mut contents, index))
        };
        let running: Vec<_> = (0..threads as u64).map(|first| scope.spawn(move || part(first))).collect();
        running
            .into_iter()
            .enumerate()
            .try_for_each(|(index, thread)| thread.join().unwrap_or(Err(BenchError::WorkerDied { index })))
    })
}

fn create_file(creation: &Creation, contents: &mut Contents, index: u64) -> Result<(), BenchError> {
    let path = creation.directory.join(file_name(index));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).doing("create", &path)?;
    file.write_all(contents.stamped(index)).doing("write", &path)?;
    if creation.fsync { file.sync_all().doing("fsync", &path) } else { Ok(()) }
}

/// Runs one process for each of `creations` and answers with the time from the word to start until the last was done.
pub fn race(creations: &[Creation]) -> Result<Duration, BenchError> {
    let mut workers = creations.iter().map(Worker::spawn).collect::<Result<Vec<_>, _>>()?;
    for (index, worker) in workers.iter_mut().enumerate() {
        worker.expect(READY, index)?;
    }
    let start = Instant::now();
    for (index, worker) in workers.iter_mut().enumerate() {
        worker.start(index)?;
    }
    for (index, worker) in workers.iter_mut().enumerate() {
        worker.expect(DONE, index)?;
    }
    Ok(start.elapsed())
}

fn say(word: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{word}")?;
    stdout.flush()
}

/// A worker seen from its parent; killed when dropped.
#[derive(Debug)]
struct Worker {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Worker {
    fn spawn(creation: &Creation) -> Result<Self, BenchError> {
        let program = current_exe().doing("find", Path::new("this program"))?;
        let spawned = |source| BenchError::Spawn { program: program.display().to_string(), source };
        let mut command = Command::new(&program);
        command
            .arg("worker")
            .arg("--directory")
            .arg(&creation.directory)
            .arg(format!("--files={}", creation.files))
            .arg(format!("--bytes={}", creation.bytes))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if creation.fsync {
            command.arg("--fsync");
        }
        let mut child = command.spawn().map_err(spawned)?;
        let output = child.stdout.take().ok_or_else(|| spawned(io::ErrorKind::BrokenPipe.into()))?;
        Ok(Self { child, output: BufReader::new(output) })
    }

    fn start(&mut self, index: usize) -> Result<(), BenchError> {
        let written = self.child.stdin.as_mut().map(|stdin| writeln!(stdin, "{GO}"));
        if matches!(written, Some(Ok(()))) { Ok(()) } else { Err(BenchError::WorkerDied { index }) }
    }

    fn expect(&mut self, word: &str, index: usize) -> Result<(), BenchError> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(_) if line.trim_end() == word => Ok(()),
            _ => Err(BenchError::WorkerDied { index }),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail only where the worker has ended and was waited for.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_created_with_the_contents_that_readers_check() {
        let directory = tempfile::tempdir().unwrap();
        let creation = Creation { directory: directory.path().to_owned(), files: 3, bytes: 4096, fsync: true };
        create_files(&creation).unwrap();
        let path = directory.path().join(file_name(2));
        let found = std::fs::read(&path).unwrap();
        Contents::new(4096).check(&found, 2, &path, 0).unwrap();
        assert!(create_files(&creation).is_err(), "an existing file is not created again");
    }

    #[test]
    fn threads_share_the_files_out() {
        let directory = tempfile::tempdir().unwrap();
        let creation = Creation { directory: directory.path().to_owned(), files: 10, bytes: 64, fsync: false };
        create_files_in_parallel(&creation, 4).unwrap();
        for index in 0..10 {
            let path = directory.path().join(file_name(index));
            Contents::new(64).check(&std::fs::read(&path).unwrap(), index, &path, 0).unwrap();
        }
    }
}
