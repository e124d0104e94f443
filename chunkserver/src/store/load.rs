//! Reading all headers at start, and clearing up what a crash left.
//!
//! Only headers are read, and the tables of dirty chunks; no data. What describes itself no longer is put aside, never
//! removed, unless it cannot have been acknowledged as durable.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_proto::chunk::CHUNK_SIZE;
use cairn_proto::chunkserver::{ChunkStat, ChunkState};
use cairn_proto::ids::{ChunkHandle, DiskNumber};
use parking_lot::Mutex;

use super::chunk::{ReadHeader, ReadHeaderError, read_header};
use super::disk::{DiskFile, OpenMode, Part};
use super::header::{DATA_OFFSET, Header, HeaderError};
use super::index::Entry;
use super::layout::FileKind;
use super::shared::Shared;
use super::table::SumTable;
use super::volume::Volume;

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

impl LoadError {
    /// In one line, with its cause.
    fn in_words(&self) -> String {
        match self {
            Self::Io { source, .. } => format!("{self}: {source}"),
            Self::Newer { .. } => self.to_string(),
        }
    }
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
    /// Copies of which another disk had one that counts more, removed.
    pub superseded: usize,
}

/// Fills the index from all disks that work. A disk that cannot be read has failed, where there are others.
pub fn load(shared: &Shared) -> Result<LoadReport, LoadError> {
    loop {
        let superseded = Mutex::default();
        let volumes: Vec<&Arc<Volume>> = shared.volumes.all().iter().filter(|volume| volume.works()).collect();
        let mut total = LoadReport::default();
        let mut unreadable = None;
        for (volume, loaded) in volumes.iter().zip(load_all(shared, &volumes, &superseded)) {
            match loaded {
                Ok(report) if volume.works() => total = total.plus(report),
                // Too many headers could not be read.
                Ok(_) => unreadable = Some(unreadable_error(volume)),
                Err(error @ LoadError::Newer { .. }) => return Err(error),
                Err(error @ LoadError::Io { .. }) => {
                    volume.health.fail(&error.in_words());
                    unreadable = Some(error);
                }
            }
        }
        match unreadable {
            None => {
                let superseded = superseded.into_inner().into_iter();
                total.superseded = superseded.filter(|stat| remove_superseded(shared, *stat)).count();
                return Ok(total);
            }
            Some(error) if volumes.iter().all(|volume| !volume.works()) => return Err(error),
            // Anew, without it: what was found on it may count more than what is on the others.
            Some(_) => shared.index.clear(),
        }
    }
}

fn unreadable_error(volume: &Volume) -> LoadError {
    let source = io::Error::other(volume.health.why().unwrap_or_default());
    LoadError::Io { path: volume.layout.root().to_owned(), source }
}

/// Reads disks at the same time.
fn load_all(
    shared: &Shared,
    volumes: &[&Arc<Volume>],
    superseded: &Mutex<Vec<ChunkStat>>,
) -> Vec<Result<LoadReport, LoadError>> {
    std::thread::scope(|scope| {
        let disks = volumes.iter().map(|volume| Disk { shared, volume, superseded });
        let threads: Vec<_> = disks.map(|disk| scope.spawn(move || disk.load())).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| match thread.join() {
            Ok(loaded) => loaded,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        threads.into_iter().map(join).collect()
    })
}

/// Removes a copy that does not count any more, of which there is another one on another disk.
fn remove_superseded(shared: &Shared, stat: ChunkStat) -> bool {
    let Some(volume) = shared.volumes.get(stat.disk).filter(|volume| volume.works()) else { return false };
    let path = volume.layout.chunk(stat.id.handle);
    let removed = volume.disk.remove(&path);
    match &removed {
        Ok(()) => tracing::info!(path = %path.display(), "removed a copy that was made anew on another disk meanwhile"),
        // The next start finds it again, and decides alike.
        Err(error) => tracing::warn!(path = %path.display(), %error, "cannot remove a copy that was made anew"),
    }
    removed.is_ok()
}

/// A disk that is read.
#[derive(Clone, Copy)]
struct Disk<'a> {
    shared: &'a Shared,
    volume: &'a Volume,
    /// Copies that do not count.
    superseded: &'a Mutex<Vec<ChunkStat>>,
}

