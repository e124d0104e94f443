//! What a node needs to know.

use std::path::PathBuf;
use std::time::Duration;

use super::log::DEFAULT_SEGMENT_BYTES;
use super::types::NodeId;

/// Settings of a [`super::MetaNode`]. All but the directory have a good default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// Where everything is kept.
    pub dir: PathBuf,
    /// This metaserver's number.
    pub node_id: NodeId,
    /// Nothing is proposed while the filesystem has less free than this: checkpoints and the store's flushes need it.
    pub reserve_bytes: u64,
    /// Commands after which a checkpoint is taken.
    pub checkpoint_every: u64,
    /// Bytes of log after which a checkpoint is taken, whatever their number.
    pub checkpoint_log_bytes: u64,
    /// Size of a segment of the log; set aside on disk in advance.
    pub segment_bytes: u32,
    /// Memory for sled's pages.
    pub store_cache_bytes: usize,
    /// Memory for recently used keys.
    pub read_cache_bytes: usize,
    /// Time between flushes of the store: what is applied since has to be applied again after a crash.
    pub flush_interval: Duration,
}

impl NodeConfig {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            node_id: 1,
            reserve_bytes: 32 << 20,
            checkpoint_every: 500_000,
            checkpoint_log_bytes: 256 << 20,
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            store_cache_bytes: 256 << 20,
            read_cache_bytes: 64 << 20,
            flush_interval: Duration::from_secs(5),
        }
    }
}
