//! What a worker writes down: a line when a call begins, and one when it has ended. A worker that is killed leaves a beginning.
//!
//! Times are of `CLOCK_MONOTONIC`, which all processes of a machine share.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::model::Value;

/// What calls are made on. Numbers tell several of a kind apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Object {
    /// A file that is written and read as it comes.
    Plain(u8),
    /// A file that is written under a lock.
    Locked(u8),
    /// A file that is replaced by another one.
    Replaced(u8),
    /// A name that is there or not.
    Name(u8),
    /// A directory in which a file has one of several names.
    Token(u8),
}

/// What is about to be called.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Attempt {
    Read {
        file: Object,
    },
    Write {
        file: Object,
        put: Value,
    },
    /// Lock; read; write `put`, unless a read before showed something else; unlock.
    Swap {
        file: Object,
        put: Value,
    },
    Create {
        name: u8,
    },
    Unlink {
        name: u8,
    },
    Look {
        name: u8,
    },
    /// All names at once.
    List,
    Rename {
        token: u8,
        from: u8,
        to: u8,
    },
    Peek {
        token: u8,
        name: u8,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    Saw(Value),
    Done,
    Swapped {
        saw: Value,
        put: Option<Value>,
    },
    /// An inode: the one made, or the one there; [`super::model::UNKNOWN`] if the call does not tell.
    Inode(u64),
    Exists,
    Absent,
    There,
    /// Names that are there, with inodes.
    Listed(Vec<(u8, u64)>),
    /// It failed as things do when servers are away; it may have happened.
    Lost(String),
    /// The same, and it has not happened, or nothing would be known of it if it had.
    Refused(String),
    /// It came to something that it may not come to.
    Wrong(String),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Entry {
    Began {
        at: u64,
        attempt: Attempt,
    },
    Ended {
        at: u64,
        outcome: Outcome,
    },
    /// A read that met a write, and had halves of both, was repeated.
    Tore,
}

/// Nanoseconds.
pub fn now() -> Result<u64> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).context("read the clock")?;
    Ok(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

/// One worker's log.
#[derive(Debug)]
pub struct Log(File);

impl Log {
    pub fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).open(path);
        Ok(Self(file.with_context(|| path.display().to_string())?))
    }

    pub fn add(&mut self, entry: &Entry) -> Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        // One write: a killed worker leaves whole lines.
        self.0.write_all(&line).context("write the log")
    }
}

/// What a worker has written down so far.
pub fn read(path: &Path) -> Result<Vec<Entry>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let lines = text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("not understood: {line}")));
    lines.collect()
}
