//! Memory is bounded, and what waits for it goes on.

use std::time::Duration;

use tokio::sync::Semaphore;

use super::*;

#[tokio::test]
async fn writers_wait_while_the_buffer_is_full() {
    let limit = 1 << 20;
    let bench = Bench::new(IoConfig { write_back_bytes: limit, ..quiet() });
    let gate = Arc::new(Semaphore::new(0));
    bench.fake.faults.lock().hold_writes = Some(gate.clone());
    let file = bench.file.clone();
    let writer = tokio::spawn(async move {
        for i in 0..256u64 {
            file.write(i * 20_000, Bytes::from(pattern(16 << 10, i)), now(), false).await.unwrap();
        }
    });
    let mut most = 0;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        most = most.max(bench.io.write_back_bytes());
    }
    assert!(!writer.is_finished());
    assert!(most > limit / 2 && most <= limit, "{most}");
    let written = bench.file.size();
    assert!(written < 80 * 20_000, "{written}");
    while !writer.is_finished() {
        gate.add_permits(4);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(bench.io.write_back_bytes() <= limit);
    }
    gate.add_permits(10_000);
    writer.await.unwrap();
    bench.file.flush().await.unwrap();
    assert_eq!(bench.io.write_back_bytes(), 0);
    for i in 0..256u64 {
        assert_eq!(bench.read(i * 20_000, 16 << 10).await, pattern(16 << 10, i));
    }
}

#[tokio::test]
async fn a_stream_is_sent_in_whole_pieces_even_when_memory_is_short() {
    let bench = Bench::new(IoConfig { write_back_bytes: 4 << 20, ..quiet() });
    bench.fake.faults.lock().seed(1, 0, Duration::from_millis(10));
    for i in 0..(16 << 20) / 8192 {
        bench.write(i * 8192, &[1; 8192]).await;
    }
    bench.file.flush().await.unwrap();
    let writes = bench.fake.counts(|c| c.writes);
    assert!(writes <= 20, "{writes} writes for 16 MiB");
}

#[tokio::test]
async fn one_file_s_buffer_does_not_keep_another_waiting() {
    let bench = Bench::new(IoConfig { write_back_bytes: 64 << 10, ..quiet() });
    let other = bench.io.file(&bench.fake.open(InodeId(43)));
    for i in 0..100u64 {
        let data = Bytes::from(pattern(10_000, i));
        bench.file.write(i * 10_000, data.clone(), now(), false).await.unwrap();
        other.write(i * 10_000, data, now(), false).await.unwrap();
    }
    for file in [&bench.file, &other] {
        file.flush().await.unwrap();
        assert_eq!(file.read(990_000, 10_000).await.unwrap(), pattern(10_000, 99));
    }
}

#[tokio::test]
async fn a_write_larger_than_the_buffer_gets_through() {
    let bench = Bench::new(IoConfig { write_back_bytes: 64 << 10, ..quiet() });
    let data = pattern(3_000_000, 1);
    bench.write(5, &data).await;
    bench.write(5 + data.len() as u64, b"more").await;
    bench.file.flush().await.unwrap();
    assert_eq!(bench.read(5, 3_000_000).await, data);
    assert_eq!(bench.io.write_back_bytes(), 0);
}

#[tokio::test]
async fn the_cache_stays_within_its_limit() {
    let bench = Bench::new(IoConfig { cache_bytes: 3 << 20, read_ahead_bytes: 1 << 20, ..quiet() });
    let data = pattern(10 << 20, 2);
    bench.write(0, &data).await;
    bench.file.sync().await.unwrap();
    for i in 0..160 {
        let at = i * (64 << 10);
        assert_eq!(bench.read(at as u64, 64 << 10).await, data[at..at + (64 << 10)]);
        assert!(bench.io.cached_bytes() <= 3 << 20);
    }
}
