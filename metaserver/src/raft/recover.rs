//! Bringing the store up to the log when a node starts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_runtime::crashsafe;

use super::checkpoint::{CheckpointError, CheckpointReader, Checkpoints};
use super::log::LogReader;
use super::state_machine::{Applier, load, read_applied};
use super::{NodeConfig, OpenError, entry};
use crate::store::{Keyspace, SledStore, StoreError};

/// Entries that are read from the log and applied at a time.
const REPLAY_ENTRIES: u64 = 256;

/// The store's files, and what there is to rebuild it from.
pub(super) struct Recovery<'a> {
    pub(super) config: &'a NodeConfig,
    pub(super) log: &'a LogReader,
    pub(super) checkpoints: &'a Checkpoints,
}

impl Recovery<'_> {
    /// Opens the store, or rebuilds it where it is missing, damaged, or behind what the log still holds.
    pub(super) fn open_store(&self) -> Result<Arc<Keyspace>, OpenError> {
        let left_clean = take_marker(&marker_path(&self.config.dir))?;
        self.check_log()?;
        let reason = if self.store_dir().exists() {
            // sled checks by assertions, too.
            match catch_unwind(AssertUnwindSafe(|| self.open_existing(left_clean.as_deref()))) {
                Ok(Ok(Some(keyspace))) => return Ok(keyspace),
                Ok(Ok(None)) => "it is behind the beginning of the log".to_owned(),
                Ok(Err(error)) if is_damage(&error) => error.to_string(),
                Ok(Err(error)) => return Err(error),
                Err(_) => "an assertion failed in the engine".to_owned(),
            }
        } else if self.log.last().index == 0 {
            return Ok(self.open_engine()?);
        } else {
            "it is missing".to_owned()
        };
        tracing::warn!(reason, "rebuilding the metadata store from checkpoint and log");
        self.rebuild()
    }

    /// The store, if it can be used as it is.
    fn open_existing(&self, left_clean: Option<&[u8]>) -> Result<Option<Arc<Keyspace>>, OpenError> {
        let keyspace = self.open_engine()?;
        let applied = read_applied(&keyspace)?;
        if applied.entry.index < self.log.purged().index {
            return Ok(None);
        }
        self.check_not_ahead(applied.entry.index)?;
        if left_clean != Some(&keyspace.meta().encode()[..]) {
            tracing::info!(
                pairs = keyspace.digest().pairs,
                "verifying the metadata store, which was not closed in good order"
            );
            keyspace.verify()?;
        }
        Ok(Some(keyspace))
    }

    fn rebuild(&self) -> Result<Arc<Keyspace>, OpenError> {
        let dir = self.store_dir();
        if dir.exists() {
            std::fs::remove_dir_all(&dir).map_err(|source| io_error("remove", &dir, source))?;
        }
        let keyspace = self.open_engine()?;
        let purged = self.log.purged().index;
        let mut reasons = Vec::new();
        for (header, path) in self.checkpoints.newest_first() {
            if header.entry.index < purged {
                reasons.push(format!("checkpoint {} ends before the log begins", path.display()));
                continue;
            }
            match CheckpointReader::open(&path).and_then(|mut reader| load(&keyspace, &mut reader)) {
                Ok(()) => {
                    tracing::info!(checkpoint = %path.display(), pairs = header.meta.digest.pairs, "loaded a checkpoint");
                    return Ok(keyspace);
                }
                Err(CheckpointError::Store(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::error!(%error, "a checkpoint cannot be used, trying an older one");
                    reasons.push(error.to_string());
                }
            }
        }
        if purged > 0 {
            return Err(OpenError::NoCheckpoint { purged, reasons });
        }
        // The log reaches back to the beginning: it alone is enough.
        keyspace.clear()?;
        Ok(keyspace)
    }

    /// What has been applied anywhere must be in the log: it was synced there first.
    fn check_log(&self) -> Result<(), OpenError> {
        let newest = self.checkpoints.newest().map_or(0, |header| header.entry.index);
        self.check_not_ahead(newest)
    }

    fn check_not_ahead(&self, applied: u64) -> Result<(), OpenError> {
        match self.log.last().index {
            log if log < applied => Err(OpenError::LogBehindStore { log, store: applied }),
            _ => Ok(()),
        }
    }

    fn open_engine(&self) -> Result<Arc<Keyspace>, StoreError> {
        let store = SledStore::open(&self.store_dir(), self.config.store_cache_bytes)?;
        Keyspace::open(store, self.config.read_cache_bytes)
    }

    fn store_dir(&self) -> PathBuf {
        self.config.dir.join("store")
    }
}

/// Applies what is known to be committed. The rest, a few entries at most, raft commits when it has its leader.
pub(super) fn replay(log: &LogReader, committed: u64, applier: &Applier) -> Result<(), OpenError> {
    let first = applier.applied().entry.index + 1;
    if first > committed {
        return Ok(());
    }
    tracing::info!(first, last = committed, "applying the log to the metadata store");
    let mut next = first;
    while next <= committed {
        let end = (next + REPLAY_ENTRIES).min(committed + 1);
        let records = log.read(next..end)?;
        let entries: Option<Vec<_>> = records.iter().map(entry::decode).collect();
        let entries = entries.ok_or(OpenError::UnknownEntry { first: next, last: end - 1 })?;
        applier.apply(entries)?;
        next = end;
    }
    Ok(())
}

/// Notes that the store is on disk as `meta` says. Without it, the next start verifies the store.
pub(super) fn leave_marker(dir: &Path, meta: &[u8]) -> std::io::Result<()> {
    crashsafe::write_atomic(&marker_path(dir), meta)
}

/// Reads the marker and removes it: from now on the store changes.
fn take_marker(path: &Path) -> Result<Option<Vec<u8>>, OpenError> {
    match std::fs::read(path) {
        Ok(meta) => {
            crashsafe::remove_durable(path).map_err(|source| io_error("remove", path, source))?;
            Ok(Some(meta))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_error("read", path, source)),
    }
}

/// Whether the store itself is to blame, and a new one would do. A file that cannot be read for whatever reason counts.
fn is_damage(error: &OpenError) -> bool {
    match error {
        OpenError::Store(StoreError::Damaged(_)) => true,
        OpenError::Store(StoreError::Io { action, .. }) => *action != "opening",
        _ => false,
    }
}

fn marker_path(dir: &Path) -> PathBuf {
    dir.join("store-clean")
}

fn io_error(action: &'static str, path: &Path, source: std::io::Error) -> OpenError {
    OpenError::Io { action, path: path.to_owned(), source }
}
