//! Many chunks handed back at once.

use cairn_proto::chunkserver::{ChunkStat, ChunkState};

use super::super::disk::sim::Faults;
use super::*;

/// More than are synced one by one.
const COUNT: u64 = 20;
/// The one that something is wrong with.
const ODD: u64 = 5;

async fn written() -> (Rig, Vec<ChunkId>) {
    let rig = Rig::new();
    let ids: Vec<ChunkId> = (0..COUNT).map(chunk).collect();
    for id in &ids {
        rig.write(*id, 0, &pattern(id.handle.0, 2 * BLOCK)).await.unwrap();
    }
    (rig, ids)
}

/// All but the odd one are clean, here and after a restart, and hold what was written, also after a power cut.
async fn assert_others_are_handed_back(rig: Rig, answers: &[Result<ChunkStat, ChunkError>]) {
    for (n, answer) in (0..COUNT).zip(answers).filter(|(n, _)| *n != ODD) {
        let stat = answer.as_ref().unwrap();
        assert_eq!((stat.id.handle, stat.state), (ChunkHandle(n), ChunkState::Clean));
    }
    let rig = rig.restart();
    for n in (0..COUNT).filter(|n| *n != ODD) {
        assert_eq!(rig.store.stat(ChunkHandle(n)).unwrap().state, ChunkState::Clean);
    }
    rig.disk.cut_power();
    let rig = rig.restart();
    for n in (0..COUNT).filter(|n| *n != ODD) {
        assert_eq!(rig.contents(chunk(n)).await.unwrap(), pattern(n, 2 * BLOCK));
    }
}

#[tokio::test]
async fn many_chunks_share_one_sync_of_the_file_system() {
    let (rig, mut ids) = written().await;
    let answers = rig.store.hand_back_many(ids.clone()).await;
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().state == ChunkState::Clean));
    assert_eq!((rig.disk.whole_syncs(), rig.disk.syncs(), rig.disk.dir_syncs()), (1, 0, 0));
    assert_eq!(rig.store.hand_back_many(ids.clone()).await, answers);
    assert_eq!((rig.disk.whole_syncs(), rig.disk.syncs()), (1, 0), "what is clean costs nothing");
    // Written again, they are dirty again, durably, before any of their bytes changes.
    rig.write(ids[3], 0, b"again").await.unwrap();
    assert_eq!(rig.disk.syncs(), 1, "of the slot that says so");
    assert!(rig.store.hand_back_many(ids.drain(2..5).collect()).await.iter().all(Result::is_ok));
    assert_eq!(rig.disk.whole_syncs(), 1, "few are synced by themselves");
    assert_eq!(&rig.contents(chunk(3)).await.unwrap()[..5], b"again");
    assert_eq!(rig.store.hand_back_many(Vec::new()).await, []);
}

#[tokio::test]
async fn what_is_fenced_or_unknown_fails_alone() {
    let (rig, mut ids) = written().await;
    rig.store.fence(ChunkHandle(ODD), ChunkVersion(3)).await.unwrap();
    ids.push(chunk(COUNT));
    // Twice the same, and one under a version that it has not heard of.
    ids.push(chunk(0));
    ids.push(at_version(chunk(1), 2));
    let answers = rig.store.hand_back_many(ids).await;
    let fenced = ChunkError::VersionFenced { handle: ChunkHandle(ODD), asked: ChunkVersion(1), have: ChunkVersion(3) };
    assert_eq!(answers[ODD as usize], Err(fenced));
    assert_eq!(answers[COUNT as usize], Err(ChunkError::NotFound(ChunkHandle(COUNT))));
    assert_eq!(answers[COUNT as usize + 1], answers[0]);
    assert_eq!(answers[COUNT as usize + 2].as_ref().unwrap().id.version, ChunkVersion(2));
    assert_eq!(rig.store.stat(ChunkHandle(ODD)).unwrap().state, ChunkState::Dirty);
    assert_others_are_handed_back(rig, &answers[..COUNT as usize]).await;
}

/// Whether the sync of the file system says so or not.
#[tokio::test]
async fn a_file_that_cannot_be_written_is_blamed_alone() {
    for whole_syncs_hide in [false, true] {
        let (rig, ids) = written().await;
        rig.disk.break_file(&rig.layout.chunk(ChunkHandle(ODD)));
        rig.disk.set_faults(Faults { whole_syncs_hide, ..Faults::default() });
        let answers = rig.store.hand_back_many(ids).await;
        let failed = &answers[ODD as usize];
        assert!(matches!(failed, Err(ChunkError::Disk(why)) if why.contains("sync")), "{failed:?}");
        assert!(rig.store.sync(chunk(ODD)).await.is_err(), "it is given up");
        assert_eq!(rig.disk.syncs() == 0, whole_syncs_hide, "one by one, where something was said");
        assert_others_are_handed_back(rig, &answers).await;
    }
}

#[tokio::test]
async fn a_file_system_that_cannot_be_synced_as_a_whole_is_synced_chunk_by_chunk() {
    let (rig, ids) = written().await;
    rig.disk.set_faults(Faults { whole_syncs_fail: true, ..Faults::default() });
    let answers = rig.store.hand_back_many(ids).await;
    assert!(answers[ODD as usize].is_ok());
    assert_others_are_handed_back(rig, &answers).await;
}

#[tokio::test]
async fn batches_of_the_same_chunks_do_not_wait_for_each_other_for_ever() {
    let (rig, ids) = written().await;
    let mut backwards = ids.clone();
    backwards.reverse();
    let batches = (0..8).map(|n| rig.store.hand_back_many(if n % 2 == 0 { ids.clone() } else { backwards.clone() }));
    for answers in futures::future::join_all(batches).await {
        assert!(answers.iter().all(Result::is_ok));
    }
}
