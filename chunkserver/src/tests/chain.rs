//! Writes down a chain, and what is said when it breaks.

use cairn_proto::chunkserver::{ChainAck, ChunkState};
use cairn_proto::error::ChainFailure;
use futures::future::try_join_all;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_is_on_every_member() {
    let [a, b, c] = nodes().await;
    let id = chunk(1);
    let data = pattern(1, 5 * MIB + 777);
    let writes = data
        .chunks(MIB)
        .enumerate()
        .map(|(n, piece)| a.client.write(soon(), write_request(id, n * MIB, piece, &[&b, &c])));
    for ack in try_join_all(writes).await.unwrap() {
        let ChainAck { members, .. } = ack.unwrap();
        let ack = |node: &Node| MemberAck { server: node.server, boot: BootId(node.server.0.as_u128()) };
        assert_eq!(members, [ack(&a), ack(&b), ack(&c)]);
    }
    let rest = [&b, &c].map(|node| node.replica.clone()).to_vec();
    let zeros = ZeroRequest { chunk: id, writer: SessionId::SERVERS, offset: 100, len: 3 * BLOCK as u32, rest };
    let ack = a.client.zero(soon(), zeros).await.unwrap().unwrap();
    let mut want = data;
    want[100..100 + 3 * BLOCK].fill(0);
    assert_eq!(ack.allocated as usize, want.len().next_multiple_of(BLOCK) - 2 * BLOCK);

    a.client.sync(soon(), chain_request(id, &[&b, &c])).await.unwrap().unwrap();
    assert_eq!(c.store.stat(id.handle).unwrap().state, ChunkState::Dirty);
    a.client.hand_back(soon(), chain_request(id, &[&b, &c])).await.unwrap().unwrap();
    for node in [&a, &b, &c] {
        assert_eq!(node.contents(id).await, want);
        assert_eq!(node.client.stat(soon(), id.handle).await.unwrap().unwrap().state, ChunkState::Clean);
        assert_eq!(node.client.identity(soon()).await.unwrap(), node.server);
    }
    let extents = c.client.extents(soon(), id.handle).await.unwrap().unwrap();
    assert_eq!(extents[0], (0, BLOCK as u32));
    assert_eq!(extents[1].0 as usize, 3 * BLOCK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlapping_writes_end_the_same_everywhere() {
    let [a, b, c] = nodes().await;
    let id = chunk(1);
    let mut rng = StdRng::seed_from_u64(3);
    let requests: Vec<_> = (0..120)
        .map(|n| {
            let len = rng.random_range(1..40_000);
            write_request(id, rng.random_range(0..60_000), &pattern(n, len), &[&b, &c])
        })
        .collect();
    let writes = requests.into_iter().map(|request| a.client.write(soon(), request));
    for ack in try_join_all(writes).await.unwrap() {
        ack.unwrap();
    }
    let [x, y, z] = [a.contents(id).await, b.contents(id).await, c.contents(id).await];
    assert!(x == y && y == z, "the copies differ");
    for node in [&a, &b, &c] {
        assert!(node.client.verify(soon(), id.handle).await.unwrap().unwrap().damaged.is_empty());
    }
}

#[tokio::test]
async fn the_member_that_failed_is_named() {
    let [a, b, c] = nodes().await;
    let id = chunk(1);
    let write = |data: &'static [u8]| a.client.write(soon(), write_request(id, 0, data, &[&b, &c]));
    write(b"first").await.unwrap().unwrap();
    c.client.fence(soon(), id.handle, ChunkVersion(4)).await.unwrap().unwrap();
    let fenced = ChunkError::VersionFenced { handle: id.handle, asked: ChunkVersion(1), have: ChunkVersion(4) };
    let cause = ChainFailure::Refused(Box::new(fenced));
    assert_eq!(write(b"second").await.unwrap(), Err(ChunkError::Chain { server: c.server, cause }));

    let gone = c.server;
    c.shutdown.finish(Duration::from_secs(10)).await.unwrap();
    let error = write(b"third").await.unwrap().unwrap_err();
    assert!(
        matches!(&error, ChunkError::Chain { server, cause: ChainFailure::Unreachable(_) } if *server == gone),
        "{error:?}"
    );
    // The survivors go on under the next version; whoever still writes under the old one learns of it.
    for node in [&a, &b] {
        node.client.fence(soon(), id.handle, ChunkVersion(5)).await.unwrap().unwrap();
    }
    let next = write_request(at_version(id, 5), 0, b"fourth", &[&b]);
    a.client.write(soon(), next).await.unwrap().unwrap();
    assert!(matches!(write(b"late").await.unwrap(), Err(ChunkError::VersionFenced { .. })));
    assert_eq!((a.contents(id).await, b.contents(id).await), (b"fourth".to_vec(), b"fourth".to_vec()));
}

#[tokio::test]
async fn another_server_at_a_members_address_is_not_taken_for_it() {
    let [a, b] = nodes().await;
    let mut request = write_request(chunk(1), 0, b"bytes", &[&b]);
    request.rest[0].server = ServerId(Uuid::from_u128(99));
    let error = a.client.write(soon(), request).await.unwrap().unwrap_err();
    let ChunkError::Chain { server, cause: ChainFailure::Unreachable(why) } = error else { panic!("{error}") };
    assert_eq!(server, ServerId(Uuid::from_u128(99)));
    assert!(why.contains("another server"), "{why}");
}

#[tokio::test]
async fn a_write_whose_caller_gives_up_is_done_all_the_same_on_all_members() {
    let [a, b] = nodes().await;
    let id = chunk(1);
    a.client.write(soon(), write_request(id, 0, b"first", &[&b])).await.unwrap().unwrap();
    for n in 0..50 {
        let data = pattern(n, 100_000);
        let write = a.client.write(soon(), write_request(id, 0, &data, &[&b]));
        let _ = tokio::time::timeout(Duration::from_micros(200 * n), write).await;
    }
    // Behind all of them in the queue for these blocks.
    a.client.write(soon(), write_request(id, 200_000, b"end", &[&b])).await.unwrap().unwrap();
    a.client.write(soon(), write_request(id, 0, b"x", &[&b])).await.unwrap().unwrap();
    assert!(a.contents(id).await == b.contents(id).await, "the copies differ");
}

#[tokio::test]
async fn nonsense_is_turned_down() {
    let [a] = nodes().await;
    let is_malformed = |result: Result<ChainAck, ChunkError>| matches!(result, Err(ChunkError::Malformed(_)));
    let mut request = write_request(chunk(1), 0, b"bytes", &[]);
    request.crcs.push(1);
    assert!(is_malformed(a.client.write(soon(), request).await.unwrap()));
    let request = write_request(chunk(1), 0, b"bytes", &[&a]);
    assert!(is_malformed(a.client.write(soon(), request).await.unwrap()));
    assert!(is_malformed(a.client.sync(soon(), chain_request(chunk(1), &[&a])).await.unwrap()));
    assert_eq!(a.store.chunk_count(), 0);
}

#[tokio::test]
async fn a_stopping_server_says_so_and_finishes_what_it_has() {
    let [a, b] = nodes().await;
    let id = chunk(1);
    a.client.write(soon(), write_request(id, 0, b"bytes", &[&b])).await.unwrap().unwrap();
    let a = a.restart().await;
    assert_eq!(a.contents(id).await, b"bytes");
    a.client.write(soon(), write_request(id, 5, b" more", &[&b])).await.unwrap().unwrap();
    let b = b.restart().await;
    // To the new address: the old connection is of no use, and a new one is made.
    a.client.hand_back(soon(), chain_request(id, &[&b])).await.unwrap().unwrap();
    assert_eq!(b.contents(id).await, b"bytes more");
}

/// A client that was cut off, and its session given up, sends what it has to a chain that has not changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_session_that_was_given_up_is_done() {
    let [a, b, c] = nodes().await;
    let id = chunk(1);
    let (late, other) = (SessionId(7), SessionId(8));
    let by = |writer, byte| WriteRequest { writer, ..write_request(id, 0, &[byte; 100], &[&b, &c]) };
    a.client.write(soon(), by(late, 1)).await.unwrap().unwrap();
    for node in [&a, &b, &c] {
        node.client.fence_sessions(soon(), vec![late]).await.unwrap().unwrap();
    }
    a.client.write(soon(), by(other, 2)).await.unwrap().unwrap();
    let fenced = ChunkError::SessionFenced(late);
    assert_eq!(a.client.write(soon(), by(late, 3)).await.unwrap(), Err(fenced.clone()));
    let zeros = ZeroRequest { chunk: id, writer: late, offset: 0, len: 50, rest: Vec::new() };
    assert_eq!(c.client.zero(soon(), zeros).await.unwrap(), Err(fenced.clone()));
    let request = ChainRequest { writer: late, ..chain_request(id, &[&b, &c]) };
    assert_eq!(a.client.hand_back(soon(), request.clone()).await.unwrap(), Err(fenced.clone()));
    assert_eq!(a.client.hand_back_many(soon(), vec![request]).await.unwrap(), Err(fenced));
    for node in [&a, &b, &c] {
        assert_eq!(node.contents(id).await, [2; 100]);
        assert_eq!(node.store.stat(id.handle).unwrap().state, ChunkState::Dirty, "its writer is at it");
    }
}
