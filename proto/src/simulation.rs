//! `cairn simulate`: what would be if.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

use crate::ids::{ChunkHandle, InodeId};
use crate::labels::Labels;
use crate::name::Name;

/// Servers or disks that something happens to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum Subject {
    /// By its name, or its id.
    Server(String),
    /// All with these labels.
    Labels(Labels),
    /// One disk of a server: by its id, its directory, or as `SERVER:NUMBER`. A directory may be meant on several servers.
    Disk(String),
}

impl Display for Subject {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(name) => f.write_str(name),
            Self::Labels(labels) => labels.fmt(f),
            Self::Disk(name) => write!(f, "disk={name}"),
        }
    }
}

/// What happens.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum Scenario {
    /// They are gone for good, at once.
    Fail(Vec<Subject>),
    /// What they hold goes elsewhere.
    Drain(Vec<Subject>),
    /// New ones come, of so many bytes each.
    Add { servers: u32, size: u64 },
}

/// What that is to a chunk, and to a file: the worst of its chunks. From the least to the worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub enum Outcome {
    /// It is copied elsewhere, and has all its copies meanwhile.
    Moved,
    /// It has fewer copies than it should have until it is repaired.
    Reduced,
    /// The copies that are left are on servers that are away: it can be read when they are back.
    Unreadable,
    /// No copy is left.
    Lost,
}

/// Numbers of chunks, unless it says bytes.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct SimulatedCounts {
    pub chunks: u64,
    /// Bytes of all chunks.
    pub bytes: u64,
    pub moved: u64,
    pub reduced: u64,
    pub unreadable: u64,
    pub lost: u64,
    /// Bytes to copy until all have the copies that they should have.
    pub to_copy: u64,
    /// Of those that are hit, those that should have more copies than there are hosts left.
    pub without_a_place: u64,
}

impl SimulatedCounts {
    pub fn count(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Moved => &mut self.moved,
            Outcome::Reduced => &mut self.reduced,
            Outcome::Unreadable => &mut self.unreadable,
            Outcome::Lost => &mut self.lost,
        } += 1;
    }

    pub fn add(&mut self, other: &Self) {
        let Self { chunks, bytes, moved, reduced, unreadable, lost, to_copy, without_a_place } = other;
        self.chunks += chunks;
        self.bytes += bytes;
        self.moved += moved;
        self.reduced += reduced;
        self.unreadable += unreadable;
        self.lost += lost;
        self.to_copy += to_copy;
        self.without_a_place += without_a_place;
    }
}

/// A file that is hit.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct SimulatedFile {
    pub inode: InodeId,
    /// `None`: it has no name any more, and is still open.
    pub path: Option<Vec<Name>>,
    pub outcome: Outcome,
    /// Chunks that are hit, and their bytes.
    pub chunks: u64,
    pub bytes: u64,
}

/// Part of an answer: of some chunks. Asked again with `resume` until there is none.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct SimulationPage {
    /// Names of the servers that it happens to, and of the disks, as `SERVER:NUMBER (DIRECTORY)`.
    pub servers: Vec<String>,
    pub counts: SimulatedCounts,
    /// The worst hit, not all of them.
    pub files: Vec<SimulatedFile>,
    pub files_in_all: u64,
    /// Bytes on the servers that are up and left.
    pub used_by_the_rest: u64,
    pub free_on_the_rest: u64,
    /// At which copies would be made.
    pub bytes_per_s: u64,
    /// At which copies would move to new servers.
    pub balance_bytes_per_s: u64,
    pub resume: Option<ChunkHandle>,
}
