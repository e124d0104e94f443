//! The log as the sequence of its segments.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use cairn_runtime::crashsafe;
use parking_lot::RwLock;

use super::record::{Record, encoded_size};
use super::segment::{self, Segment, read_record};
use super::{Disk, EntryId, LogError};

/// The log, open for writing. One thread owns it; any number of [`LogReader`]s read what it has written.
///
/// Entries are consecutive. An append is on disk when [`Log::sync`] has returned, and not before. After a failed sync
/// nothing is accepted any more: the kernel may have dropped the pages, and trying again would report a success that is none.
#[derive(Debug)]
pub struct Log {
    dir: PathBuf,
    segment_bytes: u64,
    disk: Arc<dyn Disk>,
    /// Never empty. Only the last is written.
    segments: Arc<RwLock<Vec<Segment>>>,
    /// Last entry that is on stable storage.
    synced: u64,
    /// Last entry known to be committed.
    committed: u64,
    stopped: Option<String>,
}

/// Reads entries; see [`Log::reader`].
#[derive(Debug, Clone)]
pub struct LogReader {
    segments: Arc<RwLock<Vec<Segment>>>,
}

impl Log {
    /// Opens the log in `dir`, which exists, or begins one where there is nothing.
    ///
    /// A torn end of the last write is cut off. Anything else that does not read is an error: see [`LogError::Damaged`].
    pub fn open(dir: &Path, segment_bytes: u32, disk: Arc<dyn Disk>) -> Result<Self, LogError> {
        crashsafe::remove_leftovers(dir).map_err(|e| LogError::io("cleaning", dir, &e))?;
        let segment_bytes = u64::from(segment_bytes);
        let mut segments: Vec<Segment> = Vec::new();
        let mut committed = 0;
        let paths = segment::list(dir)?;
        for (at, path) in paths.iter().enumerate() {
            let (mut segment, found) = Segment::open(path.clone(), at + 1 == paths.len())?;
            if let Some(before) = segments.last().filter(|before| before.last != segment.previous) {
                let (expected, found) = (before.last.index, segment.previous.index);
                return Err(LogError::Gap { path: path.clone(), expected, found });
            }
            if found.torn {
                tracing::warn!(segment = %path.display(), offset = found.end, last = found.last.index, "cut off a torn write");
                segment.cut(found.end, segment_bytes, &*disk)?;
            }
            committed = committed.max(found.committed);
            segments.push(segment);
        }
        if segments.is_empty() {
            segments.push(Segment::create(dir, EntryId::default(), segment_bytes, &*disk)?);
        }
        let last = segments.last_mut().expect("there is at least the one that was just created");
        // What the process before this one wrote may still be in the page cache only.
        disk.sync(&last.file).map_err(|e| LogError::io("syncing", &last.path, &e))?;
        // On a full disk: later, see `ensure_room`.
        let _ = last.allocate(segment_bytes, &*disk);
        let synced = last.last.index;
        let segments = Arc::new(RwLock::new(segments));
        Ok(Self {
            dir: dir.to_owned(),
            segment_bytes,
            disk,
            segments,
            synced,
            committed: committed.min(synced),
            stopped: None,
        })
    }

    /// Whether there is a log in `dir`.
    pub fn exists(dir: &Path) -> Result<bool, LogError> {
        Ok(!segment::list(dir)?.is_empty())
    }

    pub fn reader(&self) -> LogReader {
        LogReader { segments: Arc::clone(&self.segments) }
    }

    /// The highest index that was known to be committed when the last records were written.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// Notes what is committed; it goes to disk with the next records.
    pub fn set_committed(&mut self, index: u64) {
        self.committed = self.committed.max(index);
    }

    /// Bytes that can be appended without asking the filesystem for space.
    pub fn room(&self) -> u64 {
        let segments = self.segments.read();
        segments.last().map_or(0, |last| last.allocated.saturating_sub(last.end))
    }

