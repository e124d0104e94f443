//! Disks that fail, beside servers. What becomes of servers is in the suite `servers`.

use std::time::Duration;

use cairn_proto::chunkserver::{ChunkStat, ChunkState};
use cairn_proto::cluster::{ChunkChange, Space};
use cairn_proto::disk::DiskState;
use cairn_proto::ids::DiskId;
use uuid::Uuid;

use super::*;
use crate::testing::{World, server};

fn disk(n: u128, path: &str) -> DiskStatus {
    let space = Space { total: 100, free: 60, used: 40 };
    let disk = DiskId(Uuid::from_u128(n));
    DiskStatus { disk, path: path.into(), state: DiskState::Ok, space, chunks: 1, errors: 0, why: None }
}

/// Servers 1 to 3 with disks `/a` and `/b`. A chunk of one copy is on the second disk of server 1, one of two copies on the first disks of
/// servers 1 and 2.
async fn world() -> (World, ChunkHandle, ChunkHandle) {
    let world = World::new(3, 2).await;
    let one = world.chunk_on("one", &[server(1)], 10).await;
    let two = world.chunk_on("two", &[server(1), server(2)], 20).await;
    for n in 1..=3 {
        world.beat_with(server(n), vec![], vec![disk(n * 10, "/a"), disk(n * 10 + 1, "/b")]);
    }
    let stat = world.peers.with(server(1), |fake| fake.copies[&one]);
    let moved = ChunkStat { disk: DiskNumber(1), state: ChunkState::Clean, ..stat };
    world.beat_with(server(1), vec![ChunkChange::Now(moved)], vec![disk(10, "/a"), disk(11, "/b")]);
    world.advance(Duration::from_millis(1));
    (world, one, two)
}

async fn fail(world: &World, names: &[&str]) -> Result<SimulationPage, AdminError> {
    let subjects = names.iter().map(|name| Subject::Disk((*name).to_owned())).collect();
    page(&world.cluster, &Scenario::Fail(subjects), ChunkHandle(0)).await
}

#[tokio::test]
async fn a_disk_takes_with_it_what_is_on_it_and_no_more() {
    let (world, ..) = world().await;
    let second = fail(&world, &["cs1:1"]).await.unwrap();
    assert_eq!((second.counts.lost, second.counts.reduced), (1, 0));
    assert_eq!(second.servers, ["cs1:1 (/b)"]);
    assert_eq!(second.files.len(), 1);
    let first = fail(&world, &["cs1:/a"]).await.unwrap();
    assert_eq!((first.counts.lost, first.counts.reduced), (0, 1));
    let both = fail(&world, &["cs1:0", "cs1:1"]).await.unwrap();
    assert_eq!((both.counts.lost, both.counts.reduced), (1, 1));
    let everywhere = fail(&world, &["/a"]).await.unwrap();
    assert_eq!((everywhere.counts.lost, everywhere.servers.len()), (1, 3));
    assert!(everywhere.free_on_the_rest < first.free_on_the_rest);
    let by_id = fail(&world, &[&Uuid::from_u128(11).to_string()]).await.unwrap();
    assert_eq!(by_id.servers, ["cs1:1 (/b)"]);
}

#[tokio::test]
async fn a_disk_that_nobody_has_is_said_to_be_none() {
    let (world, ..) = world().await;
    for name in ["cs1:2", "cs9:0", "/c", "cs1"] {
        let error = fail(&world, &[name]).await.unwrap_err();
        assert_eq!(error, AdminError::NothingMeant(format!("disk={name}")));
    }
}
