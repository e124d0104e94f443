//! Full and failing disks.

use std::sync::atomic::Ordering;

use super::*;
use crate::raft::log::tests::FaultyDisk;

#[test]
fn full_disk_refuses_commands_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::default());
    let running = Running::try_start(config(dir.path()), disk.clone()).unwrap();
    running.fill(1, 100);
    disk.full.store(true, Ordering::SeqCst);
    // The segment that was begun is filled up first.
    let refused = (0..2000).map(|n| running.propose(&Op::Append(1, n as u8))).find(Result::is_err);
    assert_eq!(refused, Some(Err(ProposeError::NoSpace)));
    let state = running.state();
    assert_eq!(running.propose(&Op::Append(1, 1)), Err(ProposeError::NoSpace));
    assert_eq!(running.state(), state);
    assert_eq!(running.node.metrics().failure, None);
    disk.full.store(false, Ordering::SeqCst);
    running.propose(&Op::Append(1, 1)).unwrap();
    let state = running.state();
    running.end();
    let running = Running::start(dir.path());
    assert_eq!(running.state(), state);
    running.shut_down();
}

#[test]
fn below_the_reserve_nothing_is_proposed() {
    let dir = tempfile::tempdir().unwrap();
    let config = NodeConfig { reserve_bytes: u64::MAX, ..config(dir.path()) };
    let running = Running::try_start(config, Arc::new(RealDisk)).unwrap();
    assert_eq!(running.propose(&Op::Delete(1)), Err(ProposeError::NoSpace));
    assert_eq!(running.node.applied(), LogIndex(0));
    running.shut_down();
}

#[test]
fn failed_sync_stops_the_node_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::default());
    let running = Running::try_start(config(dir.path()), disk.clone()).unwrap();
    running.fill(1, 100);
    let state = running.state();
    disk.sync_fails.store(true, Ordering::SeqCst);
    assert!(matches!(running.propose(&Op::Put(1000, "x".into())), Err(ProposeError::Stopped(_))));
    let reason = running.runtime.block_on(running.node.failed());
    assert!(reason.contains("syncing"), "{reason}");
    disk.sync_fails.store(false, Ordering::SeqCst);
    // It does not take up work again as if nothing had been.
    assert!(matches!(running.propose(&Op::Put(1000, "x".into())), Err(ProposeError::Stopped(_))));
    assert!(!running.state().iter().any(|(k, _)| *k == key(1000)));
    running.end();
    let running = Running::start(dir.path());
    let after: Vec<Pair> = running.state().into_iter().filter(|(k, _)| *k != key(1000)).collect();
    assert_eq!(after, state);
    running.shut_down();
}

#[test]
fn oversized_command_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path());
    let huge = Op::Put(1, vec![0; 9 << 20].into());
    assert!(matches!(running.propose(&huge), Err(ProposeError::TooLarge { .. })));
    running.propose(&Op::Put(1, vec![0; 7 << 20].into())).unwrap();
    running.shut_down();
    let running = Running::start(dir.path());
    assert_eq!(running.state()[0].1.len(), 7 << 20);
    running.shut_down();
}
