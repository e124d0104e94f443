//! Lost and damaged files.

use std::path::PathBuf;

use super::*;
use crate::raft::log::LogError;
use crate::store::{Read, SledStore, Store, WriteSet};

/// Files of a kind, in order of name.
fn files(dir: &Path, part: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.join(part)];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { dirs.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

/// A directory with a state, and what the state is.
fn history(dir: &Path, checkpoints: u32) -> Vec<Pair> {
    let running = Running::start(dir);
    for round in 0..checkpoints {
        for part in 0..10 {
            running.fill(round * 10 + part, 300);
        }
        running.checkpoint();
    }
    running.fill(1000, 200);
    let state = running.state();
    running.end();
    state
}

fn assert_recovers(dir: &Path, state: &[Pair]) {
    let running = Running::start(dir);
    assert_eq!(running.state(), state);
    running.node.keyspace().verify().unwrap();
    // And it goes on.
    running.fill(7, 50);
    let state = running.state();
    running.shut_down();
    let running = Running::start(dir);
    assert_eq!(running.state(), state);
    running.shut_down();
}

#[test]
fn lost_store_is_rebuilt() {
    for checkpoints in [0, 1, 2, 4] {
        let dir = tempfile::tempdir().unwrap();
        let state = history(dir.path(), checkpoints);
        std::fs::remove_dir_all(dir.path().join("store")).unwrap();
        assert_recovers(dir.path(), &state);
    }
}

#[test]
fn damaged_store_files_are_noticed_and_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let state = history(dir.path(), 3);
    for which in 0..files(dir.path(), "store").len() {
        for part in 0..4 {
            let Some(path) = files(dir.path(), "store").get(which).cloned() else { continue };
            let length = std::fs::metadata(&path).unwrap().len() as usize;
            match part {
                _ if length == 0 => continue,
                3 => std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length as u64 / 2).unwrap(),
                part => flip(&path, length * part / 3),
            }
            let running = Running::start(dir.path());
            assert_eq!(running.state(), state, "after damage {part} to {}", path.display());
            running.node.keyspace().verify().unwrap();
            running.end();
        }
    }
}

#[test]
fn pair_that_vanished_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let state = history(dir.path(), 1);
    let store = SledStore::open(&dir.path().join("store"), 1 << 20).unwrap();
    let (gone, _) = store.scan_page(&[1], &[TAG_TAIL], 1).unwrap().remove(0);
    let mut writes = WriteSet::default();
    writes.delete(gone);
    store.write(&writes).unwrap();
    store.flush().unwrap();
    drop(store);
    assert_recovers(dir.path(), &state);
}

#[test]
fn damaged_checkpoint_falls_back_to_the_older_one() {
    let dir = tempfile::tempdir().unwrap();
    let state = history(dir.path(), 4);
    let newest = files(dir.path(), "checkpoints").pop().unwrap();
    flip(&newest, std::fs::metadata(&newest).unwrap().len() as usize / 2);
    std::fs::remove_dir_all(dir.path().join("store")).unwrap();
    assert_recovers(dir.path(), &state);
}

#[test]
fn damaged_checkpoints_and_a_whole_log_replay_everything() {
    let dir = tempfile::tempdir().unwrap();
    let state = history(dir.path(), 1);
    let only = files(dir.path(), "checkpoints").pop().unwrap();
    flip(&only, 100);
    std::fs::remove_dir_all(dir.path().join("store")).unwrap();
    assert_recovers(dir.path(), &state);
}

#[test]
fn nothing_to_rebuild_from_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    history(dir.path(), 4);
    for path in files(dir.path(), "checkpoints") {
        flip(&path, std::fs::metadata(&path).unwrap().len() as usize / 2);
    }
    std::fs::remove_dir_all(dir.path().join("store")).unwrap();
    let error = Running::try_start(config(dir.path()), Arc::new(RealDisk)).err().unwrap();
    assert!(
        matches!(&error, OpenError::NoCheckpoint { purged, reasons } if *purged > 0 && reasons.len() == 2),
        "{error}"
    );
    // Nothing was made worse: it says the same again.
    let error = Running::try_start(config(dir.path()), Arc::new(RealDisk)).err().unwrap();
    assert!(matches!(error, OpenError::NoCheckpoint { .. }), "{error}");
}

#[test]
fn damaged_log_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path());
    for n in 0..100 {
        running.propose(&Op::Append(n, 1)).unwrap();
    }
    running.end();
    let segment = files(dir.path(), "log").remove(0);
    flip(&segment, 4000);
    let error = Running::try_start(config(dir.path()), Arc::new(RealDisk)).err().unwrap();
    let OpenError::Log(LogError::Damaged { path, offset, .. }) = error else { panic!("{error}") };
    assert_eq!(path, segment);
    assert!(offset <= 4000);
}

#[test]
fn log_that_lost_its_end_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path());
    for round in 0..10 {
        running.fill(round, 300);
    }
    running.shut_down();
    let mut segments = files(dir.path(), "log");
    segments.retain(|path| path.extension().is_some());
    assert!(segments.len() > 1);
    std::fs::remove_file(segments.pop().unwrap()).unwrap();
    let error = Running::try_start(config(dir.path()), Arc::new(RealDisk)).err().unwrap();
    assert!(matches!(error, OpenError::LogBehindStore { log, store } if log < store), "{error}");
}

#[test]
fn missing_log_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    history(dir.path(), 1);
    for path in files(dir.path(), "log").into_iter().filter(|path| path.extension().is_some()) {
        std::fs::remove_file(path).unwrap();
    }
    let error = Running::try_start(config(dir.path()), Arc::new(RealDisk)).err().unwrap();
    assert!(matches!(error, OpenError::LogMissing { .. }), "{error}");
}
