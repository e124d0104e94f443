//! Reading all headers at start, and clearing up what a crash left.
//!
//! Only headers are read, and the tables of dirty chunks; no data. What describes itself no longer is put aside, never
//! removed, unless it cannot have been acknowledged as durable.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_proto::chunk::CHUNK_SIZE;
use cairn_proto::chunkserver::{ChunkStat, ChunkState};
use cairn_proto::ids::ChunkHandle;
use parking_lot::Mutex;

use super::chunk::{ReadHeader, ReadHeaderError, read_header};
use super::disk::{DiskFile, OpenMode, Part};
use super::header::{DATA_OFFSET, Header, HeaderError};
use super::index::Entry;
use super::layout::FileKind;
use super::shared::Shared;
use super::table::SumTable;

/// Directories read at the same time.
const LOAD_THREADS: usize = 4;

/// Why the chunks of a data directory cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{path}: cannot read the chunks")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}: {source}")]
    Newer { path: PathBuf, source: HeaderError },
}

/// What a start found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LoadReport {
    pub clean: usize,
    pub dirty: usize,
    /// Files that were never durable, removed.
    pub removed: usize,
    /// Chunks whose headers cannot be read, or do not describe them: put aside.
    pub unusable: usize,
}

/// Fills the index.
pub fn load(shared: &Shared) -> Result<LoadReport, LoadError> {
    let chunks = shared.layout.chunks();
    let dirs = shared.disk.list(&chunks).map_err(|source| LoadError::Io { path: chunks, source })?;
    let todo = Mutex::new(dirs.into_iter());
    let next = || todo.lock().next();
    let work = || -> Result<LoadReport, LoadError> {
        let mut report = LoadReport::default();
        while let Some(dir) = next() {
            Loader { shared, dir: &dir, report: &mut report }.load_dir()?;
        }
        Ok(report)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..LOAD_THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_fold(LoadReport::default(), |total, thread| {
            let report = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            Ok(total.plus(report))
        })
    })
}

impl LoadReport {
    fn plus(self, other: Self) -> Self {
        Self {
            clean: self.clean + other.clean,
            dirty: self.dirty + other.dirty,
            removed: self.removed + other.removed,
            unusable: self.unusable + other.unusable,
        }
    }
}

/// Reads one directory.
struct Loader<'a> {
    shared: &'a Shared,
    dir: &'a Path,
    report: &'a mut LoadReport,
}

impl Loader<'_> {
    fn load_dir(&mut self) -> Result<(), LoadError> {
        let fail = |source| LoadError::Io { path: self.dir.to_owned(), source };
        let paths = self.shared.disk.list(self.dir).map_err(fail)?;
        let removed_before = self.report.removed;
        for path in paths {
            match self.shared.layout.classify(&path) {
                FileKind::Chunk(handle) => self.load_chunk(handle, &path)?,
                FileKind::Leftover => self.remove(&path),
                FileKind::Unknown => {
                    tracing::warn!(path = %path.display(), "a file that is not a chunk's is left alone")
                }
            }
        }
        if self.report.removed > removed_before {
            // Or else a power cut could bring old bytes back under the header of a chunk that is made anew.
            self.shared.disk.sync_dir(self.dir).map_err(fail)?;
        }
        Ok(())
    }

    fn load_chunk(&mut self, handle: ChunkHandle, path: &Path) -> Result<(), LoadError> {
        let fail = |source| LoadError::Io { path: path.to_owned(), source };
        let file: Arc<dyn DiskFile> = self.shared.disk.open(path, OpenMode::Existing).map_err(fail)?.into();
        let data = Part::new(file.clone(), DATA_OFFSET);
        let read = match read_header(&*file, |slots| slots.header.state == ChunkState::Dirty) {
            Ok(read) => read,
            Err(ReadHeaderError::Io(error)) => {
                // One bad sector must not keep all the other chunks from being served.
                tracing::error!(chunk = handle.0, %error, "a header cannot be read; its chunk is not served");
                self.report.unusable += 1;
                return Ok(());
            }
            Err(ReadHeaderError::Content(source @ HeaderError::Newer(_))) => {
                return Err(LoadError::Newer { path: path.to_owned(), source });
            }
            Err(ReadHeaderError::Content(HeaderError::Empty)) if data.length().is_ok_and(|len| len == 0) => {
                self.remove(path);
                return Ok(());
            }
            Err(ReadHeaderError::Content(error)) => {
                self.quarantine(handle, &error.to_string());
                return Ok(());
            }
        };
        if let Some(why) = self.misplaced(handle, &read.slots.header) {
            self.quarantine(handle, why);
            return Ok(());
        }
        let entry = entry(&read, &data).map_err(fail)?;
        match entry.stat.state {
            ChunkState::Clean => self.report.clean += 1,
            ChunkState::Dirty => self.report.dirty += 1,
        }
        self.shared.index.put(entry);
        Ok(())
    }

    fn misplaced(&self, handle: ChunkHandle, header: &Header) -> Option<&'static str> {
        let ours = self.shared.cluster.get();
        if header.id.handle != handle {
            Some("its header names another chunk")
        } else if ours.is_some_and(|ours| *ours != header.cluster) {
            Some("it belongs to another cluster")
        } else {
            None
        }
    }

    fn remove(&mut self, path: &Path) {
        match self.shared.disk.remove(path) {
            Ok(()) => {
                tracing::info!(path = %path.display(), "removed what a crash left");
                self.report.removed += 1;
            }
            Err(error) => tracing::warn!(path = %path.display(), %error, "cannot remove what a crash left"),
        }
    }

    fn quarantine(&mut self, handle: ChunkHandle, why: &str) {
        let layout = &self.shared.layout;
        let to = layout.quarantine();
        tracing::error!(chunk = handle.0, why, to = %to.display(), "a chunk cannot be used and is put aside");
        self.report.unusable += 1;
        let path = layout.chunk(handle);
        let moved = self.shared.disk.create_dir(&to);
        let moved = moved.and_then(|()| self.shared.disk.rename(&path, &to.join(path.file_name().unwrap_or_default())));
        if let Err(error) = moved {
            tracing::error!(chunk = handle.0, %error, "cannot put it aside");
        }
    }
}

fn entry(read: &ReadHeader, data: &dyn DiskFile) -> io::Result<Entry> {
    let header = read.slots.header;
    Ok(match header.state {
        ChunkState::Clean => Entry { stat: header.stat(), scanned: true },
        ChunkState::Dirty => {
            let length = data.length()?.min(CHUNK_SIZE) as u32;
            let allocated = read.entries.iter().map(|entry| entry.sum).collect::<SumTable>().allocated();
            Entry { stat: ChunkStat { length, allocated, ..header.stat() }, scanned: false }
        }
    })
}
