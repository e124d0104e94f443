//! Truncating, holes, and finding them.

use std::time::Duration;

use cairn_proto::chunk::CHUNK_SIZE;
use cairn_proto::error::FsError;

use super::*;
use crate::io::{IoError, MetaError};

impl Bench {
    pub(super) async fn truncate(&self, size: u64) {
        let fake = self.fake.clone();
        let set = async move { Ok::<_, IoError>(fake.set_size(FILE, size)) };
        assert_eq!(self.file.truncate_with(size, set).await.unwrap().size, size);
    }
}

#[tokio::test]
async fn bytes_cut_off_do_not_come_back() {
    for flushed in [false, true] {
        let bench = Bench::new(quiet());
        let data = pattern(100_000, 1);
        bench.write(0, &data).await;
        if flushed {
            bench.file.sync().await.unwrap();
            bench.read(0, 100_000).await;
        }
        bench.truncate(10_001).await;
        assert_eq!(bench.read(0, 100_000).await, data[..10_001]);
        bench.truncate(50_000).await;
        let expected = [&data[..10_001], &[0; 39_999]].concat();
        assert_eq!(bench.read(0, 100_000).await, expected);
        // The first write there zeroes what was cut off, everywhere, for good.
        bench.write(20_000, b"hello").await;
        bench.file.sync().await.unwrap();
        let mut expected = expected;
        expected[20_000..20_005].copy_from_slice(b"hello");
        for server in 0..3 {
            bench.fake.power_cut(server);
        }
        let other = mount(&bench.fake, quiet());
        assert_eq!(other.file(&bench.fake.open(FILE)).read(0, 100_000).await.unwrap(), expected);
        assert_eq!(bench.read(0, 100_000).await, expected);
        assert_eq!(bench.fake.counts(|c| c.clear_trims), 1);
        assert_eq!(bench.fake.violations(), [""; 0]);
    }
}

#[tokio::test]
async fn a_chunk_made_anew_after_a_truncate_is_a_new_one() {
    let bench = Bench::new(quiet());
    bench.write(CHUNK_SIZE - 100, &[1; 200]).await;
    bench.file.flush().await.unwrap();
    bench.truncate(0).await;
    assert_eq!(bench.file.size(), 0);
    bench.write(CHUNK_SIZE, b"x").await;
    bench.file.sync().await.unwrap();
    assert_eq!(bench.read(CHUNK_SIZE - 100, 200).await, [&[0; 100][..], b"x"].concat());
    assert_eq!(bench.fake.violations(), [""; 0]);
}

#[tokio::test]
async fn a_refused_truncate_changes_nothing() {
    let bench = Bench::new(quiet());
    let data = pattern(10_000, 1);
    bench.write(0, &data).await;
    let cause = MetaError::Refused(FsError::NotPermitted);
    let refused = async { Err(IoError::Meta { inode: FILE, cause }) };
    assert!(bench.file.truncate_with(5, refused).await.is_err());
    assert_eq!(bench.read(0, 20_000).await, data);
}

#[tokio::test]
async fn writes_wait_for_a_truncate_and_truncates_for_writes() {
    let bench = Bench::new(quiet());
    bench.write(0, &[1; 50_000]).await;
    let fake = bench.fake.clone();
    let file = bench.file.clone();
    let truncate = tokio::spawn(async move {
        let set = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok::<_, IoError>(fake.set_size(FILE, 10))
        };
        file.truncate_with(10, set).await.unwrap();
    });
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(bench.read(40_000, 10).await, [1; 10][..], "readers do not wait");
    bench.write(20, b"after").await;
    assert!(truncate.is_finished());
    assert_eq!(bench.read(0, 100).await, [&[1; 10][..], &[0; 10], b"after"].concat());
    truncate.await.unwrap();
}

#[tokio::test]
async fn a_hole_is_zeros_everywhere_and_is_found() {
    let bench = Bench::new(quiet());
    let data = pattern(200_000, 3);
    bench.write(0, &data).await;
    bench.file.sync().await.unwrap();
    bench.read(0, 200_000).await;
    let before = bench.fake.attr(FILE).allocated;
    bench.file.zero(10_000, 100_000).await.unwrap();
    let mut expected = data;
    expected[10_000..110_000].fill(0);
    assert_eq!(bench.read(0, 200_000).await, expected);
    bench.file.sync().await.unwrap();
    assert!(bench.fake.attr(FILE).allocated < before - 90_000);
    for server in 0..3 {
        bench.fake.power_cut(server);
    }
    let other = mount(&bench.fake, quiet());
    let file = other.file(&bench.fake.open(FILE));
    assert_eq!(file.read(0, 200_000).await.unwrap(), expected);
    assert_eq!(file.seek_hole(0).await.unwrap(), 12_288);
    assert_eq!(file.seek_data(12_288).await.unwrap(), Some(106_496));
    assert_eq!(file.seek_data(20_000).await.unwrap(), Some(106_496));
    assert_eq!(file.seek_data(150_000).await.unwrap(), Some(150_000));
    assert_eq!(file.seek_hole(150_000).await.unwrap(), 200_000);
    assert_eq!(bench.fake.diverging(), []);
}

#[tokio::test]
async fn holes_of_whole_chunks_are_found() {
    let bench = Bench::new(quiet());
    bench.write(2 * CHUNK_SIZE + 8192, &[1; 4096]).await;
    bench.truncate(5 * CHUNK_SIZE).await;
    assert_eq!(bench.file.seek_data(0).await.unwrap(), Some(2 * CHUNK_SIZE + 8192));
    assert_eq!(bench.file.seek_hole(0).await.unwrap(), 0);
    assert_eq!(bench.file.seek_hole(2 * CHUNK_SIZE + 8192).await.unwrap(), 2 * CHUNK_SIZE + 12_288);
    assert_eq!(bench.file.seek_data(2 * CHUNK_SIZE + 12_288).await.unwrap(), None);
    assert_eq!(bench.file.seek_data(10 * CHUNK_SIZE).await.unwrap(), None);
    // Unsent bytes count.
    bench.write(0, b"x").await;
    assert_eq!(bench.file.seek_data(0).await.unwrap(), Some(0));
}

#[tokio::test]
async fn a_hole_that_is_not_synced_is_synced_by_fsync() {
    let bench = Bench::new(quiet());
    bench.write(0, &[1; 100_000]).await;
    bench.file.sync().await.unwrap();
    let syncs = bench.fake.counts(|c| c.syncs);
    bench.file.zero(0, 50_000).await.unwrap();
    bench.file.sync().await.unwrap();
    assert_eq!(bench.fake.counts(|c| c.syncs), syncs + 1);
}
