//! The invariants of the namespace, checked a page at a time while it is in use.
//!
//! Every row of every table is looked at once, with its counterparts in the other tables, within one view of the state: so what
//! is found is wrong at that moment, however much changes between pages. Since an inode knows the entries that name it
//! ([`super::link`]), its link count needs no count over all directories. Two things are sums over more rows than a page may
//! hold: the entries of a directory and the counters. They are counted across pages, and compared only where nothing they
//! depend on has changed meanwhile.
//!
//! What the chunkservers really hold is not looked at here.

mod chunks;
mod directories;
mod inodes;
mod rest;
mod trash;

use cairn_proto::admin::Finding;
use cairn_proto::ids::{ChunkHandle, InodeId};
use serde::{Deserialize, Serialize};

use super::counters::{self, Counters};
use super::keys::{self, KeyRange};
use crate::store::{Pair, Read, StoreError};

/// What one call found, and where the next one goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckPage {
    pub findings: Vec<Finding>,
    pub inodes_checked: u64,
    pub chunks_checked: u64,
    /// Opaque; pass it on. `None`: finished.
    pub resume: Option<Vec<u8>>,
}

/// How far a check has come.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
struct Progress {
    phase: Phase,
    /// The last key looked at in this phase.
    after: Vec<u8>,
    /// As they were at the start.
    counters: Counters,
    counted: Counted,
    /// The directory whose entries are being counted.
    directory: Option<directories::Count>,
}

/// The tables, in the order in which they are gone through.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
enum Phase {
    Inodes,
    Entries,
    Listings,
    FurtherLinks,
    Xattrs,
    Orphans,
    Trash,
    TrashByPlace,
    TrashByTime,
    Delegations,
    Slots,
    Chunks,
    Garbage,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
struct Counted {
    inodes: u64,
    orphans: u64,
    chunks: u64,
    garbage: u64,
    trash: u64,
    trash_bytes: u64,
}

/// One call at work: what it reads, and what it found.
struct Check<'a> {
    read: &'a dyn Read,
    progress: Progress,
    findings: Vec<Finding>,
}

/// Checks the next `limit` rows. A `resume` that is not from here starts over.
pub fn check(read: &dyn Read, resume: Option<&[u8]>, limit: usize) -> Result<CheckPage, StoreError> {
    let progress = match resume.and_then(|bytes| postcard::from_bytes(bytes).ok()) {
        Some(progress) => progress,
        None => Progress::start(counters::get(read)?),
    };
    let before = progress.counted;
    let mut check = Check { read, progress, findings: Vec::new() };
    let more = check.page(limit.max(1))?;
    let Check { progress, findings, .. } = check;
    Ok(CheckPage {
        findings,
        inodes_checked: progress.counted.inodes - before.inodes,
        chunks_checked: progress.counted.chunks - before.chunks,
        resume: more.then(|| postcard::to_stdvec(&progress).expect("progress is plain data")),
    })
}

impl Progress {
    fn start(counters: Counters) -> Self {
        let counted = Counted::default();
        Self { phase: Phase::Inodes, after: Vec::new(), counters, counted, directory: None }
    }
}

impl Phase {
    const ALL: [Self; 13] = [
        Self::Inodes,
        Self::Entries,
        Self::Listings,
        Self::FurtherLinks,
        Self::Xattrs,
        Self::Orphans,
        Self::Trash,
        Self::TrashByPlace,
        Self::TrashByTime,
        Self::Delegations,
        Self::Slots,
        Self::Chunks,
        Self::Garbage,
    ];

    fn range(self) -> KeyRange {
        match self {
            Self::Inodes => keys::inodes_after(InodeId(0)),
            Self::Entries => keys::all_dentries(),
            Self::Listings => keys::all_listings(),
            Self::FurtherLinks => keys::all_further_links(),
            Self::Xattrs => keys::all_xattrs(),
            Self::Orphans => keys::orphans_after(InodeId(0)),
            Self::Trash => keys::all_trash(),
            Self::TrashByPlace => keys::all_trash_by_place(),
            Self::TrashByTime => keys::all_trash_by_time(),
            Self::Delegations => keys::all_delegations(),
            Self::Slots => keys::all_slots(),
            Self::Chunks => keys::chunks_after(ChunkHandle(0)),
            Self::Garbage => keys::garbage_after(ChunkHandle(0)),
        }
    }

    fn next(self) -> Option<Self> {
        let at = Self::ALL.iter().position(|&phase| phase == self)?;
        Self::ALL.get(at + 1).copied()
    }
}

impl Check<'_> {
    /// Answers whether there is more to come.
    fn page(&mut self, limit: usize) -> Result<bool, StoreError> {
        let mut left = limit;
        while left > 0 {
            let range = self.progress.phase.range().after(&self.progress.after);
            let rows = self.read.scan_page(&range.start, &range.end, left)?;
            for row in &rows {
                self.row(row)?;
            }
            if let Some((key, _)) = rows.last() {
                self.progress.after = key.to_vec();
            }
            if rows.len() == left {
                break;
            }
            left -= rows.len();
            self.end_phase()?;
            match self.progress.phase.next() {
                Some(next) => self.progress.phase = next,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn row(&mut self, (key, value): &Pair) -> Result<(), StoreError> {
        match self.progress.phase {
            Phase::Inodes => self.check_inode(key, value),
            Phase::Entries => self.check_entry(key, value),
            Phase::Listings => self.check_listed(key, value),
            Phase::FurtherLinks => self.check_further_link(key),
            Phase::Xattrs => self.check_xattr(key, value),
            Phase::Orphans => self.check_orphan(key, value),
            Phase::Trash => self.check_trash(key, value),
            Phase::TrashByPlace | Phase::TrashByTime => self.check_trash_index(key),
            Phase::Delegations => self.check_delegation(key, value),
            Phase::Slots => self.check_slot(key, value),
            Phase::Chunks => self.check_chunk(key, value),
            Phase::Garbage => self.check_garbage(key, value),
        }
    }

    fn end_phase(&mut self) -> Result<(), StoreError> {
        match self.progress.phase {
            Phase::Entries => self.end_directory(),
            Phase::Garbage => self.check_counters(),
            _ => Ok(()),
        }
    }

    fn found(&mut self, kind: &str, inode: Option<InodeId>, chunk: Option<ChunkHandle>, what: String) {
        self.findings.push(Finding { kind: kind.to_owned(), inode, chunk, server: None, what, repairable: false });
    }

    /// A value that does not decode is a finding here, not the end of the check.
    fn decoded<T>(&mut self, decoded: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match decoded {
            Ok(value) => Ok(Some(value)),
            Err(StoreError::Damaged(damage)) => {
                self.found("damaged-value", None, None, damage.to_string());
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }
}

#[cfg(test)]
mod tests;
