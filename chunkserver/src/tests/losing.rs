//! Chunks that were lost are not made anew by writes that come afterwards.

use cairn_proto::chunkserver::ChunkState;
use cairn_proto::error::ChainFailure;

use super::*;

fn remove(id: ChunkId) -> impl FnOnce(&Layout) {
    move |layout| std::fs::remove_file(layout.chunk(id.handle)).unwrap()
}

/// What was synced is on all three. One loses its file while it is down; a write that was on its way, or comes next, must not give it
/// a copy of that write alone, which would count as current.
#[tokio::test]
async fn a_member_that_lost_its_file_takes_no_write_as_the_first_one() {
    let [a, b, c] = nodes().await;
    let id = chunk(1);
    let synced = pattern(1, 3 * BLOCK);
    a.client.write(soon(), write_request(id, 0, &synced, &[&b, &c])).await.unwrap().unwrap();
    a.client.sync(soon(), chain_request(id, &[&b, &c])).await.unwrap().unwrap();
    let b = b.restart_after(remove(id)).await;
    let late = || write_request(id, 3 * BLOCK, b"late", &[&b, &c]);
    let error = a.client.write(soon(), late()).await.unwrap().unwrap_err();
    let cause = ChainFailure::Refused(Box::new(ChunkError::NotFound(id.handle)));
    assert_eq!(error, ChunkError::Chain { server: b.server, cause });
    let zeros = ZeroRequest { chunk: id, writer: SessionId::SERVERS, offset: 0, len: 50, rest: Vec::new() };
    assert_eq!(b.client.zero(soon(), zeros).await.unwrap(), Err(ChunkError::NotFound(id.handle)));
    assert_eq!(
        b.client.write(soon(), write_request(id, 0, b"head", &[&c])).await.unwrap().unwrap_err(),
        ChunkError::NotFound(id.handle)
    );
    assert_eq!(b.store.chunk_count(), 0);

    // A copy of another one is the way back.
    a.client.fence(soon(), id.handle, ChunkVersion(2)).await.unwrap().unwrap();
    b.client.copy_from(soon(), at_version(id, 2), a.replica.endpoint.clone()).await.unwrap().unwrap();
    assert_eq!(&b.contents(id).await[..3 * BLOCK], &synced[..]);
    let error = b.client.write(soon(), write_request(id, 0, b"late", &[])).await.unwrap().unwrap_err();
    assert!(matches!(error, ChunkError::VersionFenced { .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_vanishes_under_a_server_is_missed_and_not_made_anew() {
    let [a, b] = nodes().await;
    let [id, young] = [chunk(1), chunk(2)];
    a.client.write(soon(), write_request(id, 0, b"bytes", &[])).await.unwrap().unwrap();
    // Closed, for want of room, but known.
    for n in 100..200 {
        a.client.write(soon(), write_request(chunk(n), 0, b"other", &[])).await.unwrap().unwrap();
    }
    let feed = a.store.subscribe();
    remove(id)(&Layout::new(a.dir.path()));
    let gone = Err(ChunkError::NotFound(id.handle));
    assert_eq!(a.client.write(soon(), write_request(id, 9, b"late", &[])).await.unwrap().map(drop), gone);
    assert_eq!(a.client.write(soon(), write_request(id, 9, b"late", &[])).await.unwrap().map(drop), gone, "again");
    assert_eq!(a.store.take_changes(&feed, 9), [cairn_proto::cluster::ChunkChange::Removed(id.handle)]);
    // Others that were given out later may begin here as ever.
    b.client.write(soon(), write_request(young, 0, b"first", &[&a])).await.unwrap().unwrap();
    assert_eq!(a.contents(young).await, b"first");
}

#[tokio::test]
async fn what_nobody_has_is_made_when_the_metaserver_says_so() {
    let [a] = nodes().await;
    let id = chunk(1);
    let a = a.restart().await;
    let write = |id, data: &'static [u8]| a.client.write(soon(), write_request(id, 0, data, &[]));
    assert_eq!(write(id, b"first").await.unwrap().unwrap_err(), ChunkError::NotFound(id.handle));
    let second = at_version(id, 2);
    let stat = a.client.create(soon(), second).await.unwrap().unwrap();
    assert_eq!((stat.id, stat.state, stat.length), (second, ChunkState::Dirty, 0));
    assert!(matches!(write(id, b"late").await.unwrap(), Err(ChunkError::VersionFenced { .. })));
    write(second, b"first").await.unwrap().unwrap();
    assert_eq!(a.client.create(soon(), second).await.unwrap().unwrap().length, 5, "what is there stays");
    assert_eq!(a.contents(id).await, b"first");
}
