//! Writing and reading where nothing goes wrong.

use std::time::Duration;

use cairn_proto::attr::{S_ISGID, S_ISUID};
use cairn_proto::chunk::CHUNK_SIZE;

use super::*;

#[tokio::test]
async fn a_written_byte_is_read_at_once_and_seen_by_others_after_flush() {
    let bench = Bench::new(quiet());
    let data = pattern(10_000, 1);
    bench.write(100, &data).await;
    assert_eq!(bench.file.size(), 10_100);
    assert_eq!(bench.file.try_read(100, 10_000).unwrap(), data);
    assert_eq!(bench.read(0, 200).await, [&[0; 100][..], &data[..100]].concat());
    assert_eq!(bench.fake.attr(FILE).size, 0, "nobody asked for it to be sent");

    bench.file.flush().await.unwrap();
    assert_eq!(bench.fake.attr(FILE).size, 10_100);
    let other = mount(&bench.fake, quiet());
    let seen = other.file(&bench.fake.open(FILE)).read(0, 100_000).await.unwrap();
    assert_eq!(seen[100..], data);
    assert_eq!(bench.fake.diverging(), []);
    assert_eq!(bench.fake.violations(), [""; 0]);
}

#[tokio::test]
async fn one_flush_is_one_commit() {
    let bench = Bench::new(quiet());
    for i in 0..100 {
        bench.write(i * 5000, &pattern(3000, i)).await;
    }
    bench.file.flush().await.unwrap();
    assert_eq!(bench.fake.counts(|c| c.commits), 1);
    let attr = bench.fake.attr(FILE);
    assert_eq!(bench.fake.observed(), Some(attr.clone()));
    assert!(attr.allocated >= 300_000);
    bench.file.flush().await.unwrap();
    assert_eq!(bench.fake.counts(|c| c.commits), 1, "nothing was left to commit");
}

