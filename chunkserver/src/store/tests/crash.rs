//! Dying at every moment, by `kill -9` and by a power cut.
//!
//! For each block the test knows what it may hold. Killed: what it held before the operation that died, or what that was to
//! leave; nothing is in doubt. Power cut: anything it has held since it was last synced, or "in doubt", which is never
//! silent; a block that was not written since is as it was synced.

use cairn_proto::chunkserver::ChunkState;
use proptest::prelude::*;

use super::super::disk::sim::Faults;
use super::*;

const BLOCKS: usize = 6;
const SPACE: usize = BLOCKS * BLOCK;

#[derive(Clone, Debug)]
enum Op {
    Write { offset: usize, len: usize, seed: u64, sync: bool },
    Zero { offset: usize, len: usize },
    Sync,
    HandBack,
}

/// Operations, the moment to die at, and how.
#[derive(Clone, Debug)]
struct Round {
    ops: Vec<Op>,
    dies_after: u64,
    power_cut: bool,
}

fn op() -> impl Strategy<Value = Op> {
    let range = (0..SPACE, 1..SPACE).prop_map(|(at, len)| (at, len.min(SPACE - at)));
    let blocks = (0..BLOCKS, 1..BLOCKS).prop_map(|(at, n)| (at * BLOCK, n.min(BLOCKS - at) * BLOCK));
    let range = prop_oneof![range, blocks];
    prop_oneof![
        6 => (range.clone(), any::<u64>(), prop::bool::weighted(0.2))
            .prop_map(|((offset, len), seed, sync)| Op::Write { offset, len, seed, sync }),
        2 => range.prop_map(|(offset, len)| Op::Zero { offset, len }),
        2 => Just(Op::Sync),
        2 => Just(Op::HandBack),
    ]
}

fn round() -> impl Strategy<Value = Round> {
    (prop::collection::vec(op(), 1..12), 0..60u64, any::<bool>()).prop_map(|(ops, dies_after, power_cut)| Round {
        ops,
        dies_after,
        power_cut,
    })
}

/// What each block may hold; the last is what it holds if nothing goes wrong.
struct Allowed {
    blocks: Vec<Vec<[u8; BLOCK]>>,
    /// Synced at least once, so it must be found again.
    durable: bool,
}

impl Allowed {
    fn now(&self) -> Vec<u8> {
        self.blocks.iter().flat_map(|history| *history.last().unwrap()).collect()
    }

    fn becomes(&mut self, bytes: &[u8]) {
        for (history, block) in self.blocks.iter_mut().zip(bytes.chunks(BLOCK)) {
            if history.last().unwrap() != block {
                history.push(block.try_into().unwrap());
            }
        }
    }

    fn synced(&mut self) {
        self.blocks.iter_mut().for_each(|history| drop(history.drain(..history.len() - 1)));
        self.durable = true;
    }
}

async fn apply(rig: &Rig, op: &Op, allowed: &mut Allowed) -> Result<(), ChunkError> {
    let id = chunk(1);
    let mut bytes = allowed.now();
    match op {
        Op::Write { offset, len, seed, sync } => {
            let data = pattern(*seed, *len);
            bytes[*offset..offset + len].copy_from_slice(&data);
            // Before the call: where it dies half way, its blocks may hold either.
            allowed.becomes(&bytes);
            if *sync {
                rig.write_and_sync(id, *offset, &data).await?;
                allowed.synced();
            } else {
                rig.write(id, *offset, &data).await?;
            }
        }
        Op::Zero { offset, len } => {
            bytes[*offset..offset + len].fill(0);
            allowed.becomes(&bytes);
            rig.zero(id, *offset, *len).await?;
        }
        Op::Sync | Op::HandBack if rig.store.chunk_count() == 0 => {}
        Op::Sync => {
            rig.store.sync(id).await?;
            allowed.synced();
        }
        Op::HandBack => {
            rig.store.hand_back(id).await?;
            allowed.synced();
        }
    }
    Ok(())
}

/// Compares, and returns what is there.
async fn check(rig: &Rig, allowed: &Allowed, killed_before: Option<&[u8]>) -> Vec<u8> {
    let id = chunk(1);
    if rig.store.chunk_count() == 0 {
        assert!(!allowed.durable, "a synced chunk is gone");
        return vec![0; SPACE];
    }
    let mut found = Vec::new();
    for (n, history) in allowed.blocks.iter().enumerate() {
        match rig.read(id, n * BLOCK, BLOCK).await {
            Ok(reply) => {
                let mut bytes = reply.data.to_vec();
                bytes.resize(BLOCK, 0);
                assert!(history.iter().any(|held| held[..] == bytes), "block {n} holds what it never held");
                if let Some(before) = killed_before {
                    let last = history.last().unwrap();
                    assert!(bytes == before[n * BLOCK..][..BLOCK] || bytes == last, "block {n} lost a write");
                }
                found.extend(bytes);
            }
            Err(ChunkError::DamagedOnDisk { block, .. }) => {
                assert_eq!(block as usize, n);
                assert!(killed_before.is_none(), "a kill leaves nothing in doubt");
                assert!(history.len() > 1, "block {n} is in doubt, though nobody wrote to it");
                found.extend([0; BLOCK]);
            }
            Err(error) => panic!("block {n}: {error}"),
        }
    }
    found
}

