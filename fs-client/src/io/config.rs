//! Every limit of the data path that an operator may want to move, with its unit and why it is what it is.

use std::time::Duration;

use cairn_proto::labels::Labels;

use super::replicas::{BreakerLimits, HedgeLimits};

/// Limits and patience of [`super::Io`].
#[derive(Clone, Debug)]
pub struct IoConfig {
    /// Bytes that programs have written and chunkservers have not acknowledged, over all files. Writers wait beyond.
    pub write_back_bytes: usize,
    /// Bytes acknowledged but not yet synced that are kept to be sent again should a chunkserver's kernel restart, over all
    /// files. What does not fit is not kept: then such a restart is reported by `fsync` as `EIO`.
    pub retain_bytes: usize,
    /// Bytes of the block cache, over all files.
    pub cache_bytes: usize,
    /// Pieces of one file on their way to chunkservers.
    pub pieces_in_flight: usize,
    /// Bytes of one file on their way to chunkservers: with large pieces this is reached first.
    pub bytes_in_flight: usize,
    /// Age at which written bytes are sent even though nobody asked, and acknowledged ones are committed.
    pub dirty_age: Duration,
    /// A file that was written and then left alone for so long has its chunks handed back.
    pub idle_hand_back: Duration,
    /// Files that are handed back, or flushed for their age, at a time.
    pub background_files: usize,
    /// Bytes that one sequential reader is kept ahead at most.
    pub read_ahead_bytes: u64,
    /// Requests of read-ahead under way, over all files. Reads that somebody waits for are not counted.
    pub read_ahead_requests: usize,
    /// Chunk locations remembered per file.
    pub locations_per_file: usize,
    /// Files remembered (locations, validity of their cached blocks) after their last close.
    pub idle_files: usize,
    /// Connections to one chunkserver: more than one, so that a large answer does not hold up a small one.
    pub connections_per_server: usize,
    /// To connect, handshake included.
    pub connect_timeout: Duration,
    /// For a piece to be acknowledged by all of its chain.
    pub write_timeout: Duration,
    /// For a read to be answered by one replica, before another is asked.
    pub read_timeout: Duration,
    /// For a chain to sync one chunk: a slow disk with much to write is not a failed one.
    pub sync_timeout: Duration,
    /// When a server is asked last.
    pub breaker: BreakerLimits,
    /// When a second server is asked because the first takes long.
    pub hedging: HedgeLimits,
    /// Where this mount stands: the nearest copies are read.
    pub labels: Labels,
    /// How long a program waits for written bytes to be taken or synced while no chain can be had, before it gets an error. `None`:
    /// for ever. The bytes themselves stay in the buffer and are tried for as long as the mount lives.
    pub write_patience: Option<Duration>,
    /// How long a read is tried again of which no replica can be reached.
    pub read_patience: Option<Duration>,
}

impl Default for IoConfig {
    fn default() -> Self {
        Self {
            write_back_bytes: 256 << 20,
            retain_bytes: 128 << 20,
            cache_bytes: 256 << 20,
            pieces_in_flight: 64,
            bytes_in_flight: 16 << 20,
            dirty_age: Duration::from_secs(1),
            idle_hand_back: Duration::from_secs(5),
            background_files: 256,
            read_ahead_bytes: 8 << 20,
            read_ahead_requests: 64,
            locations_per_file: 4096,
            idle_files: 4096,
            connections_per_server: 3,
            connect_timeout: Duration::from_secs(3),
            write_timeout: Duration::from_secs(20),
            read_timeout: Duration::from_secs(5),
            sync_timeout: Duration::from_secs(60),
            breaker: BreakerLimits::default(),
            hedging: HedgeLimits::default(),
            labels: Labels::default(),
            write_patience: Some(Duration::from_secs(300)),
            read_patience: Some(Duration::from_secs(60)),
        }
    }
}
