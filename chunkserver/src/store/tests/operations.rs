//! Each operation by itself.

use cairn_proto::chunk::BlockSum;
use cairn_proto::chunkserver::{ChunkState, VerifyReport};
use cairn_proto::cluster::ChunkChange;
use futures::FutureExt;

use super::*;

#[tokio::test]
async fn pieces_of_any_size_come_back_with_their_sums() {
    let rig = Rig::new();
    let id = chunk(1);
    let data = pattern(1, 3 * BLOCK + 100);
    rig.write(id, 0, &data).await.unwrap();
    rig.write(id, 50, &pattern(2, 10)).await.unwrap();
    let mut want = data;
    want[50..60].copy_from_slice(&pattern(2, 10));

    let reply = rig.read(id, BLOCK + 7, 2 * BLOCK).await.unwrap();
    assert_eq!(reply.offset as usize, BLOCK);
    assert_eq!(&reply.data[..], &want[BLOCK..], "whole blocks, to the end of what there is");
    let sums: Vec<_> = want[BLOCK..].chunks(BLOCK).map(BlockSum::of).collect();
    assert_eq!(reply.sums, sums);
    assert_eq!(rig.contents(id).await.unwrap(), want);
    assert!(rig.read(id, 8 * BLOCK, 10).await.unwrap().data.is_empty());

    let stat = rig.store.stat(id.handle).unwrap();
    assert_eq!((stat.length as usize, stat.allocated as usize), (3 * BLOCK + 100, 4 * BLOCK));
    assert_eq!(stat.state, ChunkState::Dirty);
    assert_eq!(rig.read(chunk(2), 0, 1).await, Err(ChunkError::NotFound(ChunkHandle(2))));
}

#[tokio::test]
async fn bytes_damaged_on_the_way_change_nothing() {
    let rig = Rig::new();
    let id = chunk(1);
    rig.write(id, 0, &pattern(1, 2 * BLOCK)).await.unwrap();
    let mut bad = piece(10, &pattern(2, 2 * BLOCK - 20));
    bad.crcs[1] ^= 1;
    let range = rig.store.lock(id.handle, bad.blocks()).await;
    let result = rig.store.write(&range, id, bad).await;
    assert_eq!(result, Err(ChunkError::DamagedInTransit { handle: id.handle, block: 1 }));
    assert_eq!(rig.contents(id).await.unwrap(), pattern(1, 2 * BLOCK));
}

#[tokio::test]
async fn zeroing_leaves_holes() {
    let rig = Rig::new();
    let id = chunk(1);
    let mut want = pattern(1, 8 * BLOCK + 10);
    rig.write(id, 0, &want).await.unwrap();
    rig.zero(id, BLOCK + 1, 3 * BLOCK).await.unwrap();
    want[BLOCK + 1..4 * BLOCK + 1].fill(0);
    assert_eq!(rig.contents(id).await.unwrap(), want);
    assert_eq!(rig.store.stat(id.handle).unwrap().allocated as usize, 7 * BLOCK);
    let extents = rig.store.extents(id.handle).await.unwrap();
    assert_eq!(extents, [(0, 2 * BLOCK as u32), (4 * BLOCK as u32, 5 * BLOCK as u32)]);
    // Past the end: the tail becomes a hole, and the length stays.
    rig.zero(id, 5 * BLOCK, CHUNK_SIZE as usize - 5 * BLOCK).await.unwrap();
    want[5 * BLOCK..].fill(0);
    assert_eq!(rig.contents(id).await.unwrap(), want);
    assert_eq!(rig.store.extents(id.handle).await.unwrap().last(), Some(&(4 * BLOCK as u32, BLOCK as u32)));
    assert_eq!(rig.store.block_table(id.handle).await.unwrap().sums.len(), 5);
}

#[tokio::test]
async fn handed_back_chunks_are_clean_and_cost_nothing_more() {
    let rig = Rig::new();
    let id = chunk(0xa3f1);
    rig.write(id, 300, &pattern(1, 3 * BLOCK)).await.unwrap();
    assert_eq!(rig.store.hand_back(id).await.unwrap().state, ChunkState::Clean);
    let before = rig.contents(id).await.unwrap();
    let syncs = rig.disk.syncs();
    rig.store.hand_back(id).await.unwrap();
    rig.store.sync(id).await.unwrap();
    assert_eq!(rig.disk.syncs(), syncs, "what is clean costs nothing");
    let rig = rig.restart();
    assert_eq!(rig.report, LoadReport { clean: 1, ..LoadReport::default() });
    assert_eq!(rig.contents(id).await.unwrap(), before);
}

