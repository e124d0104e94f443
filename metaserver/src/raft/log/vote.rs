//! The vote, in a small file of its own.

use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use cairn_runtime::crashsafe;

use super::LogError;

/// First bytes of the file.
const MAGIC: &[u8; 8] = b"CAIRNVOT";

/// Version of the layout.
const FORMAT: u32 = 1;

/// Bytes before the vote.
const HEADER_BYTES: usize = 16;

/// Where a node remembers for whom it voted. Replaced whole and synced each time: votes are rare.
///
/// Layout: magic `CAIRNVOT`, format (4, little-endian), CRC-32 of the vote (4, little-endian), then the vote.
#[derive(Debug, Clone)]
pub struct VoteFile {
    path: PathBuf,
}

impl VoteFile {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The vote, or `None` where none was ever saved.
    pub fn load(&self) -> Result<Option<Bytes>, LogError> {
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(LogError::io("reading", &self.path, &e)),
        };
        let damaged = |what| LogError::Damaged { path: self.path.clone(), offset: 0, what };
        if bytes.len() < HEADER_BYTES || &bytes[..8] != MAGIC {
            return Err(damaged("not a vote"));
        }
        if bytes[8..12] != FORMAT.to_le_bytes() {
            return Err(damaged("the vote's format is not one that this version knows"));
        }
        let vote = &bytes[HEADER_BYTES..];
        if bytes[12..16] != crc32fast::hash(vote).to_le_bytes() {
            return Err(damaged("the vote fails its checksum"));
        }
        Ok(Some(Bytes::copy_from_slice(vote)))
    }

    /// Returns when the vote is on stable storage.
    pub fn save(&self, vote: &[u8]) -> Result<(), LogError> {
        let crc = crc32fast::hash(vote).to_le_bytes();
        let bytes = [&MAGIC[..], &FORMAT.to_le_bytes(), &crc, vote].concat();
        crashsafe::write_atomic(&self.path, &bytes).map_err(|e| LogError::io("writing", &self.path, &e))
    }
}
