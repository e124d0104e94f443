//! Copies fetched from a peer.

use cairn_proto::chunkserver::ChunkState;
use cairn_proto::error::ChainFailure;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_verified_sparse_and_clean() {
    let [a, b] = nodes().await;
    let id = chunk(1);
    let data = pattern(1, 3 * MIB + 100);
    for (n, piece) in data.chunks(MIB).enumerate() {
        a.client.write(soon(), write_request(id, 10 * MIB + n * MIB, piece, &[])).await.unwrap().unwrap();
    }
    // A worse copy is in the way.
    b.client.write(soon(), write_request(id, 0, b"old", &[])).await.unwrap().unwrap();
    let newer = at_version(id, 3);
    let stat = b.client.copy_from(soon(), newer, a.replica.endpoint.clone()).await.unwrap().unwrap();
    assert_eq!((stat.id, stat.state, stat.length as usize), (newer, ChunkState::Clean, 13 * MIB + 100));
    assert_eq!(stat.allocated as usize, 3 * MIB + BLOCK);
    assert_eq!(b.contents(id).await, a.contents(id).await);
    let extents = b.client.extents(soon(), id.handle).await.unwrap().unwrap();
    assert_eq!(extents, [(10 * MIB as u32, (3 * MIB + BLOCK) as u32)]);
    let b = b.restart().await;
    assert_eq!(b.store.stat(id.handle).unwrap(), stat);
    assert_eq!(&b.contents(id).await[10 * MIB..], &data[..]);
}

/// Nobody waits for it any more, and its target was written to under a later version.
#[tokio::test]
async fn a_copy_that_comes_late_does_not_replace_a_newer_one() {
    let [a, b] = nodes().await;
    let id = chunk(1);
    a.client.write(soon(), write_request(id, 0, b"then", &[&b])).await.unwrap().unwrap();
    let late = b.store.receive(at_version(id, 2)).await.unwrap();
    b.client.fence(soon(), id.handle, ChunkVersion(3)).await.unwrap().unwrap();
    b.client.write(soon(), write_request(at_version(id, 3), 0, b"now", &[])).await.unwrap().unwrap();
    let fenced = ChunkError::VersionFenced { handle: id.handle, asked: ChunkVersion(2), have: ChunkVersion(3) };
    assert_eq!(late.install(&b.store, 0).await, Err(fenced));
    assert_eq!(b.contents(id).await, b"nown");
}

#[tokio::test]
async fn damage_is_not_copied() {
    let [a, b] = nodes().await;
    let id = chunk(1);
    a.client.write(soon(), write_request(id, 0, &pattern(1, 10 * BLOCK), &[])).await.unwrap().unwrap();
    a.client.hand_back(soon(), chain_request(id, &[])).await.unwrap().unwrap();
    b.client.write(soon(), write_request(id, 0, b"old but whole", &[])).await.unwrap().unwrap();
    a.flip(id, 5 * BLOCK as u64 + 9);
    let error = b.client.copy_from(soon(), id, a.replica.endpoint.clone()).await.unwrap().unwrap_err();
    let damaged = ChunkError::DamagedOnDisk { handle: id.handle, block: 5 };
    assert_eq!(error, ChunkError::Chain { server: a.server, cause: ChainFailure::Refused(Box::new(damaged)) });
    assert_eq!(b.contents(id).await, b"old but whole");
    assert_eq!(a.store.damaged_blocks(), 1);
}

#[tokio::test]
async fn what_cannot_be_copied() {
    let [a, b] = nodes().await;
    let id = chunk(1);
    let from = |node: &Node| node.replica.endpoint.clone();
    let error = b.client.copy_from(soon(), id, from(&a)).await.unwrap().unwrap_err();
    let not_found = ChainFailure::Refused(Box::new(ChunkError::NotFound(id.handle)));
    assert_eq!(error, ChunkError::Chain { server: a.server, cause: not_found });
    assert!(matches!(b.client.copy_from(soon(), id, from(&b)).await.unwrap(), Err(ChunkError::Malformed(_))));
    a.client.write(soon(), write_request(at_version(id, 9), 0, b"newer", &[])).await.unwrap().unwrap();
    let error = b.client.copy_from(soon(), id, from(&a)).await.unwrap().unwrap_err();
    assert!(matches!(error, ChunkError::Chain { cause: ChainFailure::Refused(_), .. }), "{error:?}");
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let error = b.client.copy_from(soon(), id, nowhere).await.unwrap().unwrap_err();
    assert!(matches!(error, ChunkError::Chain { cause: ChainFailure::Unreachable(_), .. }), "{error:?}");
}
