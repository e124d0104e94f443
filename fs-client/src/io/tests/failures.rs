//! Writing while chunkservers fail.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::fake::Script;
use super::*;
use crate::io::IoError;

/// A file of two blocks, committed; its chunk's holders, head first.
async fn written(config: IoConfig) -> (Bench, Vec<usize>) {
    let bench = Bench::new(config);
    bench.write(0, &[1; 8192]).await;
    bench.file.sync().await.unwrap();
    let holders = bench.fake.holders(FILE, 0);
    (bench, holders)
}

async fn assert_contents(bench: &Bench, expected: &[u8]) {
    let other = mount(&bench.fake, quiet());
    let file = other.file(&bench.fake.open(FILE));
    assert_eq!(file.read(0, expected.len() as u32).await.unwrap(), expected);
    assert_eq!(bench.fake.diverging(), []);
    assert_eq!(bench.fake.violations(), [""; 0]);
}

#[tokio::test]
async fn goes_on_without_a_member_that_died() {
    for member in [0, 1] {
        let (bench, holders) = written(quiet()).await;
        bench.fake.set_up(holders[member], false);
        bench.write(4096, &[2; 4096]).await;
        bench.file.sync().await.unwrap();
        assert_eq!(bench.fake.holders(FILE, 0), [holders[1 - member]]);
        assert_contents(&bench, &[[1; 4096], [2; 4096]].concat()).await;
        let mut cursor = bench.file.error_cursor();
        assert_eq!(bench.file.take_error(&mut cursor), None, "the program does not notice");
    }
}

#[tokio::test]
async fn goes_on_when_a_member_dies_between_write_and_sync() {
    for member in [0, 1] {
        let (bench, holders) = written(quiet()).await;
        bench.write(4096, &[2; 4096]).await;
        bench.file.flush().await.unwrap();
        bench.fake.set_up(holders[member], false);
        bench.file.sync().await.unwrap();
        assert_eq!(bench.fake.holders(FILE, 0), [holders[1 - member]]);
        bench.fake.power_cut(holders[1 - member]);
        assert_contents(&bench, &[[1; 4096], [2; 4096]].concat()).await;
    }
}

#[tokio::test]
async fn a_full_member_is_left_out() {
    for member in [0, 1] {
        let (bench, holders) = written(quiet()).await;
        bench.fake.set_full(holders[member], true);
        bench.write(0, &[3; 8192]).await;
        bench.file.flush().await.unwrap();
        assert_eq!(bench.fake.holders(FILE, 0), [holders[1 - member]]);
        assert_contents(&bench, &[3; 8192]).await;
    }
}

#[tokio::test]
async fn no_space_anywhere_is_told_once_to_each_open_file() {
    let (bench, _) = written(quiet()).await;
    for server in 0..3 {
        bench.fake.set_full(server, true);
    }
    let (mut first, mut second) = (bench.file.error_cursor(), bench.file.error_cursor());
    bench.write(8192, &[2; 4096]).await;
    assert_eq!(bench.file.size(), 12_288);
    let error = bench.file.flush().await.unwrap_err();
    assert!(matches!(error, IoError::NoSpace { inode: FILE, .. }), "{error}");
    assert_eq!(bench.file.take_error(&mut first), Some(error.clone()));
    assert_eq!(bench.file.take_error(&mut first), None);
    assert_eq!(bench.file.take_error(&mut second), Some(error));
    assert_eq!(bench.file.size(), 8192, "what could not be written is not there");
    assert_eq!(bench.io.write_back_bytes(), 0);

    for server in 0..3 {
        bench.fake.set_full(server, false);
    }
    bench.write(8192, &[4; 4096]).await;
    bench.file.sync().await.unwrap();
    assert_eq!(bench.file.take_error(&mut first), None);
    assert_contents(&bench, &[&[1; 8192][..], &[4; 4096]].concat()).await;
}

#[tokio::test]
async fn waits_for_chunkservers_to_come_back() {
    let (bench, _) = written(quiet()).await;
    for server in 0..3 {
        bench.fake.set_up(server, false);
    }
    bench.write(0, &[5; 4096]).await;
    let done = Arc::new(AtomicBool::new(false));
    let flush = tokio::spawn({
        let (file, done) = (bench.file.clone(), done.clone());
        async move {
            let result = file.flush().await;
            done.store(true, Ordering::Release);
            result
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!done.load(Ordering::Acquire));
    assert_eq!(bench.file.try_read(0, 10).unwrap(), [5; 10][..], "it stays readable meanwhile");
    for server in 0..3 {
        bench.fake.set_up(server, true);
    }
    flush.await.unwrap().unwrap();
    assert_contents(&bench, &[[5; 4096], [1; 4096]].concat()).await;
}

#[tokio::test]
async fn patience_ends_with_an_error_and_the_bytes_go_out_later() {
    // Longer than the longest pause between two attempts: the last sync must see one.
    let config = IoConfig { write_patience: Some(Duration::from_secs(2)), ..quiet() };
    let (bench, holders) = written(config).await;
    for &holder in &holders {
        bench.fake.set_up(holder, false);
    }
    bench.write(0, &[5; 4096]).await;
    for _ in 0..2 {
        let error = bench.file.sync().await.unwrap_err();
        assert!(matches!(error, IoError::NotTaken { inode: FILE, .. }), "{error}");
    }
    assert_eq!(bench.io.unsaved_files(), 1);
    for &holder in &holders {
        bench.fake.set_up(holder, true);
    }
    bench.file.sync().await.unwrap();
    assert_eq!(bench.io.unsaved_files(), 0);
    assert_contents(&bench, &[[5; 4096], [1; 4096]].concat()).await;
}

#[tokio::test]
async fn a_write_lost_on_the_way_never_comes_back_over_a_later_one() {
    let (bench, _) = written(quiet()).await;
    bench.fake.faults.lock().writes.push_back(Script::LostButDoneLater(Duration::from_millis(100)));
    bench.write(0, &[6; 8192]).await;
    bench.file.flush().await.unwrap();
    bench.write(0, &[7; 8192]).await;
    bench.file.flush().await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_contents(&bench, &[7; 8192]).await;
    assert_eq!(bench.fake.counts(|c| c.replacements), 1);
}

#[tokio::test]
async fn damage_on_the_way_and_a_new_version_only_cost_a_repetition() {
    for script in [Script::DamagedInTransit, Script::Fenced, Script::NotSent] {
        let (bench, holders) = written(quiet()).await;
        bench.fake.faults.lock().writes.push_back(script);
        bench.write(0, &[8; 8192]).await;
        bench.file.flush().await.unwrap();
        assert_eq!(bench.fake.holders(FILE, 0), holders, "{script:?}: nobody is blamed");
        assert_eq!(bench.fake.counts(|c| c.replacements), 0);
        assert_contents(&bench, &[8; 8192]).await;
    }
}

#[tokio::test]
async fn one_dead_server_is_reported_once_for_many_pieces_in_flight() {
    let (bench, holders) = written(quiet()).await;
    bench.fake.set_up(holders[0], false);
    let data = pattern(200 * 4096, 4);
    for i in 0..100 {
        bench.write(i * 8192, &data[i as usize * 4096..][..4096]).await;
    }
    bench.file.flush().await.unwrap();
    assert_eq!(bench.fake.counts(|c| c.replacements), 1);
    for i in 0..100 {
        assert_eq!(bench.read(i * 8192, 4096).await, data[i as usize * 4096..][..4096]);
    }
}
