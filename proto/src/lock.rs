//! File locks: `fcntl(2)` (of processes, and of open file descriptions) and `flock(2)`, over all mounts.
//!
//! A lock belongs to an owner within a session and lives as long as that. The two kinds of locks do not see each other, as on Linux.

mod ranges;

use serde::{Deserialize, Serialize};

pub use self::ranges::Ranges;
use crate::ids::InodeId;

/// Locks in one [`crate::meta::MetaService::reclaim_locks`] call at most.
pub const MAX_RECLAIMED: usize = 4096;

/// Which calls a lock is set by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub enum LockSpace {
    /// `fcntl(2)`: ranges that split and merge. Waiting in a circle is refused.
    Posix,
    /// `flock(2)`: of the whole file.
    Flock,
}

/// What the kernel of a mount calls the owner: a process (more precisely, its table of open files), or an open file description.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub struct LockOwner(pub u64);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub enum LockKind {
    /// Shared with others of its kind.
    Read,
    /// Shared with none.
    Write,
}

/// Bytes `first..=last` of a file, whether there are such bytes or not. `last` of `u64::MAX`: to the end, wherever that is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub struct LockRange {
    pub first: u64,
    pub last: u64,
}

impl LockRange {
    pub const WHOLE: Self = Self { first: 0, last: u64::MAX };

    /// Whether both have a byte in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// There is at least one byte in it.
    pub fn is_valid(self) -> bool {
        self.first <= self.last
    }
}

/// A lock that is wanted, held, or (for a range to be unlocked) looked at.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Lock {
    pub inode: InodeId,
    pub space: LockSpace,
    pub owner: LockOwner,
    pub range: LockRange,
    pub kind: LockKind,
    /// Process that set it, as its own host numbers it: for people, and for `F_GETLK`.
    pub pid: u32,
}

/// All locks of one owner on one file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub struct LocksOf {
    pub inode: InodeId,
    pub space: LockSpace,
    pub owner: LockOwner,
}

impl Lock {
    pub fn of(&self) -> LocksOf {
        LocksOf { inode: self.inode, space: self.space, owner: self.owner }
    }
}

impl LocksOf {
    pub fn lock(self, range: LockRange, kind: LockKind, pid: u32) -> Lock {
        Lock { inode: self.inode, space: self.space, owner: self.owner, range, kind, pid }
    }
}

/// What became of a lock that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub enum LockOutcome {
    Granted,
    /// Somebody else's lock is in the way: this one, and maybe others.
    Held(Lock),
    /// The same for a lock that is waited for: ask again.
    StillHeld,
    /// Waiting for it would be waiting for oneself.
    Deadlock,
}
