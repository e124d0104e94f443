//! Properties of transactions, keyspaces and images, on the memory engine and on sled.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// Small, so that entries are pushed out.
const CACHE_BYTES: usize = 64 * 1024;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Clone)]
enum Op {
    Put(u8, u8),
    Delete(u8),
    Get(u8),
    Scan(u8, u8, usize),
    NestedKept(u8, u8),
    NestedDropped(u8, u8),
    Commit,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (any::<u8>(), any::<u8>()).prop_map(|(k, v)| Op::Put(k, v)),
        2 => any::<u8>().prop_map(Op::Delete),
        2 => any::<u8>().prop_map(Op::Get),
        2 => (any::<u8>(), any::<u8>(), 0..40usize).prop_map(|(a, b, n)| Op::Scan(a, b, n)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(k, v)| Op::NestedKept(k, v)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(k, v)| Op::NestedDropped(k, v)),
        1 => Just(Op::Commit),
    ]
}

/// Keys of one to three bytes, so that some are prefixes of others.
fn key(seed: u8) -> Vec<u8> {
    let mut key = vec![1 + seed % 3];
    key.extend(std::iter::repeat_n(seed / 8, usize::from(seed % 8) / 3));
    key
}

fn pairs(model: &Model, start: &[u8], end: &[u8], limit: usize) -> Vec<Pair> {
    let end = end.max(start);
    model.range(start.to_vec()..end.to_vec()).take(limit).map(|(k, v)| (k.clone().into(), v.clone().into())).collect()
}

fn check_against_model(store: impl Store, ops: Vec<Op>) {
    let keyspace = Keyspace::open(store, CACHE_BYTES).unwrap();
    let mut model = Model::new();
    let mut commits = 0u64;
    let mut pending = WriteSet::default();
    for op in ops {
        let view = keyspace.view();
        let mut txn = Txn::new(&view);
        txn.absorb(std::mem::take(&mut pending));
        let mut commit = false;
        match op {
            Op::Put(k, v) => {
                txn.put(key(k), vec![v; 3]);
                model.insert(key(k), vec![v; 3]);
            }
            Op::Delete(k) => {
                txn.delete(key(k));
                model.remove(&key(k));
            }
            Op::Get(k) => assert_eq!(txn.get(&key(k)).unwrap().as_deref(), model.get(&key(k)).map(Vec::as_slice)),
            Op::Scan(a, b, limit) => {
                let (start, end) = (key(a), key(b));
                let scanned: Vec<Pair> = txn.scan(&start, &end).take(limit).map(Result::unwrap).collect();
                assert_eq!(scanned, pairs(&model, &start, &end, limit));
                assert_eq!(txn.scan_page(&start, &end, limit).unwrap(), scanned);
            }
            Op::NestedKept(k, v) => {
                let mut nested = txn.nested();
                nested.put(key(k), vec![v]);
                assert_eq!(nested.get(&key(k)).unwrap().unwrap(), vec![v]);
                let writes = nested.into_writes();
                txn.absorb(writes);
                model.insert(key(k), vec![v]);
            }
            Op::NestedDropped(k, v) => {
                let mut nested = txn.nested();
                nested.put(key(k), vec![v, v]);
                nested.delete(key(k.wrapping_add(1)));
            }
            Op::Commit => commit = true,
        }
        pending = txn.into_writes();
        drop(view);
        if commit {
            commits += 1;
            keyspace.commit(std::mem::take(&mut pending), commits.to_be_bytes().to_vec().into()).unwrap();
            assert_eq!(keyspace.digest().pairs, model.len() as u64);
        }
    }
    keyspace.commit(pending, Bytes::from_static(b"end")).unwrap();
    assert_eq!(all(&keyspace), pairs(&model, &[1], &[TAG_TAIL], usize::MAX));
    assert_eq!(keyspace.verify().unwrap().pairs, model.len() as u64);
    assert_eq!(&keyspace.applied()[..], b"end");
}

fn all(keyspace: &Keyspace) -> Vec<Pair> {
    keyspace.view().scan(&[1], &[TAG_TAIL]).map(Result::unwrap).collect()
}

