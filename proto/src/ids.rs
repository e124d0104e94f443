//! The identities of the system. Newtypes, so that a handle is never passed where an inode number is meant.
//!
//! Inode numbers and chunk handles are never reused: one that is gone answers "not found" for ever.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! integer_id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A fresh random identity.
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(s: &str) -> Result<Self, Self::Err> {
                s.parse().map(Self)
            }
        }
    };
}

integer_id! {
    /// A file, directory, symlink or special file. `1` is the root; `0` is never used.
    InodeId(u64), "inode "
}
integer_id! {
    /// One chunk of one file, for ever.
    ChunkHandle(u64), "chunk "
}
integer_id! {
    /// Raised whenever the set of servers that hold a chunk changes, and whenever writers must be fenced off.
    ChunkVersion(u32), "v"
}
integer_id! {
    /// The place of a chunk in its file: byte offset divided by [`crate::chunk::CHUNK_SIZE`].
    ChunkIndex(u32), "#"
}
integer_id! {
    /// A client's session with the metaserver.
    SessionId(u64), "session "
}
integer_id! {
    /// The place of a command in the metaserver's log.
    LogIndex(u64), "log "
}
integer_id! {
    /// The place of an entry in its directory's listing order: given out once, ascending, never reused in that directory.
    /// `0` stands before the first entry; see [`crate::meta::ReadDir`].
    DirCookie(u64), "cookie "
}

uuid_id! {
    /// A chunkserver. Made once, kept in its data directory.
    ServerId
}
uuid_id! {
    /// A cluster. Made once by its first metaserver; every data directory of the cluster carries it.
    ClusterId
}
uuid_id! {
    /// A disk of a chunkserver: one of its data directories. Made once, kept in that directory.
    DiskId
}

/// A disk among those of its chunkserver: its place in what the server's heartbeats say of its disks, counted from 0. It holds for as long as
/// the process does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug, Default)]
pub struct DiskNumber(pub u8);

/// One run of a kernel (`/proc/sys/kernel/random/boot_id`). Acknowledged bytes that were not synced may be lost when it changes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct BootId(pub u128);

/// Names one mutation of one session, so that a retry is answered from the ledger and never done twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub struct OpId {
    pub session: SessionId,
    /// Ascending within the session, from 1.
    pub seq: u64,
}

impl SessionId {
    /// In the place of a client's, where servers act among themselves or for those who administer them. No client has it.
    pub const SERVERS: Self = Self(0);
}

impl InodeId {
    /// The root directory.
    pub const ROOT: Self = Self(1);
}

impl ChunkVersion {
    /// The version a chunk is born with.
    pub const FIRST: Self = Self(1);

    /// The version after this one.
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a chunk's members cannot have changed four billion times"))
    }
}

impl ChunkIndex {
    /// The chunk that holds byte `offset` of a file, or `None` past the largest file.
    pub fn of_offset(offset: u64) -> Option<Self> {
        u32::try_from(offset / crate::chunk::CHUNK_SIZE).ok().map(Self)
    }

    /// Offset in the file of this chunk's first byte.
    pub fn start(self) -> u64 {
        u64::from(self.0) * crate::chunk::CHUNK_SIZE
    }
}

impl DirCookie {
    /// Before the first entry.
    pub const START: Self = Self(0);
}
