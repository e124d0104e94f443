//! Reading a segment back after whatever happened to it.

use std::path::Path;

use super::record::{ALIGN, Record};
use super::segment::HEADER_BYTES;
use super::{EntryId, LogError};

/// What a segment was found to hold.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) last: EntryId,
    pub(super) offsets: Vec<u32>,
    /// The end of the last good record.
    pub(super) end: u64,
    /// Whether anything but zeros comes after `end`: a torn write, to be cut off.
    pub(super) torn: bool,
    /// The highest `committed` of all records.
    pub(super) committed: u64,
}

/// Reads the records of a segment up to the first that is not valid, and decides what that one means.
///
/// In the last segment it may be the torn end of the last write, which was never acknowledged: it is left out. It is
/// damage, and fatal, in any other segment, and where a later record says that it had been synced. A torn write may leave
/// whole records after its gap, in any order; those do not say that, since all of them were written before the sync.
pub(super) fn scan(path: &Path, bytes: &[u8], previous: EntryId, is_last: bool) -> Result<Recovered, LogError> {
    let mut found =
        Recovered { last: previous, offsets: Vec::new(), end: HEADER_BYTES as u64, torn: false, committed: 0 };
    let mut at = HEADER_BYTES;
    while let Some(record) = Record::decode(&bytes[at..]).filter(|record| record.id.index == found.last.index + 1) {
        found.offsets.push(at as u32);
        found.last = record.id;
        found.committed = found.committed.max(record.committed);
        at = (at + record.size()).min(bytes.len());
    }
    found.end = at as u64;
    let rest = &bytes[at..];
    let damaged = |what| Err(LogError::Damaged { path: path.to_owned(), offset: at as u64, what });
    found.torn = rest.iter().any(|&byte| byte != 0);
    // Zeros are the space that was set aside: cutting it off need not have survived a power cut.
    if !is_last && found.torn {
        return damaged("a record is not valid, and later segments exist");
    }
    if vouched_for(rest, found.last.index + 1) {
        return damaged("a record is not valid, and a later one says that it was synced");
    }
    Ok(found)
}

/// Whether some record in `bytes` says that entry `index` was on stable storage.
fn vouched_for(bytes: &[u8], index: u64) -> bool {
    let mut places = (0..bytes.len()).step_by(ALIGN);
    places.any(|at| Record::decode(&bytes[at..]).is_some_and(|record| record.synced >= index))
}
