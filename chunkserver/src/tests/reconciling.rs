//! Copies that differ are made identical.

use cairn_proto::chunkserver::ChunkState;
use proptest::prelude::*;

use super::*;

async fn reconcile(head: &Node, id: ChunkId, peers: &[&Node]) -> Result<(), ChunkError> {
    for node in [&[head], peers].concat() {
        node.client.fence(soon(), id.handle, id.version).await.unwrap().unwrap();
    }
    let replicas = peers.iter().map(|node| node.replica.clone()).collect();
    head.client.reconcile(soon(), id, replicas).await.unwrap().map(drop)
}

async fn assert_identical_and_clean(nodes: &[&Node], id: ChunkId) -> Vec<u8> {
    let want = nodes[0].contents(id).await;
    for node in nodes {
        assert!(node.contents(id).await == want, "{} differs", node.server);
        let report = node.client.verify(soon(), id.handle).await.unwrap().unwrap();
        assert_eq!((report.stat.state, report.damaged.len()), (ChunkState::Clean, 0));
        assert_eq!(report.stat.id.version, id.version);
    }
    want
}

#[tokio::test]
async fn the_first_servers_blocks_win_unless_they_are_in_doubt() {
    let [a, b, c] = nodes().await;
    let id = chunk(1);
    let base = pattern(1, 8 * BLOCK);
    a.client.write(soon(), write_request(id, 0, &base, &[&b, &c])).await.unwrap().unwrap();
    // A writer died: what it sent reached some.
    a.client.write(soon(), write_request(id, BLOCK, &pattern(2, BLOCK), &[])).await.unwrap().unwrap();
    b.client.write(soon(), write_request(id, 8 * BLOCK, &pattern(3, 100), &[])).await.unwrap().unwrap();
    c.client.write(soon(), write_request(id, 20 * BLOCK, &pattern(4, BLOCK), &[])).await.unwrap().unwrap();
    let zeros = ZeroRequest {
        chunk: id,
        writer: SessionId::SERVERS,
        offset: 3 * BLOCK as u32,
        len: 2 * BLOCK as u32,
        rest: Vec::new(),
    };
    a.client.zero(soon(), zeros).await.unwrap().unwrap();
    // The power went at `a`: of two blocks, it does not know what they should be. `b` has lost one of them as well.
    a.flip(id, 6 * BLOCK as u64);
    a.flip(id, 7 * BLOCK as u64);
    b.flip(id, 6 * BLOCK as u64 + 1);
    let (a, b, c) = (a.restart().await, b.restart().await, c.restart().await);

    let mut want = base;
    want[BLOCK..2 * BLOCK].copy_from_slice(&pattern(2, BLOCK));
    want[3 * BLOCK..5 * BLOCK].fill(0);
    reconcile(&a, at_version(id, 2), &[&b, &c]).await.unwrap();
    assert!(assert_identical_and_clean(&[&a, &b, &c], at_version(id, 2)).await == want);
    assert_eq!(c.client.extents(soon(), id.handle).await.unwrap().unwrap(), [(0, 12288), (20480, 12288)]);
    // Again, and nothing changes.
    reconcile(&b, at_version(id, 3), &[&a, &c]).await.unwrap();
    assert!(assert_identical_and_clean(&[&a, &b, &c], at_version(id, 3)).await == want);
}

#[tokio::test]
async fn in_doubt_everywhere_the_first_servers_bytes_stand() {
    let [a, b] = nodes().await;
    let id = chunk(1);
    a.client.write(soon(), write_request(id, 0, &pattern(1, 2 * BLOCK), &[&b])).await.unwrap().unwrap();
    a.flip(id, 10);
    b.flip(id, 20);
    let (a, b) = (a.restart().await, b.restart().await);
    let read = ReadRequest { handle: id.handle, at_least: ChunkVersion::FIRST, offset: 0, len: 10 };
    for node in [&a, &b] {
        let in_doubt = ChunkError::DamagedOnDisk { handle: id.handle, block: 0 };
        assert_eq!(node.client.read(soon(), read).await.unwrap(), Err(in_doubt));
    }
    reconcile(&a, at_version(id, 2), &[&b]).await.unwrap();
    let mut want = pattern(1, 2 * BLOCK);
    want[10] ^= 0x40;
    assert!(assert_identical_and_clean(&[&a, &b], at_version(id, 2)).await == want);
}

