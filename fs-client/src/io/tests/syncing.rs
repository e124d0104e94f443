//! `fsync` tells the truth.

use std::sync::Arc;
use std::time::Duration;

use super::fake::Script;
use super::*;
use crate::io::IoError;

fn cut_all(bench: &Bench) {
    for server in 0..3 {
        bench.fake.power_cut(server);
    }
}

/// What a new mount sees.
async fn seen(bench: &Bench, len: u32) -> Bytes {
    let other = mount(&bench.fake, quiet());
    other.file(&bench.fake.open(FILE)).read(0, len).await.unwrap()
}

#[tokio::test]
async fn synced_bytes_survive_a_power_cut_of_everything() {
    let bench = Bench::new(quiet());
    let data = pattern(3 << 20, 5);
    bench.write(0, &data).await;
    bench.file.sync().await.unwrap();
    cut_all(&bench);
    assert_eq!(seen(&bench, 3 << 20).await, data);
    assert_eq!(bench.fake.diverging(), []);
}

#[tokio::test]
async fn what_a_restarted_server_lost_is_written_again() {
    for restarted in [0, 1] {
        let bench = Bench::new(quiet());
        let data = pattern(100_000, 5);
        bench.write(0, &data).await;
        bench.file.flush().await.unwrap();
        let holder = bench.fake.holders(FILE, 0)[restarted];
        bench.fake.power_cut(holder);
        // A part that was written since is not overwritten by what is repeated.
        bench.write(500, &[9; 100]).await;
        bench.file.sync().await.unwrap();
        let mut expected = data;
        expected[500..600].fill(9);
        cut_all(&bench);
        assert_eq!(seen(&bench, 100_000).await, expected);
        assert_eq!(bench.fake.diverging(), []);
        assert_eq!(bench.fake.violations(), [""; 0]);
    }
}

#[tokio::test]
async fn what_is_lost_and_not_kept_is_an_error_told_once() {
    let bench = Bench::new(IoConfig { retain_bytes: 1, ..quiet() });
    let mut cursor = bench.file.error_cursor();
    bench.write(0, &[1; 10_000]).await;
    bench.file.flush().await.unwrap();
    let head = bench.fake.holders(FILE, 0)[0];
    let server = bench.fake.server_ids()[head];
    cut_all(&bench);
    let error = bench.file.sync().await.unwrap_err();
    assert!(matches!(error, IoError::LostUnsynced { server: lost_by, .. } if lost_by == server), "{error}");
    assert_eq!(bench.file.take_error(&mut cursor), Some(error));
    bench.file.sync().await.unwrap();
    assert_eq!(bench.file.take_error(&mut cursor), None);
}

/// All copies were lost before they were ever synced; at the sync, or already at a write.
#[tokio::test]
async fn what_no_copy_is_left_of_is_written_anew() {
    for writes in [false, true] {
        let bench = Bench::new(quiet());
        let mut data = pattern(100_000, 5);
        bench.write(0, &data).await;
        bench.file.flush().await.unwrap();
        bench.fake.lose_copy(FILE, 0, 0);
        bench.fake.lose_copy(FILE, 0, 1);
        if writes {
            bench.write(500, &[9; 100]).await;
            data[500..600].fill(9);
            bench.file.flush().await.unwrap();
        }
        bench.file.sync().await.unwrap();
        cut_all(&bench);
        assert_eq!(seen(&bench, 100_000).await, data);
        assert_eq!(bench.fake.diverging(), []);
        assert_eq!(bench.fake.violations(), [""; 0]);
    }
}

#[tokio::test]
async fn what_no_copy_is_left_of_and_is_not_kept_is_an_error_told_once() {
    let bench = Bench::new(quiet());
    bench.write(0, &[1; 10_000]).await;
    bench.file.sync().await.unwrap();
    bench.write(0, &[2; 5_000]).await;
    bench.file.flush().await.unwrap();
    bench.fake.lose_copy(FILE, 0, 0);
    bench.fake.lose_copy(FILE, 0, 1);
    let error = bench.file.sync().await.unwrap_err();
    assert!(error.is_lost_chunk(), "{error}");
    bench.file.sync().await.unwrap();
    bench.write(0, &[3; 10]).await;
    let error = bench.file.sync().await.unwrap_err();
    assert!(error.is_lost_chunk(), "there is nowhere to write to: {error}");
    bench.truncate(0).await;
    bench.write(0, &[4; 10]).await;
    bench.file.sync().await.unwrap();
    assert_eq!(seen(&bench, 10).await, [4; 10][..]);
}

#[tokio::test]
async fn a_member_that_lost_what_is_not_kept_is_left_out() {
    for restarted in [0, 1] {
        let bench = Bench::new(IoConfig { retain_bytes: 1, ..quiet() });
        let data = pattern(10_000, 1);
        bench.write(0, &data).await;
        bench.file.flush().await.unwrap();
        let holders = bench.fake.holders(FILE, 0);
        bench.fake.power_cut(holders[restarted]);
        bench.file.sync().await.unwrap();
        assert_eq!(bench.fake.holders(FILE, 0), [holders[1 - restarted]]);
        cut_all(&bench);
        assert_eq!(seen(&bench, 10_000).await, data);
    }
}