async fn run(seed: u64, rounds: Vec<Round>) {
    let mut rig = Rig::on(SimDisk::new(seed));
    let mut allowed = Allowed { blocks: vec![vec![[0; BLOCK]]; BLOCKS], durable: false };
    let id = chunk(1);
    for round in rounds {
        rig.disk.set_faults(Faults { dies_after: Some(round.dies_after), ..Faults::default() });
        let mut before = allowed.now();
        for op in &round.ops {
            before = allowed.now();
            if apply(&rig, op, &mut allowed).await.is_err() {
                break;
            }
            before = allowed.now();
        }
        rig.disk.set_faults(Faults::default());
        if round.power_cut {
            rig.disk.cut_power();
        }
        rig = rig.restart();
        check(&rig, &allowed, (!round.power_cut).then_some(&before)).await;
        if rig.store.chunk_count() > 0 {
            // What a reconciliation without other copies comes to.
            let length = rig.store.stat(id.handle).unwrap().length;
            assert_eq!(rig.store.settle(id, length).await.unwrap().state, ChunkState::Clean);
            rig.assert_intact(id).await;
            let mut bytes = rig.contents(id).await.unwrap();
            bytes.resize(SPACE, 0);
            allowed.becomes(&bytes);
            allowed.synced();
        } else {
            allowed.becomes(&[0; SPACE]);
            allowed.blocks.iter_mut().for_each(|history| drop(history.drain(..history.len() - 1)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_synced_is_lost_and_nothing_else_is_silent(
        seed: u64, rounds in prop::collection::vec(round(), 1..6),
    ) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(seed, rounds));
    }
}

#[tokio::test]
async fn a_kill_between_sums_and_data_is_undone() {
    let rig = Rig::new();
    let id = chunk(1);
    rig.write(id, 0, &pattern(1, 2 * BLOCK)).await.unwrap();
    // The table is written, the data is not.
    rig.disk.set_faults(Faults { dies_after: Some(1), ..Faults::default() });
    assert!(rig.write(id, 100, &pattern(2, BLOCK)).await.is_err());
    rig.disk.set_faults(Faults::default());
    let rig = rig.restart();
    assert_eq!(rig.report, LoadReport { dirty: 1, ..LoadReport::default() });
    assert_eq!(rig.contents(id).await.unwrap(), pattern(1, 2 * BLOCK));
    assert_eq!(rig.store.hand_back(id).await.unwrap().state, ChunkState::Clean);
    let rig = rig.restart();
    assert_eq!(rig.contents(id).await.unwrap(), pattern(1, 2 * BLOCK));
}

#[tokio::test]
async fn a_block_in_doubt_waits_for_a_full_write_or_a_settlement() {
    let rig = Rig::new();
    let id = chunk(1);
    rig.write(id, 0, &pattern(1, 4 * BLOCK)).await.unwrap();
    // As a power cut leaves it: one sector of a block is of another time.
    for block in [1, 2] {
        rig.disk.damage(&rig.layout.chunk(id.handle), DATA + block * BLOCK + 600, 0xff);
    }
    let rig = rig.restart();
    let in_doubt = |block| ChunkError::DamagedOnDisk { handle: id.handle, block };
    assert_eq!(rig.read(id, 0, 4 * BLOCK).await, Err(in_doubt(1)));
    assert_eq!(rig.store.damaged_blocks(), 0, "doubt is not damage");
    assert_eq!(rig.store.sync(id).await, Err(in_doubt(1)), "what may be lost is not said to be synced");
    assert_eq!(rig.store.hand_back(id).await, Err(in_doubt(1)));
    assert_eq!(rig.write(id, BLOCK + 1, b"part").await, Err(in_doubt(1)));
    rig.write(id, BLOCK, &pattern(3, BLOCK)).await.unwrap();
    assert_eq!(rig.read(id, 0, 4 * BLOCK).await, Err(in_doubt(2)));
    // Closed and opened again, the doubt is still there.
    rig.write(chunk(2), 0, b"x").await.unwrap();
    assert_eq!(rig.read(id, 2 * BLOCK, 1).await, Err(in_doubt(2)));
    rig.store.settle(id, 4 * BLOCK as u32).await.unwrap();
    let mut want = pattern(1, 4 * BLOCK);
    want[BLOCK..2 * BLOCK].copy_from_slice(&pattern(3, BLOCK));
    want[2 * BLOCK + 600] ^= 0xff;
    assert_eq!(rig.contents(id).await.unwrap(), want);
}

#[tokio::test]
async fn what_a_crash_leaves_of_creating_is_cleared_up() {
    let rig = Rig::new();
    let [a, b, c] = [chunk(1), chunk(2), chunk(3)];
    for id in [a, b, c] {
        rig.write(id, 0, b"bytes").await.unwrap();
    }
    // Of `a` nothing but its name got to the disk, of `b` only its length; `c` was being fetched.
    rig.disk.put(&rig.layout.chunk(a.handle), b"");
    rig.disk.put(&rig.layout.chunk(b.handle), &[0; DATA]);
    rig.disk.put(&rig.layout.temporary(c.handle, 0), b"half");
    let rig = rig.restart();
    assert_eq!(rig.report, LoadReport { dirty: 1, removed: 3, ..LoadReport::default() });
    assert_eq!(rig.contents(c).await.unwrap(), b"bytes");
    rig.write(b, 0, b"b").await.unwrap();
    assert_eq!(rig.contents(b).await.unwrap(), b"b", "nothing of the former bytes shows");
}

/// The mark is not synced: it may be there or not. What it vouches for is.
#[tokio::test]
async fn a_power_cut_after_a_hand_back_takes_the_mark_at_most() {
    let id = chunk(1);
    let mut found = LoadReport::default();
    for seed in 0..40 {
        let rig = Rig::on(SimDisk::new(seed));
        for n in 0..4 {
            rig.write(id, n * 3000, &pattern(seed, 5 * BLOCK)).await.unwrap();
        }
        let want = rig.contents(id).await.unwrap();
        let syncs = rig.disk.syncs();
        rig.store.hand_back(id).await.unwrap();
        assert_eq!(rig.disk.syncs() - syncs, 1, "of the file, none of the mark");
        rig.disk.cut_power();
        let rig = rig.restart();
        assert_eq!((rig.report.clean + rig.report.dirty, rig.report.removed, rig.report.unusable), (1, 0, 0));
        found.clean += rig.report.clean;
        found.dirty += rig.report.dirty;
        assert_eq!(rig.contents(id).await.unwrap(), want);
        assert!(rig.store.doubts(id.handle).await.unwrap().is_empty());
        assert_eq!(rig.store.damaged_blocks(), 0);
        assert_eq!(rig.store.hand_back(id).await.unwrap().state, ChunkState::Clean);
        rig.assert_intact(id).await;
    }
    assert!(found.clean > 0 && found.dirty > 0, "{found:?}");
}

/// Whatever the disk has of the mark, and however the slot tears that makes the chunk dirty again, no byte is lost.
#[tokio::test]
async fn a_power_cut_while_a_handed_back_chunk_is_made_dirty_loses_nothing() {
    let id = chunk(1);
    let want = pattern(1, 2 * BLOCK);
    let states = |rig: &Rig| (rig.report.clean + rig.report.dirty, rig.report.removed, rig.report.unusable);
    // Killed between the two: the one who makes it dirty does not know what is on disk. Raised: the slots differ in more.
    for (seed, killed, raised) in (0..160).map(|seed| (seed, seed % 2 == 0, seed % 4 < 2)) {
        let mut rig = Rig::on(SimDisk::new(seed));
        rig.write(id, 0, &want).await.unwrap();
        rig.store.hand_back(id).await.unwrap();
        if raised {
            rig.store.fence(id.handle, ChunkVersion(2)).await.unwrap();
        }
        if killed {
            rig = rig.restart();
        }
        let id = rig.store.stat(id.handle).unwrap().id;
        // To open the files is no change; the slot is written, and its sync does not happen.
        let syncs_first = u64::from(killed);
        rig.disk.set_faults(Faults { dies_after: Some(1 + syncs_first), ..Faults::default() });
        assert!(rig.write(id, 0, b"not written").await.is_err());
        rig.disk.cut_power();
        let rig = rig.restart();
        assert_eq!(states(&rig), (1, 0, 0), "seed {seed}");
        assert_eq!(rig.contents(id).await.unwrap(), want);
        assert_eq!(rig.store.stat(id.handle).unwrap().id, id, "seed {seed}: what was raised stays so");
        assert!(rig.store.doubts(id.handle).await.unwrap().is_empty());
        // Made dirty at last, it is so for good.
        rig.write(id, 0, b"x").await.unwrap();
        rig.disk.cut_power();
        let rig = rig.restart();
        assert_eq!((rig.report.clean, rig.report.dirty), (0, 1), "seed {seed}");
    }
}