#[tokio::test]
async fn the_same_doubt_in_both_copies_is_settled_without_moving_bytes() {
    let [a, b] = nodes().await;
    let id = chunk(1);
    a.client.write(soon(), write_request(id, 0, &pattern(1, 2 * BLOCK), &[&b])).await.unwrap().unwrap();
    a.flip(id, 10);
    b.flip(id, 10);
    let (a, b) = (a.restart().await, b.restart().await);
    reconcile(&a, at_version(id, 2), &[&b]).await.unwrap();
    assert_identical_and_clean(&[&a, &b], at_version(id, 2)).await;
}

#[tokio::test]
async fn what_is_damaged_is_taken_from_whoever_has_it_whole() {
    let [a, b] = nodes().await;
    let id = chunk(1);
    let want = pattern(1, 8 * BLOCK);
    a.client.write(soon(), write_request(id, 0, &want, &[&b])).await.unwrap().unwrap();
    a.client.hand_back(soon(), chain_request(id, &[&b])).await.unwrap().unwrap();
    for (node, blocks) in [(&a, [1, 5]), (&b, [3, 5])] {
        blocks.iter().for_each(|block| node.flip(id, block * BLOCK as u64 + 7));
        let report = node.client.verify(soon(), id.handle).await.unwrap().unwrap();
        assert_eq!(report.damaged, blocks.map(|block| block as u32));
        assert_eq!(node.client.block_table(soon(), id.handle).await.unwrap().unwrap().damaged, report.damaged);
    }
    reconcile(&a, at_version(id, 2), &[&b]).await.unwrap();
    for node in [&a, &b] {
        let report = node.client.verify(soon(), id.handle).await.unwrap().unwrap();
        assert_eq!((report.stat.state, report.damaged), (ChunkState::Clean, vec![5]), "nobody has it");
        let at_least = ChunkVersion::FIRST;
        let read = |offset, len| ReadRequest { handle: id.handle, at_least, offset, len };
        let start = node.client.read(soon(), read(0, 5 * BLOCK as u32)).await.unwrap().unwrap();
        assert!(start.data.0 == want[..5 * BLOCK]);
        let lost = ChunkError::DamagedOnDisk { handle: id.handle, block: 5 };
        assert_eq!(node.client.read(soon(), read(5 * BLOCK as u32, 1)).await.unwrap(), Err(lost));
    }
}

#[tokio::test]
async fn only_copies_of_the_agreed_version_are_reconciled() {
    let [a, b] = nodes().await;
    let id = chunk(1);
    a.client.write(soon(), write_request(id, 0, b"bytes", &[&b])).await.unwrap().unwrap();
    b.client.fence(soon(), id.handle, ChunkVersion(3)).await.unwrap().unwrap();
    let error = a.client.reconcile(soon(), id, vec![b.replica.clone()]).await.unwrap().unwrap_err();
    assert!(matches!(error, ChunkError::Chain { server, .. } if server == b.server), "{error:?}");
    let error = a.client.reconcile(soon(), at_version(id, 2), Vec::new()).await.unwrap().unwrap_err();
    assert!(matches!(error, ChunkError::VersionStale { .. }), "{error:?}");
    assert_eq!(a.store.stat(id.handle).unwrap().state, ChunkState::Dirty);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Writes that reached any one of three copies, in any places.
    #[test]
    fn whatever_differs_becomes_identical(
        writes in prop::collection::vec((0..3usize, 0..40 * BLOCK, 1..9 * BLOCK, any::<bool>(), any::<u64>()), 0..20),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let nodes: [Node; 3] = nodes().await;
            let [a, b, c] = &nodes;
            let id = chunk(1);
            a.client.write(soon(), write_request(id, 0, &pattern(1, 30 * BLOCK), &[b, c])).await.unwrap().unwrap();
            for (node, offset, len, zero, seed) in writes {
                let client = &nodes[node].client;
                if zero {
                    let zeros = ZeroRequest { chunk: id, writer: SessionId::SERVERS, offset: offset as u32, len: len as u32, rest: Vec::new() };
                    client.zero(soon(), zeros).await.unwrap().unwrap();
                } else {
                    client.write(soon(), write_request(id, offset, &pattern(seed, len), &[])).await.unwrap().unwrap();
                }
            }
            let want = a.contents(id).await;
            reconcile(a, at_version(id, 2), &[b, c]).await.unwrap();
            assert!(assert_identical_and_clean(&[a, b, c], at_version(id, 2)).await == want);
        });
    }
}
