//! What a node does when nothing goes wrong, or nothing but its end.

use super::*;

#[test]
fn commands_are_numbered_and_answered() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path());
    let answers = running.propose_all((0..1000).map(|n| Op::Append(n % 7, n as u8)));
    assert_eq!(answers, (1..=1000).collect::<Vec<_>>());
    assert_eq!(running.node.applied(), LogIndex(1000));
    let metrics = running.node.metrics();
    assert!(metrics.log_syncs < 200, "{} syncs for 1000 commands", metrics.log_syncs);
    assert_eq!((metrics.pairs, metrics.leader, metrics.failure), (7, Some(1), None));
    running.shut_down();
}

#[test]
fn survives_restarts_in_good_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = Vec::new();
    for round in 0..4 {
        let running = Running::start(dir.path());
        assert_eq!(running.state(), last);
        assert_eq!(running.node.applied(), LogIndex(round * 300));
        running.fill(round as u32, 300);
        last = running.state();
        running.shut_down();
        assert!(dir.path().join("store-clean").exists());
    }
}

#[test]
fn survives_ends_without_shutdown() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = Vec::new();
    for round in 0..4 {
        let running = Running::start(dir.path());
        assert_eq!(running.state(), last);
        running.fill(round, 300);
        last = running.state();
        running.end();
        assert!(!dir.path().join("store-clean").exists());
    }
}

#[test]
fn second_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path());
    let second = Running::try_start(config(dir.path()), Arc::new(RealDisk));
    assert!(matches!(second.err(), Some(OpenError::InUse { dir: named }) if named == dir.path()));
    running.shut_down();
}

#[tokio::test(flavor = "multi_thread")]
async fn opens_again_at_once_after_it_was_dropped() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..5 {
        let node = MetaNode::open(config(dir.path()), Arc::new(Map)).await.unwrap();
        assert_eq!(node.applied(), LogIndex(n));
        node.propose(command(&Op::Append(1, 1))).await.unwrap();
    }
}

#[test]
fn checkpoint_while_writing_is_consistent() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path());
    running.fill(1, 2000);
    running.runtime.block_on(async {
        let writing = async {
            for n in 0..1500u32 {
                running.node.propose(command(&Op::Append(n % 500, n as u8))).await.unwrap();
            }
        };
        let checkpointing = async {
            for _ in 0..5 {
                running.node.checkpoint().await.unwrap();
            }
        };
        tokio::join!(writing, checkpointing);
    });
    let state = running.state();
    running.end();
    std::fs::remove_dir_all(dir.path().join("store")).unwrap();
    let running = Running::start(dir.path());
    assert_eq!(running.state(), state);
    running.node.keyspace().verify().unwrap();
    running.shut_down();
}

#[test]
fn log_is_dropped_up_to_the_older_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path());
    let mut sizes = Vec::new();
    for round in 0..6 {
        for part in 0..10 {
            running.fill(round * 10 + part, 500);
        }
        assert_eq!(running.checkpoint(), running.node.applied());
        sizes.push(running.node.metrics().log_bytes);
    }
    assert!(sizes[5] < sizes[1] * 2, "{sizes:?}");
    assert_eq!(std::fs::read_dir(dir.path().join("checkpoints")).unwrap().count(), 2);
    let state = running.state();
    running.end();
    let running = Running::start(dir.path());
    assert_eq!(running.state(), state);
    assert_eq!(running.node.applied(), LogIndex(30_000));
    running.shut_down();
}

#[test]
fn workers_take_checkpoints_and_flush() {
    let dir = tempfile::tempdir().unwrap();
    let config = NodeConfig { checkpoint_every: 100, ..config(dir.path()) };
    let running = Running::try_start(config, Arc::new(RealDisk)).unwrap();
    let shutdown = cairn_runtime::shutdown::Shutdown::new();
    let workers = cairn_runtime::worker::Workers::new(shutdown.clone());
    running.fill(1, 150);
    running.runtime.block_on(async {
        running.node.spawn_workers(&workers).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while running.node.metrics().checkpoint != Some(LogIndex(150)) {
            assert!(std::time::Instant::now() < deadline, "no checkpoint was taken");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        shutdown.finish(std::time::Duration::from_secs(10)).await.unwrap();
    });
    running.shut_down();
}
