use std::num::NonZeroUsize;
use std::path::PathBuf;

use cairn_proto::disk::DiskState;
use cairn_proto::ids::ClusterId;

use super::*;
use crate::store::disk::OsDisk;
use crate::store::{Place, StoreLimits};

/// A store over the data directories `a` and `b`.
fn open(dir: &tempfile::TempDir) -> (Store, Arc<DataDirs>) {
    let roots: Vec<PathBuf> = ["a", "b"].iter().map(|name| dir.path().join(name)).collect();
    let data_dirs = DataDirs::open(&roots).unwrap();
    let place = |dir: &crate::store::data_dir::DiskDir| Place {
        generation: dir.generation,
        id: dir.disk,
        failed: dir.failed.clone(),
        ..Place::only(Arc::new(OsDisk), dir.layout.clone())
    };
    let places = data_dirs.dirs().iter().map(place).collect();
    let limits = StoreLimits { reserve_bytes: 0, open_chunks: NonZeroUsize::MIN };
    let (store, _) = Store::open(places, data_dirs.server(), Some(ClusterId::random()), limits).unwrap();
    (store, Arc::new(data_dirs))
}

#[expect(clippy::disallowed_methods, reason = "the disk is away, and back: no crash comes between")]
#[tokio::test]
async fn a_disk_that_is_gone_is_taken_out_and_the_others_remember() {
    let dir = tempfile::tempdir().unwrap();
    let (store, data_dirs) = open(&dir);
    let mut watch = DiskWatch::new(store.clone(), &data_dirs, DiskNumber(1));
    assert_eq!(watch.work().await.unwrap(), WorkState::Wait(INTERVAL));
    std::fs::rename(dir.path().join("b"), dir.path().join("elsewhere")).unwrap();
    assert_eq!(watch.work().await.unwrap(), WorkState::Done);
    let states: Vec<_> = store.disks().iter().map(|disk| disk.state).collect();
    assert_eq!(states, [DiskState::Ok, DiskState::Failed]);
    assert_eq!(data_dirs.generation(), 1);
    drop((store, data_dirs, watch));
    // It is back, and known for one that was out.
    std::fs::rename(dir.path().join("elsewhere"), dir.path().join("b")).unwrap();
    let (store, data_dirs) = open(&dir);
    assert_eq!(data_dirs.generation(), 1);
    assert_eq!(data_dirs.dirs().iter().map(|dir| dir.generation).collect::<Vec<_>>(), [1, 0]);
    assert!(store.disks().iter().all(|disk| disk.state == DiskState::Ok));
}

#[tokio::test]
async fn an_error_has_it_tried_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (store, data_dirs) = open(&dir);
    let mut watch = DiskWatch::new(store.clone(), &data_dirs, DiskNumber(0));
    tokio::time::timeout(SHORTEST, watch.wait()).await.unwrap_err();
    store.take_out(DiskNumber(0), "as the test wants it");
    tokio::time::timeout(PATIENCE, watch.wait()).await.unwrap();
}