    /// Sees to it that `bytes` of records find space set aside for them. Fails where the disk is full, with no harm done.
    pub fn ensure_room(&mut self, bytes: u64) -> Result<(), LogError> {
        self.check_running()?;
        let (end, is_empty) = {
            let segments = self.segments.read();
            let last = segments.last().expect("there is always a segment");
            (last.end, last.offsets.is_empty())
        };
        if end + bytes > self.segment_bytes && !is_empty {
            return self.begin_segment();
        }
        let mut segments = self.segments.write();
        let last = segments.last_mut().expect("there is always a segment");
        let allocated = last.allocate(self.segment_bytes.max(end + bytes), &*self.disk);
        drop(segments);
        allocated.map_err(|error| self.stop_unless_full(error))
    }

    /// Writes entries, which must follow the last one. They are durable only after [`Log::sync`].
    ///
    /// On [`LogError::NoSpace`] none of them is in the log, and it can be appended to later.
    pub fn append(&mut self, entries: &[(EntryId, Bytes)]) -> Result<(), LogError> {
        self.check_running()?;
        let due = self.reader().last().index + 1;
        let mut bytes = Vec::with_capacity(entries.iter().map(|(_, payload)| encoded_size(payload.len())).sum());
        let mut starts = Vec::with_capacity(entries.len());
        for (expected, (id, payload)) in (due..).zip(entries) {
            if id.index != expected {
                return Err(LogError::OutOfOrder { expected, found: id.index });
            }
            starts.push(bytes.len() as u64);
            let record = Record { id: *id, synced: self.synced, committed: self.committed, payload: payload.clone() };
            record.encode(&mut bytes)?;
        }
        self.ensure_room(bytes.len() as u64)?;
        let mut segments = self.segments.write();
        let segment = segments.last_mut().expect("there is always a segment");
        let len = bytes.len() as u64;
        bytes.resize(bytes.len() + segment.zeros_behind(len), 0);
        if let Err(error) = self.disk.write_at(&segment.file, &bytes, segment.end) {
            let error = LogError::io("appending to", &segment.path, &error);
            let end = segment.end;
            let cut = segment.cut(end, self.segment_bytes, &*self.disk);
            drop(segments);
            return match (cut, &error) {
                (Ok(()), LogError::NoSpace { .. }) => Err(error),
                _ => Err(self.stop(error)),
            };
        }
        segment.offsets.extend(starts.iter().map(|start| (segment.end + start) as u32));
        segment.zeroed = segment.zeroed.max(segment.end + bytes.len() as u64);
        segment.end += len;
        segment.last = entries.last().map_or(segment.last, |(id, _)| *id);
        Ok(())
    }

    /// Returns when everything that was appended is on stable storage.
    pub fn sync(&mut self) -> Result<(), LogError> {
        self.check_running()?;
        let (file, path, last) = {
            let segments = self.segments.read();
            let segment = segments.last().expect("there is always a segment");
            (Arc::clone(&segment.file), segment.path.clone(), segment.last.index)
        };
        self.disk.sync(&file).map_err(|e| self.stop(LogError::io("syncing", &path, &e)))?;
        self.synced = last;
        Ok(())
    }

    /// Removes the entries from `from` on, durably.
    pub fn truncate(&mut self, from: u64) -> Result<(), LogError> {
        self.check_running()?;
        let result = self.try_truncate(from);
        self.synced = self.reader().last().index.min(self.synced);
        self.committed = self.committed.min(self.synced);
        result.map_err(|error| self.stop(error))
    }

    fn try_truncate(&mut self, from: u64) -> Result<(), LogError> {
        let mut segments = self.segments.write();
        // Newest first: a crash in between leaves a shorter log, not one with a gap.
        while segments.len() > 1 && segments.last().is_some_and(|last| last.first_index() >= from) {
            remove(&segments.pop().expect("checked by the loop").path)?;
        }
        let segment = segments.last_mut().expect("there is always a segment");
        let keep = from.saturating_sub(segment.first_index()) as usize;
        let Some(&end) = segment.offsets.get(keep) else { return Ok(()) };
        segment.last = match keep.checked_sub(1) {
            Some(before) => read_record(&segment.file, &segment.path, u64::from(segment.offsets[before]))?.id,
            None => segment.previous,
        };
        segment.offsets.truncate(keep);
        segment.cut(u64::from(end), self.segment_bytes, &*self.disk)
    }

