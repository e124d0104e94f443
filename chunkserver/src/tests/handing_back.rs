//! Many chunks handed back down their chains in one call.

use cairn_proto::chunkserver::{ChainAck, ChunkState, MAX_HAND_BACKS};
use cairn_proto::error::ChainFailure;

use super::*;

const COUNT: u64 = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_chunks_only_those_fail_that_must() {
    let [a, b, c] = nodes().await;
    let short = |id: ChunkId| id.handle.0.is_multiple_of(7);
    // Most go through all three, some leave the second one out.
    let chain = |id: ChunkId| if short(id) { vec![&c] } else { vec![&b, &c] };
    for id in (0..COUNT).map(chunk) {
        let data = pattern(id.handle.0, 5000);
        a.client.write(soon(), write_request(id, 0, &data, &chain(id))).await.unwrap().unwrap();
    }
    c.client.fence(soon(), ChunkHandle(3), ChunkVersion(4)).await.unwrap().unwrap();
    b.client.delete(soon(), vec![(ChunkHandle(4), ChunkVersion(1))]).await.unwrap().unwrap();
    let unknown = chunk(COUNT);
    let requests: Vec<_> = (0..=COUNT).map(chunk).map(|id| chain_request(id, &chain(id))).collect();
    let answers = a.client.hand_back_many(soon(), requests).await.unwrap().unwrap();
    assert_eq!(answers.len() as u64, COUNT + 1);

    let refused = |node: &Node, error| {
        Err(ChunkError::Chain { server: node.server, cause: ChainFailure::Refused(Box::new(error)) })
    };
    let fenced = ChunkError::VersionFenced { handle: ChunkHandle(3), asked: ChunkVersion(1), have: ChunkVersion(4) };
    let sign = |node: &Node| MemberAck { server: node.server, boot: BootId(node.server.0.as_u128()) };
    for (id, answer) in (0..COUNT).map(chunk).zip(&answers) {
        match id.handle.0 {
            3 => assert_eq!(answer, &refused(&c, fenced.clone())),
            4 => assert_eq!(answer, &refused(&b, ChunkError::NotFound(id.handle))),
            _ => {
                let members = [&a].into_iter().chain(chain(id)).map(sign).collect();
                assert_eq!(answer, &Ok(ChainAck { members, allocated: 2 * BLOCK as u32 }));
                for node in [&a].into_iter().chain(chain(id)) {
                    assert_eq!(node.store.stat(id.handle).unwrap().state, ChunkState::Clean);
                    assert_eq!(node.contents(id).await, pattern(id.handle.0, 5000));
                }
            }
        }
    }
    assert_eq!(answers[COUNT as usize], Err(ChunkError::NotFound(unknown.handle)));
    assert_eq!(c.store.stat(ChunkHandle(3)).unwrap().state, ChunkState::Dirty);
}

#[tokio::test]
async fn a_member_that_is_gone_fails_the_chunks_that_it_has() {
    let [a, b, c] = nodes().await;
    for n in 0..20 {
        let rest = if n % 2 == 0 { &b } else { &c };
        a.client.write(soon(), write_request(chunk(n), 0, b"bytes", &[rest])).await.unwrap().unwrap();
    }
    c.shutdown.finish(Duration::from_secs(10)).await.unwrap();
    let requests = (0..20).map(|n| chain_request(chunk(n), &[if n % 2 == 0 { &b } else { &c }])).collect();
    let answers = a.client.hand_back_many(soon(), requests).await.unwrap().unwrap();
    for (n, answer) in answers.iter().enumerate() {
        match answer {
            Ok(ack) => assert!(n % 2 == 0 && ack.members.len() == 2),
            Err(ChunkError::Chain { server, cause: ChainFailure::Unreachable(_) }) => {
                assert!(n % 2 == 1 && *server == c.server)
            }
            Err(error) => panic!("{n}: {error}"),
        }
    }
}

#[tokio::test]
async fn more_than_the_limit_is_turned_down_whole() {
    let [a] = nodes().await;
    a.client.write(soon(), write_request(chunk(1), 0, b"bytes", &[])).await.unwrap().unwrap();
    let requests = vec![chain_request(chunk(1), &[]); MAX_HAND_BACKS + 1];
    let error = a.client.hand_back_many(soon(), requests.clone()).await.unwrap().unwrap_err();
    assert!(matches!(error, ChunkError::Malformed(_)), "{error}");
    assert_eq!(a.store.stat(ChunkHandle(1)).unwrap().state, ChunkState::Dirty);
    let answers = a.client.hand_back_many(soon(), requests[1..].to_vec()).await.unwrap().unwrap();
    assert!(answers.len() == MAX_HAND_BACKS && answers.iter().all(Result::is_ok));
}
