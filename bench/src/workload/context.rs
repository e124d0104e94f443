//! What a workload is given: a target, a directory on it, and files that several workloads share.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, renameat};

use super::seq_write;
use super::tree::Tarball;
use crate::contents::{BLOCK_BYTES, Contents};
use crate::disk::Flushes;
use crate::error::{BenchError, IoContext};
use crate::fio::Engine;
use crate::scale::Scale;
use crate::target::Target;
use crate::worker::{self, Creation};

/// Threads that prepare and sync files where that is not measured, or where a user would have it parallel.
const THREADS: usize = 8;

/// What was made once for the whole run, outside of all targets.
#[derive(Debug)]
pub struct Tools {
    /// A directory on a local disk.
    pub scratch: PathBuf,
    pub engine: Engine,
    pub tarball: Tarball,
}

/// Files on one target that workloads leave for each other, as the slow targets take minutes to make them.
#[derive(Debug, Default)]
pub struct Fixtures {
    stream: Option<PathBuf>,
    small_files: Option<PathBuf>,
}

/// One workload's view of one target.
#[derive(Debug)]
pub struct Bench<'a> {
    pub target: &'a mut dyn Target,
    pub scale: &'a Scale,
    pub tools: &'a Tools,
    pub fixtures: &'a mut Fixtures,
    /// An empty directory on the target, for this workload alone.
    pub directory: PathBuf,
    /// Of the disk below the target, where it can be counted.
    pub flushes: Option<&'a Flushes>,
}

impl Bench<'_> {
    /// What `work` answers, and how often the disk below was flushed meanwhile.
    pub fn flushes_during<T>(
        &self,
        work: impl FnOnce() -> Result<T, BenchError>,
    ) -> Result<(T, Option<u64>), BenchError> {
        let so_far = || self.flushes.and_then(Flushes::so_far);
        let before = so_far();
        let answer = work()?;
        Ok((answer, before.zip(so_far()).map(|(before, after)| after.saturating_sub(before))))
    }

    /// A new directory in the workload's own.
    pub fn subdirectory(&self, name: &str) -> Result<PathBuf, BenchError> {
        let path = self.directory.join(name);
        fs::create_dir(&path).doing("create", &path)?;
        Ok(path)
    }

    /// The large file with stamped blocks, on disk; written where no workload has left one.
    pub fn stream(&mut self) -> Result<PathBuf, BenchError> {
        if let Some(path) = &self.fixtures.stream {
            return Ok(path.clone());
        }
        let path = self.stream_path();
        seq_write::write_stream(&path, self.scale.stream_bytes, &mut Contents::new(BLOCK_BYTES))?;
        sync_file(&path)?;
        self.target.sync_backing()?;
        self.fixtures.stream = Some(path.clone());
        Ok(path)
    }

    /// Leaves the large file at `path`, on this target and on disk, for later workloads.
    pub fn keep_stream(&mut self, path: &Path) -> Result<(), BenchError> {
        let kept = self.stream_path();
        renameat(AT_FDCWD, path, AT_FDCWD, &kept).doing("rename", path)?;
        self.fixtures.stream = Some(kept);
        Ok(())
    }

    /// Takes the large file away from later workloads, whose checks would not find their bytes in it.
    pub fn take_stream(&mut self) -> Result<PathBuf, BenchError> {
        let path = self.stream()?;
        self.fixtures.stream = None;
        Ok(path)
    }

    fn stream_path(&self) -> PathBuf {
        self.target.root().join("stream")
    }

    /// The directory of small files that workloads only look at, on disk.
    pub fn small_files(&mut self) -> Result<PathBuf, BenchError> {
        if let Some(path) = &self.fixtures.small_files {
            return Ok(path.clone());
        }
        let directory = self.target.root().join("small-files");
        fs::create_dir(&directory).doing("create", &directory)?;
        self.fill(&directory, self.scale.small_files)?;
        self.fixtures.small_files = Some(directory.clone());
        Ok(directory)
    }

    /// Creates `files` small files in `directory`, on disk.
    pub fn fill(&self, directory: &Path, files: u64) -> Result<(), BenchError> {
        let bytes = self.scale.small_file_bytes;
        let creation = Creation { directory: directory.to_owned(), files, bytes, fsync: false };
        worker::create_files_in_parallel(&creation, THREADS)?;
        self.all_to_disk()
    }

    /// Returns once everything that was done on the target is on disk.
    pub fn all_to_disk(&self) -> Result<(), BenchError> {
        self.target.sync_client()?;
        self.target.sync_backing()
    }

    /// Returns once the names in `directory` itself are on disk.
    pub fn names_to_disk(&self, directory: &Path) -> Result<(), BenchError> {
        sync_file(directory)?;
        self.target.sync_backing()
    }
}

/// Fsyncs a file or directory by its path.
pub fn sync_file(path: &Path) -> Result<(), BenchError> {
    let file = File::open(path).doing("open", path)?;
    file.sync_all().doing("fsync", path)
}
