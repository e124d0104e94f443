//! What a directory asks for its files. A new inode takes the policy of the directory it is created in.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::labels::{Domain, Labels};
use crate::time::Timestamp;

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
    pub placement: PlacementId,
}

/// For how long what is removed from a directory stays in the trash, in seconds; 0: not at all. A new directory takes that of its parent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug, Default)]
pub struct Retention(pub u32);

impl Retention {
    /// What is removed is gone.
    pub const OFF: Self = Self(0);

    pub fn is_off(self) -> bool {
        self == Self::OFF
    }

    /// Until when something is kept that was removed at `deleted`.
    pub fn ends(self, deleted: Timestamp) -> Timestamp {
        deleted.saturating_add(Duration::from_secs(self.0.into()))
    }
}

/// By which inodes and chunks name a [`Placement`]; the metaserver gives it out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug, Default)]
pub struct PlacementId(pub u32);

impl PlacementId {
    /// [`Placement::default`].
    pub const ANYWHERE: Self = Self(0);
}

/// Where copies may be. Whatever it says, no two copies of a chunk are on one host.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug, Default)]
pub struct Placement {
    /// Each copy is in another domain of this kind. Without it copies are spread over zones and racks as far as there are some.
    pub spread: Option<Domain>,
    /// Copies are on servers with these labels only.
    pub on: Labels,
    /// Where the servers do not allow what is asked for, what they do allow is good enough.
    pub loose: bool,
}

/// Changes to a [`Policy`]; `None` leaves a field alone.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct PolicyChange {
    pub copies: Option<u8>,
    pub durability: Option<Durability>,
    pub placement: Option<PlacementId>,
}
