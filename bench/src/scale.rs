//! How much each workload does.

use std::time::Duration;

use serde::Serialize;

/// Sizes and counts of all workloads. The full scale is what published figures are made with; the quick one shows in a
/// minute or two that everything runs, and its figures are mostly noise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scale {
    /// Size of the file that is written, read and used for random access; in bytes, a multiple of 1 MiB.
    pub stream_bytes: u64,
    /// How long one random-access case may take.
    pub random_limit: Duration,
    /// Files that `create`, `rename` and `unlink` work on.
    pub changed_files: u64,
    /// Files that `stat`, `list` and `small-read` look at.
    pub small_files: u64,
    /// Size of a small file in bytes.
    pub small_file_bytes: usize,
    /// Files in the tree that `untar` unpacks and `remove-tree` removes.
    pub tree_files: u64,
    /// Rows that `sqlite` inserts, each in a transaction of its own.
    pub sqlite_rows: u64,
}

const MIB: u64 = 1 << 20;

impl Scale {
    pub fn full() -> Self {
        Self {
            stream_bytes: 1024 * MIB,
            random_limit: Duration::from_secs(5),
            changed_files: 2000,
            small_files: 10_000,
            small_file_bytes: 4096,
            tree_files: 4000,
            sqlite_rows: 500,
        }
    }

    pub fn quick() -> Self {
        Self {
            stream_bytes: 64 * MIB,
            random_limit: Duration::from_secs(1),
            changed_files: 200,
            small_files: 500,
            small_file_bytes: 4096,
            tree_files: 300,
            sqlite_rows: 50,
        }
    }
}