#[tokio::test]
async fn a_stream_is_sent_in_whole_pieces_before_anybody_asks() {
    let bench = Bench::new(quiet());
    let data = pattern(3 << 20, 1);
    for (i, part) in data.chunks(64 << 10).enumerate() {
        bench.write((i * (64 << 10)) as u64, part).await;
    }
    for _ in 0..200 {
        if bench.io.write_back_bytes() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((bench.fake.counts(|c| c.writes), bench.io.write_back_bytes()), (3, 0));
    bench.file.flush().await.unwrap();
    assert_eq!(bench.read(0, 3 << 20).await, data);
}

#[tokio::test]
async fn pieces_end_where_chunks_end() {
    let bench = Bench::new(quiet());
    let data = pattern(100_000, 3);
    let at = CHUNK_SIZE - 50_000;
    bench.write(at, &data).await;
    bench.file.sync().await.unwrap();
    assert_eq!(bench.fake.counts(|c| (c.writes, c.allocations, c.commits)), (2, 2, 1));
    let other = mount(&bench.fake, quiet());
    let file = other.file(&bench.fake.open(FILE));
    assert_eq!(file.read(at, 100_000).await.unwrap(), data);
    assert_eq!(file.read(0, 4096).await.unwrap(), [0; 4096][..], "the chunk's start is a hole");
}

#[tokio::test]
async fn appends_of_many_do_not_overlap() {
    let bench = Bench::new(quiet());
    let mut tasks = Vec::new();
    for writer in 0..8u8 {
        let file = bench.file.clone();
        tasks.push(tokio::spawn(async move {
            let mut places = Vec::new();
            for _ in 0..50 {
                let at = file.append(Bytes::from(vec![writer + 1; 777]), now(), false).await.unwrap();
                places.push(at);
                tokio::task::yield_now().await;
            }
            (writer, places)
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        let (writer, places) = task.await.unwrap();
        for at in places {
            assert_eq!(bench.read(at, 777).await, [writer + 1; 777][..]);
            all.push(at);
        }
    }
    all.sort_unstable();
    assert_eq!(all, (0..400).map(|i| i * 777).collect::<Vec<u64>>());
    assert_eq!(bench.file.size(), 400 * 777);
}

#[tokio::test]
async fn attributes_show_what_is_not_committed() {
    let bench = Bench::new(quiet());
    let mut attr = bench.fake.attr(FILE);
    attr.mode = S_ISUID | S_ISGID | 0o755;
    bench.file.overlay(&mut attr);
    assert_eq!(attr.mode, S_ISUID | S_ISGID | 0o755, "nothing is written");
    let mtime = Timestamp { secs: 5_000, nanos: 1 };
    bench.file.write(0, Bytes::from(vec![1; 5000]), mtime, true).await.unwrap();
    assert!(bench.file.is_dirty());
    bench.file.overlay(&mut attr);
    assert_eq!((attr.size, attr.mtime, attr.ctime, attr.mode), (5000, mtime, mtime, 0o755));
    assert_eq!(attr.allocated, 8192);
    bench.file.flush().await.unwrap();
    assert!(!bench.file.is_dirty());
    assert_eq!(bench.fake.attr(FILE).mtime, mtime);
}

#[tokio::test]
async fn a_time_that_the_program_sets_survives_the_commit() {
    let bench = Bench::new(quiet());
    bench.write(0, b"hello").await;
    let set = Timestamp { secs: 77, nanos: 0 };
    let mut answer = bench.fake.attr(FILE);
    answer.mtime = set;
    bench.file.times_set(&answer);
    bench.file.flush().await.unwrap();
    assert_eq!(bench.fake.attr(FILE).mtime, set);
}

#[tokio::test]
async fn what_is_old_enough_is_sent_and_committed_by_itself() {
    let config =
        IoConfig { dirty_age: Duration::from_millis(50), idle_hand_back: Duration::from_millis(100), ..quiet() };
    let bench = Bench::new(config);
    bench.write(0, &pattern(5000, 1)).await;
    let inode = bench.file.inode();
    for _ in 0..100 {
        if bench.fake.attr(inode).size == 5000 && bench.fake.dirty().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(bench.fake.attr(inode).size, 5000);
    assert_eq!(bench.fake.dirty(), [], "handed back");
}

#[tokio::test]
async fn a_closed_file_is_still_written_and_shutdown_leaves_nothing_behind() {
    let bench = Bench::new(quiet());
    let data = pattern(20_000, 9);
    bench.write(0, &data).await;
    let Bench { fake, io, file } = bench;
    drop(file);
    io.shutdown().await;
    assert_eq!(fake.attr(FILE).size, 20_000);
    assert_eq!(fake.dirty(), []);
    let other = mount(&fake, quiet());
    let file = other.file(&fake.open(FILE));
    assert_eq!(file.read(0, 20_000).await.unwrap(), data);
    other.shutdown().await;
    assert_eq!(file.write(0, Bytes::from_static(b"x"), now(), false).await, Err(crate::io::IoError::Closed));
}

#[tokio::test]
async fn what_another_mount_changed_is_seen_after_refresh() {
    let bench = Bench::new(quiet());
    bench.write(0, &[1; 10_000]).await;
    bench.file.flush().await.unwrap();
    assert_eq!(bench.read(0, 10_000).await, [1; 10_000][..]);
    let attr = bench.fake.write_elsewhere(FILE, 5000, &[2; 10_000]);
    assert_eq!(bench.file.size(), 10_000);
    bench.file.seen(&attr);
    assert_eq!(bench.file.size(), 15_000);
    assert_eq!(bench.read(4999, 3).await, [1, 2, 2][..]);
    // Opening it does the same.
    let attr = bench.fake.write_elsewhere(FILE, 0, &[3; 10]);
    let again = bench.io.file(&bench.fake.open(FILE));
    assert!(Arc::ptr_eq(&again, &bench.file));
    assert_eq!(bench.read(9, 2).await, [3, 1][..]);
    assert_eq!(bench.file.size(), attr.size);
    // What this mount had written is not written again over it.
    bench.fake.power_cut(bench.fake.holders(FILE, 0)[0]);
    bench.file.sync().await.unwrap();
    bench.file.seen(&bench.fake.write_elsewhere(FILE, 0, &[3; 10]));
    assert_eq!(bench.read(9, 2).await, [3, 1][..]);
}

#[tokio::test]
async fn a_removed_file_is_not_written_any_more() {
    let bench = Bench::new(quiet());
    bench.write(0, &[1; 10_000]).await;
    bench.file.discard();
    bench.file.flush().await.unwrap();
    assert_eq!(bench.fake.counts(|c| (c.writes, c.commits)), (0, 0));
    assert_eq!(bench.io.write_back_bytes(), 0);
}