impl Disk<'_> {
    fn load(self) -> Result<LoadReport, LoadError> {
        let chunks = self.volume.layout.chunks();
        let dirs = self.volume.disk.list(&chunks).map_err(|source| LoadError::Io { path: chunks, source })?;
        let todo = Mutex::new(dirs.into_iter());
        let next = || todo.lock().next();
        let work = || -> Result<LoadReport, LoadError> {
            let mut report = LoadReport::default();
            while let Some(dir) = next() {
                Loader { disk: self, dir: &dir, report: &mut report }.load_dir()?;
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

    /// Enters a chunk, unless another disk has a copy that counts more: one that was in use while this one was not, or else the newer one.
    fn enter(self, entry: Entry) {
        let rank = |stat: &ChunkStat| {
            (self.shared.volumes.get(stat.disk).map_or(0, |volume| volume.generation), stat.id.version)
        };
        let loser = self.shared.index.found(entry, |there| rank(there) >= rank(&entry.stat));
        self.superseded.lock().extend(loser);
    }
}

impl LoadReport {
    fn plus(self, other: Self) -> Self {
        Self {
            clean: self.clean + other.clean,
            dirty: self.dirty + other.dirty,
            removed: self.removed + other.removed,
            unusable: self.unusable + other.unusable,
            superseded: self.superseded + other.superseded,
        }
    }
}

/// Reads one directory.
struct Loader<'a> {
    disk: Disk<'a>,
    dir: &'a Path,
    report: &'a mut LoadReport,
}

impl Loader<'_> {
    fn load_dir(&mut self) -> Result<(), LoadError> {
        let fail = |source| LoadError::Io { path: self.dir.to_owned(), source };
        let paths = self.disk.volume.disk.list(self.dir).map_err(fail)?;
        let removed_before = self.report.removed;
        for path in paths {
            match self.disk.volume.layout.classify(&path) {
                FileKind::Chunk(handle) => self.load_chunk(handle, &path)?,
                FileKind::Leftover => self.remove(&path),
                FileKind::Unknown => {
                    tracing::warn!(path = %path.display(), "a file that is not a chunk's is left alone")
                }
            }
        }
        if self.report.removed > removed_before {
            // Or else a power cut could bring old bytes back under the header of a chunk that is made anew.
            self.disk.volume.disk.sync_dir(self.dir).map_err(fail)?;
        }
        Ok(())
    }

    fn load_chunk(&mut self, handle: ChunkHandle, path: &Path) -> Result<(), LoadError> {
        let fail = |source| LoadError::Io { path: path.to_owned(), source };
        let file: Arc<dyn DiskFile> = self.disk.volume.disk.open(path, OpenMode::Existing).map_err(fail)?.into();
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
        let entry = entry(&read, &data, self.disk.volume.number).map_err(fail)?;
        match entry.stat.state {
            ChunkState::Clean => self.report.clean += 1,
            ChunkState::Dirty => self.report.dirty += 1,
        }
        self.disk.enter(entry);
        Ok(())
    }

    fn misplaced(&self, handle: ChunkHandle, header: &Header) -> Option<&'static str> {
        let ours = self.disk.shared.cluster.get();
        if header.id.handle != handle {
            Some("its header names another chunk")
        } else if ours.is_some_and(|ours| *ours != header.cluster) {
            Some("it belongs to another cluster")
        } else {
            None
        }
    }

    fn remove(&mut self, path: &Path) {
        match self.disk.volume.disk.remove(path) {
            Ok(()) => {
                tracing::info!(path = %path.display(), "removed what a crash left");
                self.report.removed += 1;
            }
            Err(error) => tracing::warn!(path = %path.display(), %error, "cannot remove what a crash left"),
        }
    }

    fn quarantine(&mut self, handle: ChunkHandle, why: &str) {
        let layout = &self.disk.volume.layout;
        let to = layout.quarantine();
        tracing::error!(chunk = handle.0, why, to = %to.display(), "a chunk cannot be used and is put aside");
        self.report.unusable += 1;
        let path = layout.chunk(handle);
        let moved = self.disk.volume.disk.create_dir(&to);
        let moved =
            moved.and_then(|()| self.disk.volume.disk.rename(&path, &to.join(path.file_name().unwrap_or_default())));
        if let Err(error) = moved {
            tracing::error!(chunk = handle.0, %error, "cannot put it aside");
        }
    }
}

fn entry(read: &ReadHeader, data: &dyn DiskFile, disk: DiskNumber) -> io::Result<Entry> {
    let header = read.slots.header;
    Ok(match header.state {
        ChunkState::Clean => Entry { stat: header.stat(disk), scanned: true },
        ChunkState::Dirty => {
            let length = data.length()?.min(CHUNK_SIZE) as u32;
            let allocated = read.entries.iter().map(|entry| entry.sum).collect::<SumTable>().allocated();
            Entry { stat: ChunkStat { length, allocated, ..header.stat(disk) }, scanned: false }
        }
    })
}