#[tokio::test]
async fn new_chunks_of_a_directory_share_its_syncs() {
    let rig = Rig::new();
    let neighbours = [1, 2, 3].map(chunk);
    // Held open: whoever opens a dirty chunk does not know what of it is durable.
    let mut open = Vec::new();
    for id in neighbours {
        open.push(rig.store.lock(id.handle, 9..10).await);
        rig.write(id, 0, b"bytes").await.unwrap();
    }
    for id in neighbours {
        rig.store.sync(id).await.unwrap();
        assert_eq!(rig.disk.dir_syncs(), 1);
    }
    for (id, syncs) in [(chunk(4), 2), (chunk(0x1000), 3)] {
        rig.write(id, 0, b"bytes").await.unwrap();
        rig.store.hand_back(id).await.unwrap();
        assert_eq!(rig.disk.dir_syncs(), syncs);
    }
    // The same after a start.
    rig.write(chunk(5), 0, b"bytes").await.unwrap();
    let rig = rig.restart();
    rig.store.hand_back(chunk(5)).await.unwrap();
    assert_eq!(rig.disk.dir_syncs(), 4);
    rig.disk.cut_power();
    let rig = rig.restart();
    assert_eq!(rig.report.clean + rig.report.dirty, 6);
}

#[tokio::test]
async fn damage_is_detected_reported_and_healed_by_a_full_overwrite() {
    let rig = Rig::new();
    let id = chunk(1);
    let feed = rig.store.subscribe();
    rig.write(id, 0, &pattern(1, 4 * BLOCK)).await.unwrap();
    rig.store.hand_back(id).await.unwrap();
    rig.store.take_changes(&feed, 100);
    rig.disk.damage(&rig.layout.chunk(id.handle), DATA + 2 * BLOCK + 5, 0x10);

    let damaged = Err(ChunkError::DamagedOnDisk { handle: id.handle, block: 2 });
    assert_eq!(rig.read(id, 0, 4 * BLOCK).await, damaged.clone());
    assert_eq!(rig.read(id, 2 * BLOCK, 1).await, damaged);
    assert_eq!(&rig.read(id, 0, 2 * BLOCK).await.unwrap().data[..], &pattern(1, 4 * BLOCK)[..2 * BLOCK]);
    assert_eq!(rig.store.take_changes(&feed, 100), [ChunkChange::Damaged { handle: id.handle, block: 2 }]);
    let VerifyReport { blocks, damaged, .. } = rig.store.verify(id.handle).await.unwrap();
    assert_eq!((blocks, damaged), (4, vec![2]));
    assert_eq!(rig.store.damaged_blocks(), 1, "counted once, however often it is met");

    let part = rig.write(id, 2 * BLOCK + 100, &[1; 10]).await;
    assert_eq!(part, Err(ChunkError::DamagedOnDisk { handle: id.handle, block: 2 }), "damage is not summed anew");
    rig.write(id, 2 * BLOCK, &pattern(1, 4 * BLOCK)[2 * BLOCK..]).await.unwrap();
    assert_eq!(rig.contents(id).await.unwrap(), pattern(1, 4 * BLOCK));
    rig.assert_intact(id).await;
}

#[tokio::test]
async fn lost_data_of_a_clean_chunk_is_damage_not_holes() {
    let rig = Rig::new();
    let id = chunk(1);
    rig.write(id, 0, &pattern(1, 2 * BLOCK)).await.unwrap();
    rig.store.hand_back(id).await.unwrap();
    let file = rig.layout.chunk(id.handle);
    let header = rig.disk.contents(&file).unwrap()[..DATA].to_vec();
    rig.disk.put(&file, &header);
    let rig = rig.restart();
    assert_eq!(rig.read(id, 0, 10).await, Err(ChunkError::DamagedOnDisk { handle: id.handle, block: 0 }));
}