#[tokio::test]
async fn a_restart_before_the_background_hands_back_is_noticed_by_the_next_fsync() {
    let config = IoConfig {
        retain_bytes: 1,
        dirty_age: Duration::from_millis(20),
        idle_hand_back: Duration::from_millis(300),
        ..quiet()
    };
    let bench = Bench::new(config);
    let mut cursor = bench.file.error_cursor();
    bench.write(0, &[1; 10_000]).await;
    bench.file.flush().await.unwrap();
    cut_all(&bench);
    for _ in 0..100 {
        if bench.fake.counts(|c| c.hand_backs) > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let _ = bench.file.sync().await;
    assert!(matches!(bench.file.take_error(&mut cursor), Some(IoError::LostUnsynced { .. })));
}

#[tokio::test]
async fn a_sync_that_fails_on_the_way_is_repeated() {
    for script in [Script::NotSent, Script::LostAfter(1), Script::Fenced] {
        let bench = Bench::new(quiet());
        bench.write(0, &[1; 10_000]).await;
        bench.file.flush().await.unwrap();
        bench.fake.faults.lock().syncs.push_back(script);
        bench.file.sync().await.unwrap();
        assert_eq!(bench.fake.counts(|c| c.replacements), 0, "{script:?}");
        cut_all(&bench);
        assert_eq!(seen(&bench, 10_000).await, [1; 10_000][..]);
    }
}

#[tokio::test]
async fn a_lone_piece_is_written_and_synced_by_one_call() {
    let bench = Bench::new(quiet());
    let counts = || bench.fake.counts(|c| (c.writes, c.synced_writes, c.syncs));
    // A file that grows is committed while it is synced.
    bench.write(0, &[1; 10_000]).await;
    bench.file.sync().await.unwrap();
    assert_eq!(counts(), (1, 0, 1));
    // What was acknowledged before is in it.
    bench.write(0, &[2; 4096]).await;
    bench.file.flush().await.unwrap();
    bench.write(4096, &[3; 4096]).await;
    bench.file.sync().await.unwrap();
    assert_eq!(counts(), (3, 1, 1));
    cut_all(&bench);
    assert_eq!(seen(&bench, 10_000).await, [&[2; 4096][..], &[3; 4096], &[1; 1808]].concat());
    bench.write(0, &[4; 100]).await;
    bench.file.sync_data().await.unwrap();
    assert_eq!(counts(), (4, 2, 1));
    // Two pieces: one call each, and one sync.
    bench.write(0, &[4; 100]).await;
    bench.write(8192, &[4; 100]).await;
    bench.file.sync().await.unwrap();
    assert_eq!(counts(), (6, 2, 2));
}

#[tokio::test]
async fn a_lone_piece_whose_sync_is_lost_is_written_again_under_a_new_version() {
    for script in [Script::LostAfter(0), Script::LostAfter(1), Script::LostAfter(2)] {
        let bench = Bench::new(quiet());
        bench.write(0, &[1; 10_000]).await;
        bench.file.sync().await.unwrap();
        bench.write(0, &[2; 10_000]).await;
        bench.fake.faults.lock().syncs.push_back(script);
        bench.file.sync().await.unwrap();
        assert_eq!(bench.fake.counts(|c| c.replacements), 1, "{script:?}");
        cut_all(&bench);
        assert_eq!(seen(&bench, 10_000).await, [2; 10_000][..]);
        assert_eq!(bench.fake.violations(), [""; 0]);
    }
}

#[tokio::test]
async fn overwriting_and_syncing_is_one_write_and_one_commit_of_the_time() {
    let bench = Bench::new(quiet());
    bench.write(0, &[1; 10_000]).await;
    bench.file.sync().await.unwrap();
    let blocks = bench.fake.attr(FILE).allocated;
    for n in 0..3 {
        let before = bench.fake.counts(|c| (c.writes, c.syncs, c.commits));
        bench.file.looked_at();
        bench.write(4096, &[n; 4096]).await;
        bench.file.sync().await.unwrap();
        let after = bench.fake.counts(|c| (c.writes, c.syncs, c.commits));
        assert_eq!(after, (before.0 + 1, before.1, before.2 + 1), "round {n}");
        assert!(!bench.file.is_dirty());
    }
    // A block that was a hole until now is said to be none.
    bench.file.zero(4096, 4096).await.unwrap();
    bench.file.sync().await.unwrap();
    assert_eq!(bench.fake.attr(FILE).allocated, blocks - 4096);
    bench.write(4096, &[9; 10]).await;
    bench.file.sync().await.unwrap();
    assert_eq!(bench.fake.attr(FILE).allocated, blocks);
}

#[tokio::test]
async fn whoever_saw_the_time_before_the_bytes_sees_a_later_one_with_them() {
    let bench = Bench::new(quiet());
    bench.write(0, &[1; 10_000]).await;
    bench.file.sync().await.unwrap();
    let first = bench.fake.attr(FILE).mtime;
    let held = Arc::new(tokio::sync::Semaphore::new(0));
    bench.fake.faults.lock().hold_writes = Some(held.clone());
    bench.file.looked_at();
    bench.write(0, &[2; 4096]).await;
    let syncing = tokio::spawn({
        let file = bench.file.clone();
        async move { file.sync().await }
    });
    let announced = loop {
        let mtime = bench.fake.attr(FILE).mtime;
        if mtime > first {
            break mtime;
        }
        tokio::task::yield_now().await;
    };
    // Longer than a tick of the clock that other file systems take their times from.
    tokio::time::sleep(Duration::from_millis(20)).await;
    held.add_permits(100);
    syncing.await.unwrap().unwrap();
    assert!(bench.fake.attr(FILE).mtime > announced);
    assert!(!bench.file.is_dirty());
}

#[tokio::test]
async fn writes_within_a_tick_are_committed_once_unless_somebody_looks() {
    let bench = Bench::new(quiet());
    let at = |ms: u32| Timestamp { secs: 1_000, nanos: ms * 1_000_000 };
    let write = async |ms: u32| {
        bench.file.write(0, Bytes::from(vec![1; 4096]), at(ms), false).await.unwrap();
        bench.file.sync().await.unwrap();
        assert!(!bench.file.is_dirty());
        (bench.fake.counts(|c| c.commits), bench.fake.attr(FILE).mtime)
    };
    let (first, mtime) = write(1).await;
    assert_eq!(mtime, at(1));
    assert_eq!(write(3).await, (first, at(1)));
    assert_eq!(write(6).await, (first + 1, at(6)));
    bench.file.looked_at();
    assert_eq!(write(7).await, (first + 2, at(7)));
}

#[tokio::test]
async fn many_syncs_at_once_share_a_round() {
    let bench = Bench::new(quiet());
    bench.write(0, &[1; 4096]).await;
    bench.file.sync().await.unwrap();
    bench.fake.faults.lock().seed(1, 0, Duration::from_millis(5));
    let before = bench.fake.counts(|c| (c.syncs, c.commits));
    let writers = (0..50u64).map(|i| {
        let file = bench.file.clone();
        async move {
            file.write(i * 4096, Bytes::from(vec![2; 4096]), now(), false).await.unwrap();
            file.sync().await.unwrap();
        }
    });
    futures::future::join_all(writers).await;
    let after = bench.fake.counts(|c| (c.syncs, c.commits));
    assert!(after.0 - before.0 <= 4 && after.1 - before.1 <= 4, "{before:?} to {after:?}");
    cut_all(&bench);
    assert_eq!(seen(&bench, 50 * 4096).await, vec![2; 50 * 4096]);
}

#[tokio::test]
async fn fdatasync_leaves_the_time_for_later() {
    let bench = Bench::new(quiet());
    bench.write(0, &[1; 8192]).await;
    bench.file.sync_data().await.unwrap();
    assert_eq!(bench.fake.attr(FILE).size, 8192, "the size is needed to find the bytes");
    let commits = bench.fake.counts(|c| c.commits);
    bench.file.looked_at();
    bench.write(0, &[2; 8192]).await;
    bench.file.sync_data().await.unwrap();
    assert_eq!(bench.fake.counts(|c| c.commits), commits, "the time is not");
    cut_all(&bench);
    assert_eq!(seen(&bench, 8192).await, [2; 8192][..]);
    bench.file.sync().await.unwrap();
    assert_eq!(bench.fake.counts(|c| c.commits), commits + 1);
}

#[tokio::test]
async fn a_sync_given_up_half_way_is_not_forgotten() {
    let bench = Bench::new(quiet());
    bench.write(0, &[1; 8192]).await;
    bench.file.flush().await.unwrap();
    bench.fake.faults.lock().seed(1, 0, Duration::from_millis(100));
    let given_up = tokio::time::timeout(Duration::from_millis(20), bench.file.sync()).await;
    assert!(given_up.is_err());
    bench.fake.faults.lock().seed(1, 0, Duration::ZERO);
    bench.file.sync().await.unwrap();
    cut_all(&bench);
    assert_eq!(seen(&bench, 8192).await, [1; 8192][..]);
}

#[tokio::test]
async fn syncing_everything_hands_back_what_nobody_has_open() {
    let bench = Bench::new(quiet());
    bench.write(0, &[1; 8192]).await;
    bench.io.sync_all(|_| true).await.unwrap();
    assert_eq!(bench.fake.dirty().len(), 1, "synced, and still being written");
    bench.write(0, &[2; 10]).await;
    bench.io.sync_all(|_| false).await.unwrap();
    assert_eq!(bench.fake.dirty(), []);
    assert_eq!(bench.fake.counts(|c| c.hand_backs), 1);
    cut_all(&bench);
    assert_eq!(seen(&bench, 10).await, [2; 10][..], "handing back syncs, too");
}
