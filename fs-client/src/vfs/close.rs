//! Closes that do not wait.
//!
//! Of a new file that nobody else can look at without a recall nobody can tell when its bytes reach the chunkservers: they follow within
//! a second or two, many files' together, as a local file system would write them. `fsync` waits as ever; so does every close
//! where space may run out, as then the program has to be told.
//!
//! Programs replace files without `fsync`, by truncating and writing them, or by writing a new one and renaming it over the old one,
//! and local file systems see to it that a crash leaves the old bytes or the new ones (ext4 calls that `auto_da_alloc`). So do
//! we: a file that had bytes before is closed as ever, and a rename that replaces a file waits for the bytes of the new one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::Vfs;
use super::files::OpenFile;

/// Bytes that may wait in the buffer when another close does not.
const MAX_BYTES: usize = 32 << 20;
/// Files larger than this are written out as they are closed: their bytes have been on their way for long.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// With less free space every close waits.
const LEAST_FREE: u64 = 1 << 30;
/// A look at the free space is believed for so long.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whether closes may go without waiting.
#[derive(Debug, Default)]
pub(super) struct LazyCloses {
    /// Bytes free in the cluster as last seen; 0 where nobody has looked lately.
    free: AtomicU64,
    /// Somebody wants to know.
    wanted: Notify,
}

impl Vfs {
    /// Whether closing `file` need not wait for its bytes.
    pub(super) fn closes_lazily(&self, file: &OpenFile) -> bool {
        if !self.delegations.is_fresh(file.inode) || file.io.size() > MAX_FILE_BYTES {
            return false;
        }
        self.lazy_closes.wanted.notify_one();
        self.lazy_closes.free.load(Ordering::Relaxed) >= LEAST_FREE && self.io.write_back_bytes() < MAX_BYTES
    }

    /// Keeps an eye on the free space while files are closed, for as long as it is polled.
    pub(super) async fn watch_space(&self) {
        loop {
            let wanted = tokio::time::timeout(LOOK_EVERY, self.lazy_closes.wanted.notified()).await.is_ok();
            let free = if wanted { self.meta.stat_fs().await.map_or(0, |stat| stat.free) } else { 0 };
            self.lazy_closes.free.store(free, Ordering::Relaxed);
            if wanted {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }
}
