//! One file of the log.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_runtime::crashsafe;

use super::record::{HEADER_BYTES as RECORD_HEADER_BYTES, Record};
use super::recovery::Recovered;
use super::{Disk, EntryId, LogError, recovery};

/// First bytes of every segment.
const MAGIC: &[u8; 8] = b"CAIRNLOG";

/// Version of the layout of segments and records.
const FORMAT: u32 = 1;

/// Bytes before the first record.
pub(super) const HEADER_BYTES: usize = 48;

/// Zeros are written so far ahead, in bytes, together with an append. The sync of an append that overwrites them has no block to
/// enter in the filesystem's journal, so it does not commit that journal: otherwise each of them would, and whoever creates files
/// on the same disk meanwhile (chunkservers do) would wait for it.
const ZEROED_AHEAD: u64 = 512 * 1024;

/// Ending of segment files.
const SUFFIX: &str = "log";

/// A segment: a header, then records without gaps, then (in the last one) zeros up to the space that is set aside.
///
/// Header, integers little-endian: magic `CAIRNLOG`, format (4), zero (4), then the id of the entry before the first one,
/// as index, term and node (8 each), CRC-32 of all that (4), zero (4). The file's name is the index of its first entry,
/// in twenty digits.
///
/// A segment is created whole under a temporary name and renamed, so a header that does not read is damage. Its space is
/// set aside before its first record: a sync then has no file size to write, which halves its time, and an append does not
/// run out of space half way. When the next segment is begun this one is cut to its contents and synced first.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
    /// The entry before the first one here; all zero at the beginning of the log.
    pub(super) previous: EntryId,
    /// The last entry here, or `previous` where there is none.
    pub(super) last: EntryId,
    /// Where each record begins.
    pub(super) offsets: Vec<u32>,
    /// Where the next one goes.
    pub(super) end: u64,
    /// Up to where space is set aside.
    pub(super) allocated: u64,
    /// Up to where bytes were written, records or zeros: see [`ZEROED_AHEAD`].
    pub(super) zeroed: u64,
}

impl Segment {
    /// Creates the segment that follows `previous`, durably, with space for `size` bytes.
    pub(super) fn create(dir: &Path, previous: EntryId, size: u64, disk: &dyn Disk) -> Result<Self, LogError> {
        let path = dir.join(format!("{:020}.{SUFFIX}", previous.index + 1));
        let written = crashsafe::AtomicFile::create(&path).and_then(|mut file| {
            file.write_all(&encode_header(previous))?;
            file.commit()
        });
        written.map_err(|e| LogError::io("creating segment", &path, &e))?;
        let mut segment = Self::bare(path, previous)?;
        if let Err(error) = segment.allocate(size, disk) {
            // Without its space it would only be in the way of the next attempt.
            let _ = crashsafe::remove_durable(&segment.path);
            return Err(error);
        }
        Ok(segment)
    }

    /// Sets aside space up to `size`, if that is not done.
    pub(super) fn allocate(&mut self, size: u64, disk: &dyn Disk) -> Result<(), LogError> {
        if self.allocated < size {
            let allocated = disk.allocate(&self.file, size).and_then(|()| disk.sync(&self.file));
            allocated.map_err(|e| LogError::io("setting aside space for", &self.path, &e))?;
            self.allocated = size;
        }
        Ok(())
    }

    /// Opens a segment and reads all of it; see [`recovery::scan`].
    pub(super) fn open(path: PathBuf, is_last: bool) -> Result<(Self, Recovered), LogError> {
        let bytes = std::fs::read(&path).map_err(|e| LogError::io("reading", &path, &e))?;
        let previous =
            decode_header(&bytes).map_err(|what| LogError::Damaged { path: path.clone(), offset: 0, what })?;
        let recovered = recovery::scan(&path, &bytes, previous, is_last)?;
        let mut segment = Self::bare(path, previous)?;
        segment.last = recovered.last;
        segment.offsets.clone_from(&recovered.offsets);
        segment.end = recovered.end;
        Ok((segment, recovered))
    }

    fn bare(path: PathBuf, previous: EntryId) -> Result<Self, LogError> {
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = Arc::new(file.map_err(|e| LogError::io("opening", &path, &e))?);
        Ok(Self {
            path,
            file,
            previous,
            last: previous,
            offsets: Vec::new(),
            end: HEADER_BYTES as u64,
            allocated: 0,
            zeroed: 0,
        })
    }

