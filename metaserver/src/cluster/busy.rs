//! Chunks whose members are being changed, copied or reconciled, and so must not be handed out.

use std::collections::HashSet;
use std::sync::Arc;

use cairn_proto::ids::ChunkHandle;
use parking_lot::RwLock;

/// The busy chunks of this process. They are few: one for each repair, reconciliation or replacement under way.
///
/// Whoever hands out a location reads the chunk's record *under* this lock ([`Busy::while_still`]). Otherwise the record might
/// be read in the middle of a repair and handed out after its end: a writer would then know the chunk at a version that fences
/// nothing, without the member that was just added.
#[derive(Debug, Default)]
pub struct Busy {
    chunks: RwLock<HashSet<ChunkHandle>>,
}

/// Keeps a chunk busy until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct BusyGuard {
    busy: Arc<Busy>,
    handle: ChunkHandle,
}

impl Busy {
    /// Makes `handle` busy, unless it is already.
    pub fn begin(self: &Arc<Self>, handle: ChunkHandle) -> Option<BusyGuard> {
        let began = self.chunks.write().insert(handle);
        began.then(|| BusyGuard { busy: self.clone(), handle })
    }

    pub fn contains(&self, handle: ChunkHandle) -> bool {
        self.chunks.read().contains(&handle)
    }

    /// Runs `read`, which must be short, while no chunk can become busy or idle. Its argument says whether a chunk is busy.
    pub fn while_still<T>(&self, read: impl FnOnce(&dyn Fn(ChunkHandle) -> bool) -> T) -> T {
        let chunks = self.chunks.read();
        read(&|handle| chunks.contains(&handle))
    }
}

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.busy.chunks.write().remove(&self.handle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let busy = Arc::new(Busy::default());
        let guard = busy.begin(ChunkHandle(1)).unwrap();
        assert!(busy.begin(ChunkHandle(1)).is_none());
        assert!(busy.begin(ChunkHandle(2)).is_some());
        assert!(busy.while_still(|is_busy| is_busy(ChunkHandle(1))));
        assert!(!busy.while_still(|is_busy| is_busy(ChunkHandle(2))));
        drop(guard);
        assert!(!busy.contains(ChunkHandle(1)));
    }
}
