//! Chunks that some server reported dirty, and since when nothing was heard of their writer.

use std::collections::HashMap;

use crate::Moment;
use cairn_proto::ids::ChunkHandle;
use parking_lot::Mutex;

/// Candidates for reconciliation: at most one entry for each copy that was reported dirty. Whoever finds that no member's copy
/// is dirty any more [settles](DirtyChunks::settled) the entry.
#[derive(Debug, Default)]
pub struct DirtyChunks {
    /// The last reported change; `None` for what a server brought along when it registered: whoever wrote it before that
    /// either still has the file open, or is gone.
    chunks: Mutex<HashMap<ChunkHandle, Option<Moment>>>,
}

impl DirtyChunks {
    /// A heartbeat told of a change to a dirty copy.
    pub fn written(&self, handle: ChunkHandle, now: Moment) {
        self.chunks.lock().insert(handle, Some(now));
    }

    /// A report lists a dirty copy.
    pub fn returned(&self, handle: ChunkHandle) {
        self.chunks.lock().entry(handle).or_insert(None);
    }

    pub fn settled(&self, handle: ChunkHandle) {
        self.chunks.lock().remove(&handle);
    }

    pub fn len(&self) -> usize {
        self.chunks.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.chunks.lock().is_empty()
    }

    /// All entries, ordered by handle.
    pub fn list(&self) -> Vec<(ChunkHandle, Option<Moment>)> {
        let mut list: Vec<_> = self.chunks.lock().iter().map(|(&handle, &since)| (handle, since)).collect();
        list.sort_unstable_by_key(|(handle, _)| *handle);
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_does_not_hide_a_write() {
        let dirty = DirtyChunks::default();
        let now = Moment::from_secs(1000);
        dirty.returned(ChunkHandle(2));
        dirty.written(ChunkHandle(1), now);
        dirty.returned(ChunkHandle(1));
        assert_eq!(dirty.list(), [(ChunkHandle(1), Some(now)), (ChunkHandle(2), None)]);
        dirty.settled(ChunkHandle(1));
        dirty.settled(ChunkHandle(2));
        assert!(dirty.is_empty());
    }
}
