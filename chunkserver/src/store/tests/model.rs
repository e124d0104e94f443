//! Random operations against a `Vec<u8>`, with restarts, and with fewer chunks open than are used.

use proptest::prelude::*;

use super::*;

const SPACE: usize = 24 * BLOCK;

#[derive(Clone, Debug)]
enum Op {
    Write { chunk: u64, offset: usize, len: usize, seed: u64 },
    Zero { chunk: u64, offset: usize, len: usize },
    Read { chunk: u64, offset: usize, len: usize },
    Settle { chunk: u64, length: usize },
    Sync { chunk: u64 },
    HandBack { chunk: u64 },
    Restart,
}

fn range() -> impl Strategy<Value = (u64, usize, usize)> {
    let edge = prop_oneof![0..SPACE, (0..SPACE / BLOCK).prop_map(|block| block * BLOCK)];
    (1..3u64, edge, prop_oneof![1..SPACE, 1..100usize]).prop_map(|(chunk, at, len)| (chunk, at, len.min(SPACE - at)))
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (range(), any::<u64>()).prop_map(|((chunk, offset, len), seed)| Op::Write { chunk, offset, len, seed }),
        4 => range().prop_map(|(chunk, offset, len)| Op::Zero { chunk, offset, len }),
        6 => range().prop_map(|(chunk, offset, len)| Op::Read { chunk, offset, len }),
        2 => range().prop_map(|(chunk, length, _)| Op::Settle { chunk, length }),
        2 => (1..3u64).prop_map(|chunk| Op::Sync { chunk }),
        2 => (1..3u64).prop_map(|chunk| Op::HandBack { chunk }),
        2 => Just(Op::Restart),
    ]
}

async fn run(ops: Vec<Op>) {
    let mut rig = Rig::new();
    let mut model: [Option<Vec<u8>>; 3] = Default::default();
    for op in ops {
        match op {
            Op::Write { chunk: n, offset, len, seed } => {
                let data = pattern(seed, len);
                rig.write(chunk(n), offset, &data).await.unwrap();
                let bytes = model[n as usize].get_or_insert_default();
                bytes.resize(bytes.len().max(offset + len), 0);
                bytes[offset..offset + len].copy_from_slice(&data);
            }
            Op::Zero { chunk: n, offset, len } => {
                rig.zero(chunk(n), offset, len).await.unwrap();
                let bytes = model[n as usize].get_or_insert_default();
                let end = bytes.len().min(offset + len);
                bytes.get_mut(offset..end).unwrap_or_default().fill(0);
            }
            Op::Read { chunk: n, offset, len } => match &model[n as usize] {
                Some(bytes) => {
                    let reply = rig.read(chunk(n), offset, len).await.unwrap();
                    let start = offset / BLOCK * BLOCK;
                    let end = (offset + len).next_multiple_of(BLOCK).min(bytes.len());
                    assert_eq!(reply.data[..], bytes[start.min(end)..end]);
                }
                None => assert_eq!(rig.read(chunk(n), offset, len).await, Err(ChunkError::NotFound(ChunkHandle(n)))),
            },
            Op::Settle { chunk: n, length } => {
                if let Some(bytes) = &mut model[n as usize] {
                    rig.store.settle(chunk(n), length as u32).await.unwrap();
                    bytes.resize(length, 0);
                }
            }
            Op::Sync { chunk: n } => assert_eq!(rig.store.sync(chunk(n)).await.is_ok(), model[n as usize].is_some()),
            Op::HandBack { chunk: n } => {
                assert_eq!(rig.store.hand_back(chunk(n)).await.is_ok(), model[n as usize].is_some());
            }
            Op::Restart => rig = rig.restart(),
        }
    }
    for (n, bytes) in model.iter().enumerate() {
        let Some(bytes) = bytes else { continue };
        let id = chunk(n as u64);
        assert_eq!(&rig.contents(id).await.unwrap(), bytes);
        rig.assert_intact(id).await;
        let filled = bytes.chunks(BLOCK).filter(|block| block.iter().any(|b| *b != 0)).count();
        assert_eq!(rig.store.stat(id.handle).unwrap().allocated as usize, filled * BLOCK);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_a_sparse_array(ops in prop::collection::vec(op(), 1..40)) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(ops));
    }
}