proptest! {
    #[test]
    fn txn_over_memory_is_a_map(ops in prop::collection::vec(op(), 0..200)) {
        check_against_model(MemoryStore::default(), ops);
    }

    #[test]
    fn image_is_what_was_there(
        before in prop::collection::btree_map(any::<u16>(), any::<u8>(), 0..2000),
        after in prop::collection::vec((any::<u16>(), any::<Option<u8>>()), 0..400),
    ) {
        let keyspace = Keyspace::open(MemoryStore::default(), CACHE_BYTES).unwrap();
        let wide = |k: u16| Bytes::from([&[7u8][..], &k.to_be_bytes()].concat());
        let mut writes = WriteSet::default();
        before.iter().for_each(|(&k, &v)| writes.put(wide(k), vec![v].into()));
        keyspace.commit(writes, Bytes::from_static(b"1")).unwrap();
        let expected = all(&keyspace);
        let mut image = keyspace.image().unwrap();
        let mut seen = Vec::new();
        let mut changes = after.chunks(100);
        loop {
            let mut writes = WriteSet::default();
            for &(k, v) in changes.next().unwrap_or_default() {
                match v {
                    Some(v) => writes.put(wide(k), vec![v, v].into()),
                    None => writes.delete(wide(k)),
                }
            }
            keyspace.commit(writes, Bytes::from_static(b"2")).unwrap();
            match image.next_page().unwrap() {
                Some(page) => seen.extend(page),
                None => break,
            }
        }
        prop_assert_eq!(seen, expected);
        prop_assert_eq!(&image.meta().applied[..], b"1");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn txn_over_sled_is_a_map(ops in prop::collection::vec(op(), 0..200)) {
        let dir = tempfile::tempdir().unwrap();
        check_against_model(SledStore::open(dir.path(), 1 << 20).unwrap(), ops);
    }
}

fn filled(pairs: u32) -> Arc<Keyspace> {
    let keyspace = Keyspace::open(MemoryStore::default(), CACHE_BYTES).unwrap();
    let mut writes = WriteSet::default();
    (0..pairs).for_each(|n| writes.put([&[3u8][..], &n.to_be_bytes()].concat().into(), Bytes::from_static(b"v")));
    keyspace.commit(writes, Bytes::from_static(b"1")).unwrap();
    keyspace
}

/// Counts what is fetched from below.
struct Counting<'a> {
    below: &'a dyn Read,
    fetched: std::cell::Cell<usize>,
}

impl Read for Counting<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.below.get(key)
    }

    fn scan_page(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        let page = self.below.scan_page(start, end, limit)?;
        self.fetched.set(self.fetched.get() + page.len());
        Ok(page)
    }
}

#[test]
fn scan_fetches_little_of_a_large_directory() {
    let keyspace = filled(100_000);
    let view = keyspace.view();
    let counting = Counting { below: &view, fetched: 0.into() };
    let txn = Txn::new(&counting);
    assert!(txn.scan(&[3], &[4]).next().is_some());
    assert!(counting.fetched.get() <= 8, "fetched {}", counting.fetched.get());
    assert_eq!(txn.scan(&[3], &[4]).count(), 100_000);
}

#[test]
fn image_in_use_excludes_another() {
    let keyspace = filled(10);
    let image = keyspace.image().unwrap();
    assert!(matches!(keyspace.image(), Err(StoreError::ImageBusy)));
    drop(image);
    assert!(keyspace.image().is_ok());
}

#[test]
fn image_of_a_cleared_store_is_lost() {
    let keyspace = filled(10);
    let mut image = keyspace.image().unwrap();
    keyspace.clear().unwrap();
    assert!(matches!(image.next_page(), Err(StoreError::ImageLost)));
    drop(image);
    assert_eq!(keyspace.verify().unwrap(), Digest::default());
}

#[test]
fn lost_pair_fails_verification() {
    let store = MemoryStore::default();
    let mut writes = WriteSet::default();
    writes.put(Bytes::from_static(b"\x05a"), Bytes::from_static(b"1"));
    let meta = Meta {
        digest: {
            let mut d = Digest::default();
            d.add(b"\x05a", b"1");
            d.add(b"\x05b", b"2");
            d
        },
        applied: Bytes::new(),
    };
    writes.put(Bytes::from_static(&[TAG_HEAD]), meta.encode());
    writes.put(Bytes::from_static(&[TAG_TAIL]), meta.encode());
    store.write(&writes).unwrap();
    let keyspace = Keyspace::open(store, CACHE_BYTES).unwrap();
    assert!(matches!(
        keyspace.verify(),
        Err(StoreError::Damaged(Damage::DigestMismatch { recorded_pairs: 2, found_pairs: 1 }))
    ));
}

#[test]
fn differing_ends_are_a_torn_batch() {
    let store = MemoryStore::default();
    let mut writes = WriteSet::default();
    writes.put(Bytes::from_static(&[TAG_HEAD]), Meta::default().encode());
    store.write(&writes).unwrap();
    assert!(matches!(Keyspace::open(store, CACHE_BYTES), Err(StoreError::Damaged(Damage::TornBatch))));
}

