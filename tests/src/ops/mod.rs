//! Random file system operations that run on any directory and answer in a form that two directories can be compared by.
//!
//! The differential test draws an [`Op`] sequence from a seed and runs it on a mount and on a local directory, call by call:
//! [`World::run`] must answer the same on both.

mod draw;
mod outcome;
mod world;

pub use draw::draw;
pub use outcome::{Outcome, Stat, Value};
pub use world::{World, tree};

use nix::fcntl::OFlag;

/// Handles that a world keeps open at once.
pub const HANDLES: usize = 6;

/// One call. Paths are relative to the world's root; handles are slots, and an empty slot answers `EBADF`.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    Open {
        slot: usize,
        path: String,
        flags: OFlag,
        mode: u32,
    },
    Close {
        slot: usize,
    },
    Read {
        slot: usize,
        offset: u64,
        len: usize,
    },
    Write {
        slot: usize,
        offset: u64,
        len: usize,
        seed: u64,
    },
    /// `write(2)` at the file position: `O_APPEND` applies.
    WriteHere {
        slot: usize,
        len: usize,
        seed: u64,
    },
    /// Stores through a shared mapping, then `msync`.
    MapWrite {
        slot: usize,
        offset: u64,
        len: usize,
        seed: u64,
    },
    Ftruncate {
        slot: usize,
        len: u64,
    },
    Fallocate {
        slot: usize,
        mode: i32,
        offset: u64,
        len: u64,
    },
    CopyRange {
        from: usize,
        to: usize,
        from_offset: u64,
        to_offset: u64,
        len: usize,
    },
    Fsync {
        slot: usize,
    },
    Fstat {
        slot: usize,
    },
    Truncate {
        path: String,
        len: u64,
    },
    Mkdir {
        path: String,
        mode: u32,
    },
    Rmdir {
        path: String,
    },
    Unlink {
        path: String,
    },
    Rename {
        from: String,
        to: String,
        flags: u32,
    },
    Link {
        from: String,
        to: String,
    },
    Symlink {
        target: String,
        path: String,
    },
    ReadLink {
        path: String,
    },
    Mkfifo {
        path: String,
        mode: u32,
    },
    ReadDir {
        path: String,
    },
    Stat {
        path: String,
    },
    Lstat {
        path: String,
    },
    Chmod {
        path: String,
        mode: u32,
    },
    Chown {
        path: String,
        uid: Option<u32>,
        gid: Option<u32>,
    },
    /// Sets both times, `None` is `UTIME_OMIT`, and answers what `lstat` then says of those that were set.
    Utimens {
        path: String,
        atime: Option<(i64, i64)>,
        mtime: Option<(i64, i64)>,
    },
    SetXattr {
        path: String,
        name: String,
        len: usize,
        seed: u64,
        flags: i32,
    },
    GetXattr {
        path: String,
        name: String,
    },
    ListXattr {
        path: String,
    },
    RemoveXattr {
        path: String,
        name: String,
    },
}
