//! Checkpoints written, read back, and damaged.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::store::{Keyspace, MemoryStore, Pair, TAG_TAIL, WriteSet};

const ENTRY: EntryId = EntryId { index: 77, term: 3, node: 1 };

fn keyspace(pairs: &[(u16, Vec<u8>)]) -> Arc<Keyspace> {
    let keyspace = Keyspace::open(MemoryStore::default(), 1 << 20).unwrap();
    let mut writes = WriteSet::default();
    for (key, value) in pairs {
        writes.put([&[4u8][..], &key.to_be_bytes()].concat().into(), value.clone().into());
    }
    keyspace.commit(writes, Bytes::from_static(b"applied")).unwrap();
    keyspace
}

fn contents(keyspace: &Keyspace) -> Vec<Pair> {
    keyspace.view().scan(&[1], &[TAG_TAIL]).map(Result::unwrap).collect()
}

fn write_all(path: &Path, keyspace: &Arc<Keyspace>) -> CheckpointHeader {
    let mut image = keyspace.image().unwrap();
    let header = CheckpointHeader { entry: ENTRY, meta: image.meta().clone() };
    write(path, &header, &mut image).unwrap();
    header
}

fn read_all(path: &Path) -> Result<Vec<Pair>, CheckpointError> {
    let mut reader = CheckpointReader::open(path)?;
    let mut pairs = Vec::new();
    while let Some(block) = reader.next_block()? {
        pairs.extend(block);
    }
    Ok(pairs)
}

fn some_pairs() -> Vec<(u16, Vec<u8>)> {
    (0..3000u16).map(|n| (n, vec![n as u8; usize::from(n % 50)])).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_written_is_read(pairs in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..60)), 0..1500)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let keyspace = keyspace(&pairs);
        let header = write_all(&path, &keyspace);
        prop_assert_eq!(CheckpointReader::open(&path).unwrap().header().clone(), header);
        prop_assert_eq!(read_all(&path).unwrap(), contents(&keyspace));
    }

    #[test]
    fn damage_is_noticed(place in any::<prop::sample::Index>(), bit in 0..8u8, cut in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let keyspace = keyspace(&some_pairs());
        write_all(&path, &keyspace);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = place.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        std::fs::write(&path, bytes).unwrap();
        match read_all(&path) {
            Err(CheckpointError::Damaged { path: named, .. }) => prop_assert_eq!(named, path),
            Err(other) => prop_assert!(false, "{}", other),
            // Four bytes of the preamble and some of zstd's frame carry nothing.
            Ok(pairs) => prop_assert_eq!(pairs, contents(&keyspace)),
        }
    }
}

#[test]
fn loads_into_another_keyspace() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    let from = keyspace(&some_pairs());
    write_all(&path, &from);
    let to = keyspace(&[(9999, b"old".to_vec())]);
    let mut reader = CheckpointReader::open(&path).unwrap();
    let meta = reader.header().meta.clone();
    to.load(meta, std::iter::from_fn(|| reader.next_block().transpose())).unwrap();
    assert_eq!(contents(&to), contents(&from));
    assert_eq!(to.meta(), from.meta());
    to.verify().unwrap();
}

#[test]
fn interrupted_load_is_noticed() {
    let to = keyspace(&[]);
    let pages = [Ok(contents(&keyspace(&some_pairs()))), Err(StoreError::ImageLost)];
    assert!(to.load(Meta::default(), pages.into_iter()).is_err());
    assert!(to.verify().is_err());
}

#[test]
fn two_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::open(dir.path()).unwrap();
    for number in 1..=4u64 {
        let image = keyspace(&some_pairs()[..number as usize]).image().unwrap();
        let floor = EntryId { index: number - 1, ..ENTRY };
        checkpoints.take(number, EntryId { index: number, ..ENTRY }, image).unwrap();
        assert_eq!(checkpoints.log_floor(), (number > 1).then_some(floor));
    }
    drop(checkpoints);
    let checkpoints = Checkpoints::open(dir.path()).unwrap();
    let numbers: Vec<u64> = checkpoints.newest_first().iter().map(|(header, _)| header.entry.index).collect();
    assert_eq!(numbers, [4, 3]);
    // One that cannot be read does not count, and gives way to the next two.
    std::fs::write(checkpoints.path_of(4), b"rubbish").unwrap();
    let checkpoints = Checkpoints::open(dir.path()).unwrap();
    assert_eq!(checkpoints.log_floor(), None);
    checkpoints.take(5, EntryId { index: 5, ..ENTRY }, keyspace(&[]).image().unwrap()).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn golden_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    write_all(&path, &keyspace(&[(1, b"one".to_vec())]));
    let bytes = std::fs::read(&path).unwrap();
    let (head, stream) = bytes.split_at(GOLDEN_HEAD.len());
    assert_eq!(head, GOLDEN_HEAD);
    // What zstd makes of it may change with its version; what it holds may not.
    assert_eq!(zstd::decode_all(stream).unwrap(), b"\x0e\0\0\0\x03\0\0\0\x03\0\0\0\x04\0\x01one\0\0\0\0");
}

const GOLDEN_HEAD: &[u8] = b"CAIRNCKP\x01\0\0\0\x1f\0\0\0\xf1H_N\0\0\0\0\
    M\x03\x01\x80\xeb\xec\xd3\x8f\xec\xaa\xd7\x99\x94\xf2\xce\xef\xf4\xb4\xb4\x8a\x85\x01\x01\x07applied";