#[tokio::test]
async fn a_fence_turns_older_writers_down_for_good() {
    let rig = Rig::new();
    let id = chunk(1);
    rig.write(id, 0, b"first").await.unwrap();
    assert_eq!(rig.store.fence(id.handle, ChunkVersion(3)).await.unwrap().id.version, ChunkVersion(3));
    let fenced =
        |asked| ChunkError::VersionFenced { handle: id.handle, asked: ChunkVersion(asked), have: ChunkVersion(3) };
    assert_eq!(rig.write(id, 0, b"late!").await, Err(fenced(1)));
    assert_eq!(rig.store.check_fence(at_version(id, 2)), Err(fenced(2)));
    assert_eq!(rig.store.sync(id).await, Err(fenced(1)));
    assert_eq!(rig.store.fence(id.handle, ChunkVersion(2)).await, Err(fenced(2)));
    // The fence itself is durable, though nothing else was synced.
    rig.disk.cut_power();
    let rig = rig.restart();
    if rig.store.chunk_count() > 0 {
        assert_eq!(rig.store.stat(id.handle).unwrap().id.version, ChunkVersion(3));
    }
    let rig = Rig::new();
    rig.write(id, 0, b"first").await.unwrap();
    rig.write(at_version(id, 5), 0, b"newer").await.unwrap();
    assert_eq!(rig.store.stat(id.handle).unwrap().id.version, ChunkVersion(5));
    assert!(rig.write(at_version(id, 4), 0, b"older").await.is_err());
    assert_eq!(rig.contents(id).await.unwrap(), b"newer");
    assert_eq!(rig.store.fence(ChunkHandle(9), ChunkVersion(1)).await, Err(ChunkError::NotFound(ChunkHandle(9))));
}

#[tokio::test]
async fn syncing_and_handing_back_raise_a_copy_that_has_not_heard_of_the_version() {
    let rig = Rig::new();
    let id = chunk(1);
    rig.write(id, 0, b"first").await.unwrap();
    assert_eq!(rig.store.sync(at_version(id, 2)).await.unwrap().id.version, ChunkVersion(2));
    assert!(rig.store.sync(id).await.is_err(), "older writers are fenced off by it");
    let stat = rig.store.hand_back(at_version(id, 3)).await.unwrap();
    assert_eq!((stat.id.version, stat.state), (ChunkVersion(3), ChunkState::Clean));
    assert_eq!(rig.store.hand_back(at_version(id, 4)).await.unwrap().id.version, ChunkVersion(4));
    rig.disk.cut_power();
    let stat = rig.restart().store.stat(id.handle).unwrap();
    assert_eq!((stat.id.version, stat.state), (ChunkVersion(4), ChunkState::Clean));
}