/// Pairs of keys, far apart, whose values always add up, whatever is read while they change.
#[test]
fn readers_see_whole_commits_while_pages_come_and_go() {
    const ACCOUNTS: u32 = 4000;
    const TOTAL: u64 = 1000;
    let key = |side: u8, n: u32| Bytes::from([&[side][..], &n.to_be_bytes(), &[b'.'; 60]].concat());
    let seconds = std::env::var("CAIRN_TEST_SECONDS").map_or(2, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    // Far less cache than there is data, so that leaves are thrown out and read back all the time.
    let keyspace = Keyspace::open(SledStore::open(dir.path(), 64 * 1024).unwrap(), 1024).unwrap();
    let number = |bytes: &[u8]| u64::from_be_bytes(bytes[..8].try_into().unwrap());
    let mut writes = WriteSet::default();
    for n in 0..ACCOUNTS {
        writes.put(key(1, n), TOTAL.to_be_bytes().to_vec().into());
        writes.put(key(9, n), 0u64.to_be_bytes().to_vec().into());
    }
    keyspace.commit(writes, Bytes::new()).unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    let running = || std::time::Instant::now() < end;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0u64.. {
                if !running() {
                    break;
                }
                let view = keyspace.view();
                let mut txn = Txn::new(&view);
                for step in 0..5 {
                    let n = ((round * 5 + step).wrapping_mul(2_654_435_761) % u64::from(ACCOUNTS)) as u32;
                    let left = number(&txn.get(&key(1, n)).unwrap().unwrap());
                    let moved = (left + round) % (TOTAL + 1);
                    txn.put(key(1, n), moved.to_be_bytes().to_vec());
                    txn.put(key(9, n), (TOTAL - moved).to_be_bytes().to_vec());
                    // Rows that come and go make leaves split and merge.
                    let passing = key(5, (round % 3000) as u32 * 5 + step as u32);
                    if round / 3000 % 2 == 0 { txn.put(passing, vec![7; 90]) } else { txn.delete(passing) }
                }
                let writes = txn.into_writes();
                drop(view);
                keyspace.commit(writes, round.to_be_bytes().to_vec().into()).unwrap();
            }
        });
        for reader in 0..2u32 {
            let keyspace = &keyspace;
            scope.spawn(move || {
                for round in 0u32.. {
                    if !running() {
                        break;
                    }
                    let view = keyspace.view();
                    let n = round.wrapping_mul(40_503 + reader) % ACCOUNTS;
                    let (left, right) =
                        (view.get(&key(1, n)).unwrap().unwrap(), view.get(&key(9, n)).unwrap().unwrap());
                    assert_eq!(number(&left) + number(&right), TOTAL);
                    let lefts = view.scan_page(&key(1, n), &[2], 300).unwrap();
                    let rights = view.scan_page(&key(9, n), &[10], 300).unwrap();
                    assert_eq!(lefts.len(), (ACCOUNTS - n).min(300) as usize);
                    for ((_, left), (_, right)) in lefts.iter().zip(&rights) {
                        assert_eq!(number(left) + number(right), TOTAL);
                    }
                }
            });
        }
        scope.spawn(|| {
            while running() {
                keyspace.flush().unwrap();
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        });
        scope.spawn(|| {
            while running() {
                keyspace.verify().unwrap();
            }
        });
    });
    let digest = keyspace.verify().unwrap();
    keyspace.flush().unwrap();
    drop(keyspace);
    let keyspace = Keyspace::open(SledStore::open(dir.path(), 1 << 20).unwrap(), 1024).unwrap();
    assert_eq!(keyspace.verify().unwrap(), digest);
}

#[test]
fn cache_keeps_to_its_limit() {
    let keyspace = filled(50_000);
    let view = keyspace.view();
    for n in 0..50_000u32 {
        let key = [&[3u8][..], &n.to_be_bytes()].concat();
        assert!(view.get(&key).unwrap().is_some());
    }
    let cache = cache::ReadCache::new(CACHE_BYTES);
    for n in 0..50_000u32 {
        cache.insert(n.to_be_bytes().to_vec().into(), Some(vec![0; n as usize % 20_000].into()));
        assert!(cache.bytes() <= CACHE_BYTES);
    }
    cache.clear();
    assert_eq!(cache.bytes(), 0);
}

#[test]
fn prefix_ends() {
    assert_eq!(prefix_end(&[1, 2]), [1, 3]);
    assert_eq!(prefix_end(&[1, 0xff]), [2]);
    assert_eq!(prefix_end(&[0xff, 0xff]), [0u8; 0]);
}

#[test]
fn golden_keyspace_record() {
    let meta = Meta { digest: Digest { sum: 1 << 100, pairs: 300 }, applied: Bytes::from_static(b"abc") };
    assert_eq!(&meta.encode()[..], GOLDEN_META);
    let mut digest = Digest::default();
    digest.add(b"key", b"value");
    assert_eq!(digest.sum, GOLDEN_DIGEST);
}

const GOLDEN_META: &[u8] =
    &[1, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 4, 172, 2, 3, b'a', b'b', b'c'];
const GOLDEN_DIGEST: u128 = 308741819691691953594919696708781150851;
