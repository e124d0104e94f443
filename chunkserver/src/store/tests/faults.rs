//! Full disks, failing disks, headers that describe nothing any more.

use cairn_proto::chunkserver::ChunkState;
use cairn_proto::cluster::ChunkChange;

use super::super::disk::sim::Faults;
use super::super::space::RELIED_ON;
use super::*;

#[tokio::test]
async fn the_reserve_turns_new_blocks_down_and_lets_old_ones_be_overwritten() {
    let rig = Rig::new();
    let id = chunk(1);
    rig.write(id, 0, &pattern(1, 4 * BLOCK)).await.unwrap();
    rig.disk.set_faults(Faults { free: Some((1 << 20) + 8192), ..Faults::default() });
    assert_eq!(rig.store.space().free, 8192);
    tokio::time::sleep(RELIED_ON).await;
    assert_eq!(rig.write(id, 8 * BLOCK, &pattern(2, 3 * BLOCK)).await, Err(ChunkError::NoSpace));
    assert_eq!(rig.contents(id).await.unwrap(), pattern(1, 4 * BLOCK));
    rig.write(id, 0, &pattern(3, 4 * BLOCK)).await.unwrap();
    rig.write(id, 4 * BLOCK, &pattern(4, 2 * BLOCK)).await.unwrap();
    rig.store.hand_back(id).await.unwrap();
    rig.disk.set_faults(Faults { free: Some(1 << 20), ..Faults::default() });
    assert_eq!(rig.write(chunk(2), 0, b"x").await, Err(ChunkError::NoSpace));
    assert_eq!(rig.store.chunk_count(), 1);
    rig.disk.set_faults(Faults::default());
    rig.write(chunk(2), 0, b"x").await.unwrap();
}

/// However many bytes the disk still takes, in the header or in the data, in the middle of a block or not.
#[tokio::test]
async fn a_disk_that_runs_full_leaves_every_block_right() {
    for room in (0..3 * BLOCK + 200).step_by(173) {
        let rig = Rig::new();
        let id = chunk(1);
        let old = pattern(1, 2 * BLOCK);
        rig.write(id, 0, &old).await.unwrap();
        rig.disk.set_faults(Faults { room: Some(room), ..Faults::default() });
        let new = pattern(2, 3 * BLOCK);
        let result = rig.write(id, 100, &new).await;
        let mut want = old.clone();
        want.resize(100 + new.len(), 0);
        want[100..].copy_from_slice(&new);
        if result.is_ok() {
            assert_eq!(rig.contents(id).await.unwrap(), want);
            continue;
        }
        assert_eq!(result, Err(ChunkError::NoSpace), "room {room}");
        let mut before = old.clone();
        before.resize(4 * BLOCK, 0);
        want.resize(4 * BLOCK, 0);
        for block in 0..4 {
            match rig.read(id, block * BLOCK, BLOCK).await {
                Ok(reply) => {
                    let mut bytes = reply.data.to_vec();
                    bytes.resize(BLOCK, 0);
                    let at = block * BLOCK..(block + 1) * BLOCK;
                    assert!(bytes == before[at.clone()] || bytes == want[at], "room {room}, block {block}");
                }
                // The one block in which the write stopped.
                Err(ChunkError::DamagedOnDisk { block: b, .. }) => assert_eq!(b as usize, block),
                Err(error) => panic!("room {room}, block {block}: {error}"),
            }
        }
        assert_eq!(rig.store.damaged_blocks(), 0);
        // There is space again, and the writer repeats: whole blocks first, as the one it stopped in is in doubt.
        rig.disk.set_faults(Faults::default());
        rig.write(id, 0, &want).await.unwrap();
        rig.store.hand_back(id).await.unwrap();
        let rig = rig.restart();
        assert_eq!(rig.contents(id).await.unwrap(), want, "room {room}");
        rig.assert_intact(id).await;
    }
}

#[tokio::test]
async fn after_a_failed_sync_a_copy_never_claims_to_be_synced() {
    let rig = Rig::new();
    let id = chunk(1);
    rig.write(id, 0, b"bytes").await.unwrap();
    rig.disk.set_faults(Faults { syncs_fail: true, ..Faults::default() });
    assert!(matches!(rig.store.sync(id).await, Err(ChunkError::Disk(_))));
    rig.disk.set_faults(Faults::default());
    assert!(matches!(rig.store.sync(id).await, Err(ChunkError::Disk(_))), "the kernel forgets, we do not");
    assert!(matches!(rig.store.hand_back(id).await, Err(ChunkError::Disk(_))));
    assert!(matches!(rig.write(id, 0, b"more").await, Err(ChunkError::Disk(_))));
    // What can be read is still verified, and may be all that there is.
    assert_eq!(rig.contents(id).await.unwrap(), b"bytes");
    // Not by closing it either.
    rig.write(chunk(2), 0, b"x").await.unwrap();
    assert!(matches!(rig.store.sync(id).await, Err(ChunkError::Disk(_))));
    rig.store.delete(id.handle, ChunkVersion(1)).await.unwrap();
    rig.write(id, 0, b"anew").await.unwrap();
    rig.store.sync(id).await.unwrap();
}