/// Whether the write finds the chunk as it needs it, or has to create it or raise its version first.
#[tokio::test]
async fn a_fence_waits_for_writes_in_progress() {
    let rig = Rig::new();
    let (found, created, raised) = (chunk(1), chunk(2), at_version(chunk(3), 2));
    for id in [found, chunk(3)] {
        rig.write(id, 0, b"first").await.unwrap();
    }
    for id in [found, created, raised] {
        let range = rig.store.lock(id.handle, 0..1).await;
        let ((begins, begun), (end, ended)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
        let write = rig.store.writing(&range.live, id, move |files| {
            begins.send(files.state()).unwrap();
            ended.recv().unwrap();
            Ok(())
        });
        let mut write = Box::pin(write);
        let state = loop {
            assert!(write.as_mut().now_or_never().is_none());
            match begun.try_recv() {
                Ok(state) => break state,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        assert_eq!(state, ChunkState::Dirty);
        let mut fence = Box::pin(rig.store.fence(id.handle, ChunkVersion(3)));
        for _ in 0..20 {
            assert!(fence.as_mut().now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        end.send(()).unwrap();
        write.await.unwrap();
        fence.await.unwrap();
        drop(range);
        assert!(matches!(rig.write(id, 5000, b"x").await, Err(ChunkError::VersionFenced { .. })));
    }
}

#[tokio::test]
async fn only_copies_old_enough_are_deleted() {
    let rig = Rig::new();
    let id = at_version(chunk(1), 2);
    rig.write(id, 0, b"bytes").await.unwrap();
    rig.store.delete(id.handle, ChunkVersion(1)).await.unwrap();
    assert_eq!(rig.contents(id).await.unwrap(), b"bytes");
    rig.store.delete(id.handle, ChunkVersion(2)).await.unwrap();
    assert_eq!(rig.contents(id).await, Err(ChunkError::NotFound(id.handle)));
    assert_eq!(rig.disk.contents(&rig.layout.chunk(id.handle)), None);
    rig.store.delete(id.handle, ChunkVersion(2)).await.unwrap();
    rig.write(id, 3, b"again").await.unwrap();
    assert_eq!(rig.contents(id).await.unwrap(), b"\0\0\0again");
}

#[tokio::test]
async fn a_fetched_copy_replaces_the_old_one_whole() {
    let rig = Rig::new();
    let id = chunk(1);
    rig.write(id, 0, &pattern(1, 4 * BLOCK)).await.unwrap();
    let mut data = pattern(2, 3 * BLOCK + 9);
    data[BLOCK..2 * BLOCK].fill(0);
    let sums: Vec<_> = data.chunks(BLOCK).map(BlockSum::of).collect();
    let newer = at_version(id, 7);

    let incoming = rig.store.receive(newer).await.unwrap();
    let abandoned = rig.store.receive(newer).await.unwrap();
    let mut wrong = sums.clone();
    wrong[2].0 ^= 1;
    let refused = incoming.put(0, wrong, data.clone().into()).await;
    assert_eq!(refused, Err(ChunkError::DamagedInTransit { handle: id.handle, block: 2 }));
    incoming.put(0, sums.clone(), data.clone().into()).await.unwrap();
    assert_eq!(rig.contents(id).await.unwrap(), pattern(1, 4 * BLOCK), "until the end the old one is there");
    let stat = incoming.install(&rig.store, data.len() as u32).await.unwrap();
    assert_eq!((stat.id, stat.state, stat.allocated as usize), (newer, ChunkState::Clean, 3 * BLOCK));
    drop(abandoned);
    assert_eq!(rig.disk.list(&rig.layout.dir(id.handle)).unwrap().len(), 1);

    rig.disk.cut_power();
    let rig = rig.restart();
    assert_eq!(rig.report.clean, 1);
    assert_eq!(rig.contents(newer).await.unwrap(), data);
    rig.assert_intact(id).await;
    assert_eq!(rig.store.extents(id.handle).await.unwrap(), [(0, 4096), (8192, 8192)]);
}

#[tokio::test]
async fn patching_and_settling_sets_bytes_length_and_state() {
    let rig = Rig::new();
    let id = chunk(1);
    rig.write(id, 0, &pattern(1, 4 * BLOCK + 50)).await.unwrap();
    let mut block = pattern(2, BLOCK);
    block[1000..].fill(0);
    let length = (2 * BLOCK + 1000) as u32;
    rig.store.patch(id, piece(2 * BLOCK, &block), length).await.unwrap();
    assert!(matches!(
        rig.store.patch(at_version(id, 2), piece(0, &block), length).await,
        Err(ChunkError::VersionStale { .. })
    ));
    let stat = rig.store.settle(id, length).await.unwrap();
    assert_eq!((stat.state, stat.length, stat.allocated as usize), (ChunkState::Clean, length, 3 * BLOCK));
    let mut want = pattern(1, 2 * BLOCK);
    want.extend_from_slice(&block[..1000]);
    let rig = rig.restart();
    assert_eq!(rig.contents(id).await.unwrap(), want);
    // Longer again: what was cut is gone, not hidden.
    rig.store.settle(id, 4 * BLOCK as u32).await.unwrap();
    want.resize(4 * BLOCK, 0);
    assert_eq!(rig.contents(id).await.unwrap(), want);
    rig.assert_intact(id).await;
}

#[tokio::test]
async fn a_read_beside_a_write_is_never_taken_for_damage() {
    let rig = Arc::new(Rig::new());
    let id = chunk(1);
    rig.write(id, 0, &pattern(0, 4 * BLOCK)).await.unwrap();
    let writer = {
        let rig = rig.clone();
        tokio::spawn(async move {
            for n in 1..300 {
                rig.write(id, BLOCK / 2, &pattern(n, 3 * BLOCK)).await.unwrap();
            }
        })
    };
    while !writer.is_finished() {
        rig.contents(id).await.unwrap();
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    assert_eq!(rig.store.damaged_blocks(), 0);
}

#[tokio::test]
async fn another_files_chunk_is_not_written_to() {
    let rig = Rig::new();
    rig.write(chunk(1), 0, b"mine").await.unwrap();
    let other = ChunkId { inode: InodeId(21), ..chunk(1) };
    assert!(matches!(rig.write(other, 0, b"not mine").await, Err(ChunkError::Malformed(_))));
    assert_eq!(rig.contents(chunk(1)).await.unwrap(), b"mine");
}