    /// How many zeros to write behind `len` bytes that are to be appended: none most of the time; see [`ZEROED_AHEAD`].
    pub(super) fn zeros_behind(&self, len: u64) -> usize {
        let end = self.end + len;
        if end <= self.zeroed {
            return 0;
        }
        let until = end.next_multiple_of(ZEROED_AHEAD).min(self.allocated.max(end));
        (until - end) as usize
    }

    /// Drops everything from `end` on, and sets aside the space again.
    pub(super) fn cut(&mut self, end: u64, size: u64, disk: &dyn Disk) -> Result<(), LogError> {
        self.end = end;
        // Shrinking and growing again leaves zeros: what was there cannot be taken for a record later.
        self.file.set_len(end).map_err(|e| LogError::io("cutting", &self.path, &e))?;
        disk.sync(&self.file).map_err(|e| LogError::io("syncing", &self.path, &e))?;
        (self.allocated, self.zeroed) = (end, end);
        // On a full disk the segment does without for now.
        let _ = self.allocate(size, disk);
        Ok(())
    }

    /// Cuts the segment to its contents: it will not be written any more.
    pub(super) fn seal(&self, disk: &dyn Disk) -> Result<(), LogError> {
        let sealed = self.file.set_len(self.end).and_then(|()| disk.sync(&self.file));
        sealed.map_err(|e| LogError::io("sealing", &self.path, &e))
    }

    pub(super) fn first_index(&self) -> u64 {
        self.previous.index + 1
    }

    /// Where entry `index` begins, if it is here.
    pub(super) fn offset_of(&self, index: u64) -> Option<u64> {
        let slot = index.checked_sub(self.first_index())?;
        self.offsets.get(slot as usize).map(|&offset| u64::from(offset))
    }
}

/// Reads the record at `offset`, which must be one that was written.
pub(super) fn read_record(file: &File, path: &Path, offset: u64) -> Result<Record, LogError> {
    let failed = |e| LogError::io("reading", path, &e);
    let mut bytes = vec![0; RECORD_HEADER_BYTES];
    file.read_exact_at(&mut bytes, offset).map_err(failed)?;
    let length = u32::from_le_bytes(bytes[4..8].try_into().expect("four bytes")) as usize;
    if length <= super::MAX_PAYLOAD_BYTES {
        bytes.resize(RECORD_HEADER_BYTES + length, 0);
        let rest = offset + RECORD_HEADER_BYTES as u64;
        file.read_exact_at(&mut bytes[RECORD_HEADER_BYTES..], rest).map_err(failed)?;
    }
    let damaged = || LogError::Damaged { path: path.to_owned(), offset, what: "a record is not readable any more" };
    Record::decode(&bytes).ok_or_else(damaged)
}

/// The segments in `dir`, in order.
pub(super) fn list(dir: &Path) -> Result<Vec<PathBuf>, LogError> {
    let failed = |e| LogError::io("listing", dir, &e);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == SUFFIX) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn encode_header(previous: EntryId) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    for (at, number) in header[16..40].chunks_exact_mut(8).zip([previous.index, previous.term, previous.node]) {
        at.copy_from_slice(&number.to_le_bytes());
    }
    let crc = crc32fast::hash(&header[..40]);
    header[40..44].copy_from_slice(&crc.to_le_bytes());
    header
}

fn decode_header(bytes: &[u8]) -> Result<EntryId, &'static str> {
    let header = bytes.get(..HEADER_BYTES).ok_or("the file is shorter than a segment's header")?;
    let number = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    if &header[..8] != MAGIC {
        return Err("not a segment of the log");
    }
    if header[8..12] != FORMAT.to_le_bytes() {
        return Err("the segment's format is not one that this version knows");
    }
    if header[40..44] != crc32fast::hash(&header[..40]).to_le_bytes() {
        return Err("the segment's header fails its checksum");
    }
    Ok(EntryId { index: number(16), term: number(24), node: number(32) })
}

#[cfg(test)]
pub(super) fn golden_header() -> [u8; HEADER_BYTES] {
    encode_header(EntryId { index: 0x0102, term: 3, node: 4 })
}