#[tokio::test]
async fn a_clean_chunk_is_not_touched_where_it_cannot_be_marked_dirty() {
    let rig = Rig::new();
    let id = chunk(1);
    rig.write(id, 0, &pattern(1, BLOCK)).await.unwrap();
    rig.store.hand_back(id).await.unwrap();
    rig.disk.set_faults(Faults { syncs_fail: true, ..Faults::default() });
    assert!(rig.write(id, 0, &pattern(2, BLOCK)).await.is_err());
    rig.disk.set_faults(Faults::default());
    let rig = rig.restart();
    assert_eq!(rig.contents(id).await.unwrap(), pattern(1, BLOCK));
}

#[tokio::test]
async fn what_does_not_describe_itself_is_put_aside_not_served_not_removed() {
    let rig = Rig::new();
    let [damaged, foreign, good] = [chunk(1), chunk(2), chunk(3)];
    for id in [damaged, foreign, good] {
        rig.write(id, 0, b"bytes").await.unwrap();
        rig.store.hand_back(id).await.unwrap();
    }
    for slot in 0..2 {
        rig.disk.damage(&rig.layout.chunk(damaged.handle), slot * 512 + 30, 1);
    }
    let header = rig.disk.contents(&rig.layout.chunk(good.handle)).unwrap();
    rig.disk.put(&rig.layout.chunk(foreign.handle), &header);
    let rig = rig.restart();
    assert_eq!(rig.report, LoadReport { clean: 1, unusable: 2, ..LoadReport::default() });
    assert_eq!(rig.read(damaged, 0, 1).await, Err(ChunkError::NotFound(damaged.handle)));
    let aside = rig.disk.list(&rig.layout.quarantine()).unwrap();
    assert_eq!(aside.len(), 2);
    assert!(aside.iter().any(|path| rig.disk.contents(path).unwrap().ends_with(b"bytes")));
    let stat = rig.store.create(damaged).await.unwrap();
    assert_eq!((stat.state, stat.length), (ChunkState::Dirty, 0), "what is put aside is in nobody's way");
}

/// Its table is gone with its bytes, and holes would be read where they were.
#[tokio::test]
async fn a_clean_chunk_that_was_cut_off_in_its_table_is_damaged() {
    let rig = Rig::new();
    let [id, whole] = [chunk(1), chunk(2)];
    for id in [id, whole] {
        rig.write(id, 0, &pattern(1, 9 * BLOCK)).await.unwrap();
        rig.store.hand_back(id).await.unwrap();
    }
    let rig = rig.restart();
    let path = rig.layout.chunk(id.handle);
    let file = rig.disk.contents(&path).unwrap();
    rig.disk.put(&path, &file[..1050]);
    let feed = rig.store.subscribe();
    let damaged = ChunkError::DamagedOnDisk { handle: id.handle, block: 0 };
    assert_eq!(rig.read(id, 0, 1).await, Err(damaged.clone()));
    assert_eq!(rig.store.verify(id.handle).await, Err(damaged));
    assert_eq!(rig.store.take_changes(&feed, 9), [ChunkChange::Damaged { handle: id.handle, block: 0 }]);
    rig.assert_intact(whole).await;
}

#[tokio::test]
async fn a_header_that_rots_under_a_server_is_damage() {
    let rig = Rig::new();
    let id = chunk(1);
    rig.write(id, 0, b"bytes").await.unwrap();
    rig.store.hand_back(id).await.unwrap();
    let rig = rig.restart();
    for slot in 0..2 {
        rig.disk.damage(&rig.layout.chunk(id.handle), slot * 512 + 30, 1);
    }
    let feed = rig.store.subscribe();
    assert_eq!(rig.read(id, 0, 1).await, Err(ChunkError::DamagedOnDisk { handle: id.handle, block: 0 }));
    assert_eq!(rig.store.take_changes(&feed, 9), [ChunkChange::Damaged { handle: id.handle, block: 0 }]);
}

#[tokio::test]
async fn a_newer_release_s_chunks_stop_the_start() {
    let rig = Rig::new();
    let id = chunk(1);
    rig.write(id, 0, b"bytes").await.unwrap();
    let newer = super::super::seal::seal(*b"CAIRNCHK", 2, &0u8).unwrap();
    rig.disk.put(&rig.layout.chunk(id.handle), &newer);
    let limits = StoreLimits { reserve_bytes: 0, open_chunks: NonZeroUsize::MIN };
    let place = Place::only(Arc::new(rig.disk.clone()), rig.layout.clone());
    let opened = Store::open(vec![place], ServerId::random(), Some(CLUSTER), limits);
    let error = opened.map(drop).unwrap_err().to_string();
    assert!(error.contains("format 2") && error.contains("upgrade"), "{error}");
}
