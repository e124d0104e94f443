//! Reading: from the right replica, no more than needed, ahead of sequential readers.

use std::time::Duration;

use cairn_proto::chunk::CHUNK_SIZE;
use cairn_proto::meta::BadReplica;

use super::*;
use crate::io::IoError;

/// A fresh mount of a file with these contents.
async fn stored(data: &[u8], config: IoConfig) -> Bench {
    let fake = Fake::new(3, 2);
    let writer = mount(&fake, quiet());
    let file = writer.file(&fake.open(FILE));
    file.write(0, Bytes::copy_from_slice(data), now(), false).await.unwrap();
    writer.shutdown().await;
    let io = mount(&fake, config);
    let file = io.file(&fake.open(FILE));
    Bench { fake, io, file }
}

#[tokio::test]
async fn a_damaged_copy_is_not_believed_and_told_of() {
    let data = pattern(100_000, 1);
    for both in [false, true] {
        let bench = stored(&data, quiet()).await;
        let mut bad = vec![bench.fake.damage(FILE, 50_000, 0)];
        if both {
            bad.push(bench.fake.damage(FILE, 50_000, 1));
        }
        let result = bench.file.read(40_000, 20_000).await;
        if both {
            let error = result.unwrap_err();
            assert!(matches!(&error, IoError::Unreadable { inode: FILE, tried, .. } if tried.len() == 2), "{error}");
            assert!(bad.iter().all(|server| error.to_string().contains(&server.to_string())), "{error}");
        } else {
            assert_eq!(result.unwrap(), data[40_000..60_000]);
            // Whichever copy was asked first: in the end the damaged one was asked, or not at all.
            bench.read(0, 100_000).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        let told = bench.fake.counts(|c| c.bad_replicas.clone());
        assert!(told.iter().all(|(server, what)| bad.contains(server) && *what == BadReplica::Damaged), "{told:?}");
        assert!(!both || told.len() >= 2);
    }
}

#[tokio::test]
async fn another_copy_helps_when_one_is_lost_or_away() {
    let data = pattern(100_000, 1);
    for holder in [0, 1] {
        let bench = stored(&data, quiet()).await;
        bench.fake.lose_copy(FILE, 0, holder);
        assert_eq!(bench.read(0, 100_000).await, data);
        let bench = stored(&data, quiet()).await;
        let server = bench.fake.holders(FILE, 0)[holder];
        bench.fake.set_up(server, false);
        assert_eq!(bench.read(0, 100_000).await, data);
    }
}

#[tokio::test]
async fn what_a_copy_has_lost_at_its_end_is_no_hole() {
    let data = pattern(100_000, 1);
    for holder in [0, 1] {
        let bench = stored(&data, quiet()).await;
        let bad = bench.fake.cut_off(FILE, 8192, holder);
        for offset in [0, 50_000, 99_000] {
            assert_eq!(bench.read(offset, 1000).await, data[offset as usize..][..1000]);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        let told = bench.fake.counts(|c| c.bad_replicas.clone());
        assert!(told.iter().all(|told| *told == (bad, BadReplica::Damaged)), "{told:?}");
    }
    let bench = stored(&data, quiet()).await;
    (0..2).for_each(|holder| drop(bench.fake.cut_off(FILE, 8192, holder)));
    assert_eq!(bench.read(8000, 1000).await, [&data[8000..8192], &[0; 808][..]].concat(), "all of them lost it");
}

#[tokio::test]
async fn a_chunk_that_everybody_lost_is_an_error_and_not_zeros() {
    let bench = stored(&pattern(5000, 1), quiet()).await;
    bench.fake.lose_copy(FILE, 0, 0);
    bench.fake.lose_copy(FILE, 0, 1);
    let error = bench.file.read(0, 100).await.unwrap_err();
    assert!(matches!(error, IoError::Unreadable { .. }), "{error}");
}

#[tokio::test]
async fn waits_for_replicas_that_are_away() {
    let data = pattern(5000, 1);
    let bench = stored(&data, quiet()).await;
    for server in 0..3 {
        bench.fake.set_up(server, false);
    }
    let file = bench.file.clone();
    let read = tokio::spawn(async move { file.read(0, 5000).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!read.is_finished());
    for server in 0..3 {
        bench.fake.set_up(server, true);
    }
    assert_eq!(read.await.unwrap().unwrap(), data);
}

#[tokio::test]
async fn a_random_reader_fetches_what_it_asks_for_once() {
    let data = pattern(8 << 20, 1);
    let bench = stored(&data, quiet()).await;
    let places: Vec<u64> = (1..100).map(|i| i * 131 % 2000 * 4096).collect();
    for round in 0..2 {
        for at in &places {
            assert_eq!(bench.read(*at, 4096).await, data[*at as usize..][..4096]);
        }
        if round == 0 {
            let bytes = bench.fake.counts(|c| c.read_bytes);
            assert!(bytes <= places.len() * 4096 + (64 << 10), "{bytes}");
        }
    }
    let reads = bench.fake.counts(|c| c.reads);
    assert!(reads <= places.len() + 2, "{reads}: the second round is served from the cache");
    assert!(places.iter().all(|at| bench.file.try_read(*at, 4096).is_some()));
}

#[tokio::test]
async fn a_sequential_reader_is_kept_ahead_of_with_large_requests() {
    let data = pattern(16 << 20, 1);
    let bench = stored(&data, quiet()).await;
    let mut hits = 0;
    for (i, part) in data.chunks(128 << 10).enumerate() {
        let at = (i * (128 << 10)) as u64;
        match bench.file.try_read(at, 128 << 10) {
            Some(bytes) => {
                hits += 1;
                assert_eq!(bytes, part);
            }
            None => assert_eq!(bench.read(at, 128 << 10).await, part),
        }
        tokio::task::yield_now().await;
    }
    let (reads, bytes) = bench.fake.counts(|c| (c.reads, c.read_bytes));
    assert_eq!(bytes, 16 << 20, "nothing is fetched twice");
    assert!(reads < 40, "{reads} requests for 16 MiB");
    assert!(hits > 64, "{hits} of 128");
}

#[tokio::test]
async fn many_readers_of_one_range_fetch_it_once() {
    let data = pattern(1 << 20, 1);
    let bench = stored(&data, IoConfig { read_ahead_bytes: 0, ..quiet() }).await;
    bench.fake.faults.lock().seed(1, 0, Duration::from_millis(20));
    let reads = (0..20).map(|i| {
        let file = bench.file.clone();
        async move { file.read(i * 1000, 50_000).await.unwrap() }
    });
    for (i, bytes) in futures::future::join_all(reads).await.into_iter().enumerate() {
        assert_eq!(bytes, data[i * 1000..][..50_000]);
    }
    let bytes = bench.fake.counts(|c| c.read_bytes);
    assert!(bytes <= 72 << 10, "{bytes}");
}

#[tokio::test]
async fn holes_are_zeros_and_cost_no_request() {
    let bench = Bench::new(quiet());
    let end = 3 * CHUNK_SIZE + 5;
    bench.write(end, b"end").await;
    bench.file.flush().await.unwrap();
    assert_eq!(bench.read(CHUNK_SIZE - 10, 20).await, [0; 20][..]);
    assert_eq!(bench.read(end - 5, 100).await, &b"\0\0\0\0\0end"[..]);
    assert_eq!(bench.read(end + 3, 100).await, &b""[..]);
    assert_eq!(bench.fake.counts(|c| c.read_bytes), 8, "the start of the one chunk");
}

#[tokio::test]
async fn reads_lay_buffered_bytes_over_stored_ones() {
    let data = pattern(50_000, 1);
    let bench = stored(&data, quiet()).await;
    bench.write(10_001, &[1; 3]).await;
    bench.write(49_999, &[2; 5]).await;
    let mut expected = data;
    expected[10_001..10_004].fill(1);
    expected.truncate(49_999);
    expected.extend([2; 5]);
    assert_eq!(bench.read(0, 100_000).await, expected);
    bench.file.flush().await.unwrap();
    assert_eq!(bench.read(0, 100_000).await, expected);
    bench.file.sync().await.unwrap();
    assert_eq!(bench.read(0, 100_000).await, expected);
}

#[tokio::test]
async fn a_fetch_that_a_write_overtakes_is_not_remembered() {
    let bench = stored(&[1; 100_000], IoConfig { retain_bytes: 1, ..quiet() }).await;
    bench.fake.faults.lock().seed(3, 0, Duration::from_millis(30));
    for round in 2..30u8 {
        let file = bench.file.clone();
        let read = tokio::spawn(async move { file.read(0, 100_000).await.unwrap() });
        bench.write(u64::from(round) * 1000, &[round; 1000]).await;
        bench.file.flush().await.unwrap();
        read.await.unwrap();
        assert_eq!(bench.read(u64::from(round) * 1000, 1000).await, [round; 1000][..]);
    }
    let all = bench.read(0, 100_000).await;
    for round in 2..30usize {
        assert!(all[round * 1000..][..1000].iter().all(|b| *b == round as u8), "{round}");
    }
}
