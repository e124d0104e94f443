//! What a chunkserver says of its disks, for `cairn status`.

use serde::{Deserialize, Serialize};

use crate::cluster::Space;
use crate::ids::DiskId;

/// Disks of one chunkserver at most. Metaservers keep the number of a copy's disk in six bits.
pub const MAX_DISKS: usize = 64;

/// How a disk is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub enum DiskState {
    Ok,
    /// Without room for another chunk. What is on it can be read, and written as far as there is room.
    Full,
    /// Not used until the server is started again: what was on it counts as lost.
    Failed,
}

/// One disk: a data directory.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct DiskStatus {
    pub disk: DiskId,
    /// The directory, as the server was told it.
    pub path: String,
    pub state: DiskState,
    /// All zero of one that has failed.
    pub space: Space,
    pub chunks: u64,
    /// Calls that the disk failed since the server started; that it is full is none.
    pub errors: u64,
    /// Why it is not used, of one that has failed.
    pub why: Option<String>,
}
