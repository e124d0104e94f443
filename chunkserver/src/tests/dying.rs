//! Real processes that die at the named points, and what their successors find.
//!
//! Each test runs this very program again, to be the process that dies: `cargo test -p cairn-chunkserver --features faults`.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use cairn_proto::chunkserver::ChunkState;

use super::*;
use crate::failpoint::{AFTER_DATA, AFTER_HEADER_DIRTY, AFTER_TABLE, BEFORE_FORWARD};

const DIR: &str = "CAIRN_TEST_DIR";
const POINT: &str = "CAIRN_CRASH_POINT";

fn open(dir: &Path) -> Store {
    let limits = StoreLimits { reserve_bytes: 0, open_chunks: NonZeroUsize::MIN };
    let server = ServerId(Uuid::from_u128(1));
    let place = Place::only(Arc::new(OsDisk), Layout::new(dir));
    let (store, _) = Store::open(vec![place], server, Some(CLUSTER), limits).unwrap();
    store.join(CLUSTER, ChunkHandle(0));
    store
}

fn before() -> Vec<u8> {
    pattern(1, 3 * BLOCK)
}

fn after() -> Vec<u8> {
    let mut bytes = before();
    bytes[100..100 + 2 * BLOCK].copy_from_slice(&pattern(2, 2 * BLOCK));
    bytes
}

/// Has a clean chunk, begins to overwrite it, and dies.
#[tokio::test]
#[ignore = "it is run by the others"]
async fn victim() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let store = open(Path::new(&dir));
    let us = MemberAck { server: ServerId(Uuid::from_u128(1)), boot: BootId(1) };
    let replication = Replication::new(store.clone(), us);
    let nobody = Replica { server: ServerId(Uuid::from_u128(2)), endpoint: "127.0.0.1:1".parse().unwrap(), up: true };
    let mut request = write_request(chunk(1), 100, &pattern(2, 2 * BLOCK), &[]);
    request.rest.push(nobody);
    let outcome = replication.write(soon(), request).await;
    panic!("it should be dead: {outcome:?}");
}

/// Runs the victim and returns what it left.
async fn die_at(point: &str) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let replication =
        Replication::new(store.clone(), MemberAck { server: ServerId(Uuid::from_u128(1)), boot: BootId(1) });
    replication.write(soon(), write_request(chunk(1), 0, &before(), &[])).await.unwrap();
    replication.hand_back(soon(), chain_request(chunk(1), &[])).await.unwrap();
    drop((replication, store));
    let victim = ["tests::dying::victim", "--exact", "--ignored"];
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(program);
    let output = command.args(victim).env(DIR, dir.path()).env(POINT, point).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.signal(), Some(9), "{point}: {text}");
    let store = open(dir.path());
    (dir, store)
}

async fn found(store: &Store) -> Vec<u8> {
    let request =
        ReadRequest { handle: ChunkHandle(1), at_least: ChunkVersion::FIRST, offset: 0, len: 3 * BLOCK as u32 };
    store.read(request).await.unwrap().data.to_vec()
}

#[tokio::test]
async fn marked_dirty_and_untouched() {
    let (_dir, store) = die_at(AFTER_HEADER_DIRTY).await;
    assert_eq!(store.stat(ChunkHandle(1)).unwrap().state, ChunkState::Dirty);
    assert_eq!(found(&store).await, before());
    assert!(store.doubts(ChunkHandle(1)).await.unwrap().is_empty());
}

#[tokio::test]
async fn sums_without_their_data() {
    let (_dir, store) = die_at(AFTER_TABLE).await;
    assert_eq!(found(&store).await, before());
    assert!(store.doubts(ChunkHandle(1)).await.unwrap().is_empty());
    store.hand_back(chunk(1)).await.unwrap();
}

#[tokio::test]
async fn written_and_not_acknowledged() {
    let (_dir, store) = die_at(AFTER_DATA).await;
    assert_eq!(found(&store).await, after());
    assert!(store.verify(ChunkHandle(1)).await.unwrap().damaged.is_empty());
}

#[tokio::test]
async fn not_passed_on() {
    let (_dir, store) = die_at(BEFORE_FORWARD).await;
    let bytes = found(&store).await;
    // Its own part may have been done, or not: the two go at the same time.
    assert!(bytes == before() || bytes == after());
    assert!(store.doubts(ChunkHandle(1)).await.unwrap().is_empty());
}
