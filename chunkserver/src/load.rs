//! How much there is to do: requests in progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts requests in progress. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Load(Arc<AtomicU32>);

/// One request in progress, until dropped.
#[derive(Debug)]
pub struct InProgress(Arc<AtomicU32>);

impl Load {
    pub fn begin(&self) -> InProgress {
        self.0.fetch_add(1, Ordering::Relaxed);
        InProgress(self.0.clone())
    }

    pub fn now(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