    /// Removes the segments that hold nothing beyond `upto`, but not the last one.
    ///
    /// Where `upto` is beyond the end of the log (its state came from another node) the log is begun anew after it.
    pub fn purge(&mut self, upto: EntryId) -> Result<(), LogError> {
        self.check_running()?;
        if upto.index > self.reader().last().index {
            return self.restart_after(upto).map_err(|error| self.stop(error));
        }
        let mut segments = self.segments.write();
        // Oldest first, for the same reason as in `truncate`.
        while segments.len() > 1 && segments[0].last.index <= upto.index {
            remove(&segments[0].path)?;
            segments.remove(0);
        }
        Ok(())
    }

    fn restart_after(&mut self, upto: EntryId) -> Result<(), LogError> {
        let mut segments = self.segments.write();
        for segment in segments.iter() {
            remove(&segment.path)?;
        }
        *segments = vec![Segment::create(&self.dir, upto, self.segment_bytes, &*self.disk)?];
        self.synced = upto.index;
        self.committed = upto.index;
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<(), LogError> {
        let mut segments = self.segments.write();
        let last = segments.last().expect("there is always a segment");
        if let Err(error) = last.seal(&*self.disk) {
            drop(segments);
            return Err(self.stop(error));
        }
        self.synced = last.last.index;
        let next = Segment::create(&self.dir, last.last, self.segment_bytes, &*self.disk);
        match next {
            Ok(next) => segments.push(next),
            Err(error) => {
                // The old one is cut to its contents, so it has no space set aside any more.
                let last = segments.last_mut().expect("there is always a segment");
                last.allocated = last.end;
                drop(segments);
                return Err(self.stop_unless_full(error));
            }
        }
        Ok(())
    }

    fn check_running(&self) -> Result<(), LogError> {
        self.stopped.as_ref().map_or(Ok(()), |reason| Err(LogError::Stopped(reason.clone())))
    }

    /// A full disk is something that passes.
    fn stop_unless_full(&mut self, error: LogError) -> LogError {
        match error {
            LogError::NoSpace { .. } => error,
            _ => self.stop(error),
        }
    }

    fn stop(&mut self, error: LogError) -> LogError {
        self.stopped = Some(error.to_string());
        error
    }
}

impl LogReader {
    /// The entry before the first one that is still there.
    pub fn purged(&self) -> EntryId {
        self.segments.read().first().map_or_else(EntryId::default, |first| first.previous)
    }

    /// The last entry, or [`LogReader::purged`] where there is none.
    pub fn last(&self) -> EntryId {
        self.segments.read().last().map_or_else(EntryId::default, |last| last.last)
    }

    /// Bytes of all records.
    pub fn bytes(&self) -> u64 {
        self.segments.read().iter().map(|segment| segment.end).sum()
    }

    /// The entries of `range` that there are.
    pub fn read(&self, range: Range<u64>) -> Result<Vec<Record>, LogError> {
        let places: Vec<_> = {
            let segments = self.segments.read();
            let held = range.start.max(self.purged_of(&segments) + 1)..range.end;
            held.map_while(|index| {
                let at = segments.partition_point(|segment| segment.last.index < index);
                let segment = segments.get(at)?;
                Some((Arc::clone(&segment.file), segment.path.clone(), segment.offset_of(index)?))
            })
            .collect()
        };
        places.iter().map(|(file, path, offset)| read_record(file, path, *offset)).collect()
    }

    fn purged_of(&self, segments: &[Segment]) -> u64 {
        segments.first().map_or(0, |first| first.previous.index)
    }
}

fn remove(path: &Path) -> Result<(), LogError> {
    crashsafe::remove_durable(path).map_err(|e| LogError::io("removing", path, &e))
}
