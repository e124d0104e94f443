//! The session against a metaserver that fails on command.

mod fake;

use std::sync::Arc;
use std::time::Duration;

use cairn_proto::attr::SetAttr;
use cairn_proto::error::FsError;
use cairn_proto::ids::{InodeId, SessionId};
use cairn_proto::lock::{Lock, LockKind, LockOutcome, LockOwner, LockRange, LockSpace, LocksOf};
use cairn_proto::meta::{Ahead, ClientInfo, Mutation, OpenMode};
use cairn_proto::time::Timestamp;
use cairn_proto::transport::Endpoint;
use fake::{Fake, Running};

use super::*;

const FILE: InodeId = InodeId(7);
const READ: OpenMode = OpenMode { read: true, write: false };

fn config(endpoint: &Endpoint) -> MetaConfig {
    let info = ClientInfo { host: "here".into(), mountpoint: "/mnt".into(), pid: 1, version: "0".into() };
    let start_timeout = Duration::from_secs(5);
    MetaConfig { endpoint: endpoint.clone(), info, timeout: None, start_timeout }
}

async fn start() -> (Arc<Fake>, Running, Arc<MetaClient>) {
    let fake = Arc::new(Fake::default());
    let running = fake.run(None).await;
    let client = MetaClient::start(config(&running.endpoint)).await.unwrap();
    (fake, running, client)
}

/// Waits until `condition` holds.
async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("the condition never came true");
}

#[tokio::test]
async fn a_mutation_whose_answer_is_lost_is_done_once() {
    let (fake, running, client) = start().await;
    fake.swallow_answers(1);
    let pending = tokio::spawn({
        let client = client.clone();
        async move { client.set_attr(FILE, SetAttr::default()).await }
    });
    until(|| fake.done() == 1).await;
    let endpoint = running.endpoint.clone();
    running.kill().await;
    let _running = fake.run(Some(endpoint)).await;
    assert_eq!(pending.await.unwrap().unwrap().inode, FILE);
    assert_eq!((fake.done(), fake.asked()), (1, 2), "asked twice under one name, done once");
}

