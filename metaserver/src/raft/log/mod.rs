//! The command log on disk: segmented files of checksummed records.
//!
//! Bottom up: [`disk`] is the few system calls by which bytes become durable, [`record`] and [`segment`] are the formats,
//! [`recovery`] reads a segment back and tells a torn tail from damage, [`Log`] is the sequence of segments, and
//! [`LogWriter`] is the thread that owns it and syncs once for all that waits. [`vote`] keeps the vote in a file beside it.
//!
//! It knows neither openraft nor commands: a record is an [`EntryId`] and bytes. `crate::raft::log_store` is the adapter.

mod disk;
mod error;
mod record;
mod recovery;
mod segment;
mod sequence;
mod vote;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

use serde::{Deserialize, Serialize};

pub use disk::{Disk, RealDisk};
pub use error::LogError;
pub use record::{MAX_PAYLOAD_BYTES, Record};
pub use sequence::{Log, LogReader};
pub use vote::VoteFile;
pub use writer::{Done, LogWriter};

/// Names an entry of the log: which leader wrote it, and where it stands. Ordered by place first.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryId {
    pub index: u64,
    pub term: u64,
    /// The node that was leader in `term`.
    pub node: u64,
}

/// Size of a segment file, after which the next one is begun.
pub const DEFAULT_SEGMENT_BYTES: u32 = 64 * 1024 * 1024;
