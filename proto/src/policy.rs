//! What a directory asks for its files. A new inode takes the policy of the directory it is created in.

use serde::{Deserialize, Serialize};

/// When acknowledged bytes must be on stable storage.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug, Default)]
pub enum Durability {
    /// At `fsync` and its kin, as on a local disk.
    #[default]
    Fsync,
    /// When `close` has returned, too.
    Close,
    /// When `write` has returned.
    Write,
}

/// Redundancy and durability of files.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Policy {
    /// Copies of every chunk, 1 to [`crate::chunk::MAX_COPIES`].
    pub copies: u8,
    pub durability: Durability,
}

/// Changes to a [`Policy`]; `None` leaves a field alone.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct PolicyChange {
    pub copies: Option<u8>,
    pub durability: Option<Durability>,
}