#[tokio::test]
async fn a_restart_finds_the_session_and_its_open_files() {
    let (fake, running, client) = start().await;
    client.open(FILE, READ).await.unwrap();
    let endpoint = running.endpoint.clone();
    running.kill().await;
    let pending = tokio::spawn({
        let client = client.clone();
        async move { client.get_attr(FILE).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!pending.is_finished(), "it waits for the metaserver");
    let _running = fake.run(Some(endpoint)).await;
    pending.await.unwrap().unwrap();
    assert_eq!(fake.resumed(), [(Some(SessionId(1)), vec![FILE])]);
}

#[tokio::test]
async fn a_session_that_was_given_up_is_replaced() {
    let (fake, _running, client) = start().await;
    client.open(FILE, READ).await.unwrap();
    fake.forget_sessions();
    client.set_attr(FILE, SetAttr::default()).await.expect("it was certainly not done in the old session");
    let claimed = [(None, vec![]), (Some(SessionId(2)), vec![FILE])];
    assert_eq!(fake.resumed()[..], claimed, "the open file is claimed in the new session");
}

fn lock(first: u64, last: u64) -> Lock {
    let of = LocksOf { inode: FILE, space: LockSpace::Posix, owner: LockOwner(7) };
    of.lock(LockRange { first, last }, LockKind::Write, 1)
}

#[tokio::test]
async fn a_restart_is_told_of_locks_and_a_new_session_has_none() {
    let (fake, running, client) = start().await;
    assert_eq!(client.set_lock(lock(0, 99), false).await.unwrap(), LockOutcome::Granted);
    client.unset_lock(lock(0, 0).of(), LockRange { first: 50, last: 59 }).await.unwrap();
    let endpoint = running.endpoint.clone();
    running.kill().await;
    let _running = fake.run(Some(endpoint)).await;
    client.get_attr(FILE).await.unwrap();
    assert_eq!(fake.reclaimed(), [(vec![lock(0, 49), lock(60, 99)], true)]);
    fake.forget_sessions();
    assert_eq!(client.test_lock(lock(0, 9)).await.unwrap(), None);
    assert!(client.held_locks().all().is_empty());
    assert_eq!(fake.reclaimed().len(), 1);
}

#[tokio::test]
async fn a_mutation_in_doubt_is_not_repeated_in_another_session() {
    let (fake, running, client) = start().await;
    fake.swallow_answers(1);
    let pending = tokio::spawn({
        let client = client.clone();
        async move { client.set_attr(FILE, SetAttr::default()).await }
    });
    until(|| fake.done() == 1).await;
    fake.forget_sessions();
    let endpoint = running.endpoint.clone();
    running.kill().await;
    let _running = fake.run(Some(endpoint)).await;
    assert_eq!(pending.await.unwrap(), Err(MetaError::SessionLost));
    assert_eq!(fake.done(), 1);
}

#[tokio::test]
async fn transient_refusals_are_waited_out_and_answers_are_not() {
    let (fake, _running, client) = start().await;
    fake.refuse_next(vec![FsError::NoServers, FsError::NotReady]);
    client.set_attr(FILE, SetAttr::default()).await.unwrap();
    fake.refuse_next(vec![FsError::NotEmpty]);
    assert_eq!(client.set_attr(FILE, SetAttr::default()).await, Err(MetaError::Refused(FsError::NotEmpty)));
}

#[tokio::test]
async fn patience_can_be_limited() {
    let fake = Arc::new(Fake::default());
    let running = fake.run(None).await;
    let limited = MetaConfig { timeout: Some(Duration::from_millis(200)), ..config(&running.endpoint) };
    let client = MetaClient::start(limited).await.unwrap();
    running.kill().await;
    assert!(matches!(client.get_attr(FILE).await, Err(MetaError::TimedOut { .. })));
}

#[tokio::test]
async fn nothing_waits_any_longer_once_the_mount_is_abandoned() {
    let (_fake, running, client) = start().await;
    running.kill().await;
    let pending = tokio::spawn({
        let client = client.clone();
        async move { client.get_attr(FILE).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.abandon();
    assert_eq!(pending.await.unwrap(), Err(MetaError::Stopping));
    assert_eq!(client.get_attr(FILE).await, Err(MetaError::Stopping));
}

#[tokio::test]
async fn releases_go_in_batches_and_before_the_session_ends() {
    let (fake, _running, client) = start().await;
    for inode in 10..20 {
        client.open(InodeId(inode), READ).await.unwrap();
    }
    (10..15).for_each(|inode| client.close_inode(InodeId(inode)));
    until(|| fake.released().len() == 5).await;
    assert_eq!(fake.release_calls(), 1);
    (15..20).for_each(|inode| client.close_inode(InodeId(inode)));
    client.close(Duration::from_secs(5)).await.unwrap();
    assert_eq!(fake.released().len(), 10);
    assert!(fake.was_closed());
}

#[tokio::test]
async fn nobody_there_is_a_clear_error() {
    let endpoint: Endpoint = "127.0.0.1:1".parse().unwrap();
    let impatient = MetaConfig { start_timeout: Duration::from_millis(50), ..config(&endpoint) };
    let error = MetaClient::start(impatient).await.unwrap_err();
    assert_eq!(error.to_string(), "metaserver 127.0.0.1:1 cannot be reached");
}

fn ahead(count: u64) -> Vec<AheadOp> {
    let op = |position| {
        let mutation = Mutation::SetAttr { inode: FILE, set: SetAttr::default() };
        AheadOp::new(mutation, Ahead { position, at: Timestamp::now(), inode: None })
    };
    (1..=count).map(op).collect()
}

#[tokio::test]
async fn what_was_done_ahead_waits_for_what_came_before_it() {
    let (fake, _running, client) = start().await;
    fake.refuse_next(vec![FsError::NoSpace]);
    let mut ops = ahead(3);
    let results = client.mutate_ahead(Some(SessionId(1)), &mut ops).await.unwrap();
    assert!(results.len() == 3 && results.iter().all(Result::is_ok));
    assert_eq!((fake.done(), fake.asked()), (3, 6), "all three were sent twice, and done once");
}

#[tokio::test]
async fn what_was_done_ahead_in_a_session_that_is_gone_is_lost() {
    let (fake, _running, client) = start().await;
    fake.forget_sessions();
    assert_eq!(client.mutate_ahead(Some(SessionId(1)), &mut ahead(1)).await, Err(MetaError::SessionLost));
    assert_eq!(fake.done(), 0);
}
