//! The parts of this module together, over chunkservers that are fake.

use std::time::Duration;

use cairn_proto::chunkserver::{ChunkStat, ChunkState};
use cairn_proto::cluster::{ChunkChange, ClusterError, Registration};
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, ChunkVersion, ServerId};
use cairn_proto::meta::Mutation;
use cairn_proto::name::Name;
use cairn_runtime::worker::Worker;

use super::garbage::GarbageWorker;
use super::left::LeftWorker;
use super::locate::locate;
use super::reconcile::ReconcileWorker;
use super::repair::census::{Census, CensusWorker};
use super::repair::worker::RepairWorker;
use super::replace::{FailedWrite, replace_failed};
use super::state::Thresholds;
use crate::command::Decided;
use crate::session::reaper::Reaper;
use crate::testing::{TERM, World, endpoint_of, registration, server};

const MINUTE: Duration = Duration::from_secs(60);

async fn report_failed(world: &World, handle: ChunkHandle, failed: &[ServerId]) -> Result<(), FsError> {
    report_failed_with(world, handle, failed, 0).await
}

/// By a writer that has the chunk's first `held` bytes.
async fn report_failed_with(world: &World, handle: ChunkHandle, failed: &[ServerId], held: u32) -> Result<(), FsError> {
    let chunk = world.chunk(handle);
    let (inode, index, version) = (chunk.inode, chunk.index, chunk.version);
    let report = FailedWrite { inode, index, handle, version, failed: failed.to_vec(), held };
    replace_failed(&world.cluster, world.origin(), report).await
}

/// Census and repair, until there is nothing more to do.
async fn repair(world: &World) {
    let mut census = CensusWorker::new(world.cluster.clone(), Default::default(), Duration::from_secs(1));
    let mut worker = RepairWorker::new(world.cluster.clone(), 1);
    for _ in 0..3 {
        world.advance(Duration::from_secs(1));
        census.work().await.unwrap();
        while !world.cluster.repairs.is_empty() {
            world.advance(Duration::from_secs(2));
            worker.work().await.unwrap();
        }
    }
}

fn versions(world: &World, handle: ChunkHandle, servers: &[u128]) -> Vec<Option<u32>> {
    let version =
        |&n: &u128| world.peers.with(server(n), |fake| fake.copies.get(&handle).map(|stat| stat.id.version.0));
    servers.iter().map(version).collect()
}

#[tokio::test]
async fn a_silent_member_is_dropped_and_the_rest_is_fenced() {
    let world = World::new(3, 3).await;
    let handle = world.chunk_on("f", &[server(1), server(2), server(3)], 4096).await;
    world.peers.with(server(2), |fake| fake.silent = true);
    report_failed(&world, handle, &[server(2)]).await.unwrap();
    let chunk = world.chunk(handle);
    assert_eq!((chunk.version, chunk.members), (ChunkVersion(2), vec![server(1), server(3)]));
    assert_eq!(versions(&world, handle, &[1, 2, 3]), [Some(2), Some(1), Some(2)]);
    assert!(!world.cluster.busy.contains(handle));
}

#[tokio::test]
async fn a_member_that_answers_goes_at_the_second_report() {
    let world = World::new(2, 2).await;
    let handle = world.chunk_on("f", &[server(1), server(2)], 4096).await;
    report_failed(&world, handle, &[server(2)]).await.unwrap();
    assert_eq!(world.chunk(handle).members, [server(1), server(2)]);
    assert_eq!(versions(&world, handle, &[1, 2]), [Some(2), Some(2)]);
    report_failed(&world, handle, &[server(2)]).await.unwrap();
    assert_eq!(world.chunk(handle).members, [server(1)]);
    assert_eq!(versions(&world, handle, &[1, 2]), [Some(3), Some(2)]);
}

#[tokio::test]
async fn an_old_report_changes_nothing() {
    let world = World::new(2, 2).await;
    let handle = world.chunk_on("f", &[server(1), server(2)], 4096).await;
    world.peers.with(server(2), |fake| fake.silent = true);
    let chunk = world.chunk(handle);
    let (inode, index, version) = (chunk.inode, chunk.index, chunk.version);
    for failed in [server(2), server(1)] {
        let report = FailedWrite { inode, index, handle, version, failed: vec![failed], held: 0 };
        replace_failed(&world.cluster, world.origin(), report).await.unwrap();
    }
    assert_eq!(world.chunk(handle).members, [server(1)]);
}

#[tokio::test]
async fn a_silent_fence_costs_another_round() {
    let world = World::new(3, 3).await;
    let handle = world.chunk_on("f", &[server(1), server(2), server(3)], 4096).await;
    world.peers.with(server(1), |fake| fake.silent = true);
    world.peers.with(server(2), |fake| fake.dying = true);
    report_failed(&world, handle, &[server(1)]).await.unwrap();
    let chunk = world.chunk(handle);
    assert_eq!((chunk.version, chunk.members), (ChunkVersion(3), vec![server(3)]));
}

#[tokio::test]
async fn without_survivors_the_members_stay() {
    let world = World::new(2, 2).await;
    let handle = world.chunk_on("f", &[server(1), server(2)], 4096).await;
    for n in [1, 2] {
        world.peers.with(server(n), |fake| fake.silent = true);
    }
    let refused = report_failed(&world, handle, &[server(1), server(2)]).await;
    assert_eq!(refused, Err(FsError::NoReplica(handle)));
    let chunk = world.chunk(handle);
    assert_eq!((chunk.version, chunk.members.len()), (ChunkVersion(1), 2));
}

#[tokio::test]
async fn who_is_killed_with_the_others_keeps_its_copy() {
    let world = World::new(3, 3).await;
    let handle = world.chunk_on("f", &[server(1), server(2), server(3)], 4096).await;
    for n in 1..=3 {
        world.peers.with(server(n), |fake| fake.silent = true);
    }
    // Nobody complains of the others, and nothing tells yet that they are gone.
    let refused = report_failed(&world, handle, &[server(1)]).await;
    assert_eq!(refused, Err(FsError::NoReplica(handle)));
    assert_eq!(world.chunk(handle).members.len(), 3);
}

#[tokio::test]
async fn a_member_that_has_lost_its_copy_does_not_survive() {
    let world = World::new(3, 3).await;
    let handle = world.chunk_on("f", &[server(1), server(2), server(3)], 4096).await;
    world.peers.with(server(3), |fake| fake.copies.clear());
    report_failed(&world, handle, &[server(2)]).await.unwrap();
    assert_eq!(world.chunk(handle).members, [server(1), server(2)]);
}

/// Its members were restarted since it was given out: none of them takes its first write unasked.
#[tokio::test]
async fn a_chunk_that_nobody_wrote_is_made_where_a_write_of_it_was_refused() {
    let world = World::new(3, 3).await;
    let handle = world.chunk_on("f", &[server(1), server(2), server(3)], 0).await;
    world.peers.with(server(3), |fake| fake.full = true);
    report_failed(&world, handle, &[server(1)]).await.unwrap();
    let chunk = world.chunk(handle);
    assert_eq!((chunk.version, &chunk.members[..]), (ChunkVersion(3), &[server(1), server(2)][..]));
    assert_eq!(versions(&world, handle, &[1, 2, 3]), [Some(2), Some(2), None]);
    // Now that it is there, nobody who lacks it is taken for a holder.
    world.peers.with(server(1), |fake| fake.copies.clear());
    report_failed(&world, handle, &[server(1)]).await.unwrap();
    assert_eq!(world.chunk(handle).members, [server(2)]);
}

#[tokio::test]
async fn a_chunk_that_nobody_has_room_for_is_no_space() {
    let world = World::new(2, 2).await;
    let handle = world.chunk_on("f", &[server(1), server(2)], 0).await;
    for n in [1, 2] {
        world.peers.with(server(n), |fake| fake.full = true);
    }
    assert_eq!(report_failed(&world, handle, &[server(1)]).await, Err(FsError::NoSpace));
    for n in [1, 2] {
        world.peers.with(server(n), |fake| fake.full = false);
    }
    report_failed(&world, handle, &[server(1)]).await.unwrap();
    assert_eq!(world.chunk(handle).members, [server(1), server(2)]);
}

/// Two members that have lost their copies of 4096 bytes.
async fn lost(world: &World) -> ChunkHandle {
    let handle = world.chunk_on("f", &[server(1), server(2)], 4096).await;
    for n in [1, 2] {
        world.peers.with(server(n), |fake| fake.copies.clear());
    }
    handle
}

#[tokio::test]
async fn what_was_committed_is_not_made_anew() {
    let world = World::new(2, 2).await;
    let handle = lost(&world).await;
    for held in [0, 4095] {
        let refused = report_failed_with(&world, handle, &[server(1)], held).await;
        assert_eq!(refused, Err(FsError::ChunkLost(handle)));
    }
    world.peers.with(server(2), |fake| fake.silent = true);
    let refused = report_failed(&world, handle, &[server(1)]).await;
    assert_eq!(refused, Err(FsError::NoReplica(handle)), "it may have it");
    let chunk = world.chunk(handle);
    assert_eq!((chunk.version, chunk.length, chunk.members.len()), (ChunkVersion(1), 4096, 2), "nothing is changed");
    assert_eq!(versions(&world, handle, &[1, 2]), [None, None]);
}

#[tokio::test]
async fn what_its_writer_has_all_of_is_made_anew() {
    let world = World::new(2, 2).await;
    let handle = lost(&world).await;
    report_failed_with(&world, handle, &[server(1)], 4096).await.unwrap();
    let chunk = world.chunk(handle);
    assert_eq!((chunk.version, chunk.length, chunk.members.len()), (ChunkVersion(2), 0, 2));
    assert_eq!(versions(&world, handle, &[1, 2]), [Some(2), Some(2)]);
}

#[tokio::test]
async fn a_dead_servers_chunks_are_copied_elsewhere() {
    let world = World::new(3, 2).await;
    let handle = world.chunk_on("f", &[server(1), server(2)], 4096).await;
    world.peers.with(server(2), |fake| fake.silent = true);
    world.advance(MINUTE / 2);
    for n in [1, 3] {
        world.beat(server(n), vec![]);
    }
    repair(&world).await;
    assert_eq!(world.chunk(handle).members, [server(1), server(2)], "away is not dead");
    world.advance(MINUTE / 2);
    for n in [1, 3] {
        world.beat(server(n), vec![]);
    }
    repair(&world).await;
    let chunk = world.chunk(handle);
    assert_eq!(chunk.members, [server(1), server(3)]);
    assert_eq!(versions(&world, handle, &[1, 3]), [Some(2), Some(2)]);
    assert_eq!(chunk.version, ChunkVersion(3));
    // It comes back with its old copy, which nobody needs any more.
    world.peers.with(server(2), |fake| fake.silent = false);
    world.join(server(2)).await;
    assert_eq!(world.beat(server(2), vec![]), [(handle, ChunkVersion(1))]);
}

#[tokio::test]
async fn an_unwritten_chunk_gets_new_members_only_once_it_is_written() {
    let world = World::new(2, 2).await;
    let handle = world.chunk_on("f", &[server(1)], 0).await;
    repair(&world).await;
    let chunk = world.chunk(handle);
    assert_eq!((chunk.version, chunk.members), (ChunkVersion(1), vec![server(1)]));
    let id = super::members::id_at(handle, ChunkVersion(1), &world.chunk(handle));
    world.hold(
        server(1),
        ChunkStat { id, state: ChunkState::Dirty, length: 5, allocated: 4096, disk: Default::default() },
    );
    repair(&world).await;
    assert_eq!(world.chunk(handle).members, [server(1), server(2)]);
    assert_eq!(versions(&world, handle, &[1, 2]), [Some(2), Some(2)]);
}

#[tokio::test]
async fn a_damaged_copy_is_made_anew_in_place() {
    let world = World::new(2, 2).await;
    let handle = world.chunk_on("f", &[server(1), server(2)], 4096).await;
    world.peers.with(server(1), |fake| fake.damaged.push(handle));
    world.beat(server(1), vec![ChunkChange::Damaged { handle, block: 3 }]);
    repair(&world).await;
    assert!(world.peers.with(server(1), |fake| fake.damaged.is_empty()));
    assert_eq!(world.chunk(handle).members, [server(1), server(2)]);
    assert_eq!(versions(&world, handle, &[1, 2]), [Some(2), Some(2)]);
}

#[tokio::test]
async fn a_copy_that_ends_too_early_is_made_anew() {
    let world = World::new(2, 2).await;
    let handle = world.chunk_on("f", &[server(1), server(2)], 4096).await;
    let mut stat = world.peers.with(server(1), |fake| fake.copies[&handle]);
    // Told before the last commit, and longer by now.
    world.beat(server(1), vec![ChunkChange::Now(ChunkStat { length: 100, ..stat })]);
    repair(&world).await;
    assert_eq!(world.chunk(handle).version, ChunkVersion(1));
    stat.length = 100;
    world.hold(server(1), stat);
    repair(&world).await;
    assert_eq!(world.peers.with(server(1), |fake| fake.copies[&handle].length), 4096);
    assert_eq!(versions(&world, handle, &[1, 2]), [Some(2), Some(2)]);
}

#[tokio::test]
async fn a_complaint_without_ground_changes_nothing() {
    let world = World::new(2, 2).await;
    let handle = world.chunk_on("f", &[server(1), server(2)], 4096).await;
    world.beat(server(1), vec![ChunkChange::Damaged { handle, block: 3 }]);
    repair(&world).await;
    assert_eq!(world.chunk(handle).version, ChunkVersion(1));
}

#[tokio::test]
async fn damage_on_both_sides_is_made_good_block_by_block() {
    let world = World::new(2, 2).await;
    let handle = world.chunk_on("f", &[server(1), server(2)], 4096).await;
    for n in [1, 2] {
        world.peers.with(server(n), |fake| fake.damaged.push(handle));
    }
    world.beat(server(1), vec![ChunkChange::Damaged { handle, block: 3 }]);
    repair(&world).await;
    assert!((1..=2).all(|n| world.peers.with(server(n), |fake| fake.damaged.is_empty())));
}

#[tokio::test]
async fn two_bad_copies_of_three_are_made_anew_one_after_the_other() {
    let world = World::new(3, 3).await;
    let handle = world.chunk_on("f", &[server(1), server(2), server(3)], 4096).await;
    for n in [2, 3] {
        world.peers.with(server(n), |fake| fake.damaged.push(handle));
        world.beat(server(n), vec![ChunkChange::Damaged { handle, block: 3 }]);
    }
    repair(&world).await;
    assert!((1..=3).all(|n| world.peers.with(server(n), |fake| fake.damaged.is_empty())));
    assert_eq!(world.chunk(handle).members.len(), 3);
}

#[tokio::test]
async fn damage_told_of_both_copies_at_once_is_made_good() {
    let world = World::new(2, 2).await;
    let handle = world.chunk_on("f", &[server(1), server(2)], 4096).await;
    for n in [1, 2] {
        world.peers.with(server(n), |fake| fake.damaged.push(handle));
        world.beat(server(n), vec![ChunkChange::Damaged { handle, block: 3 }]);
    }
    repair(&world).await;
    assert!((1..=2).all(|n| world.peers.with(server(n), |fake| fake.damaged.is_empty())));
    assert!(world.cluster.damage.is_empty());
}

#[tokio::test]
async fn what_nobody_has_whole_is_counted_and_tried_again_when_somebody_comes() {
    let world = World::new(3, 2).await;
    let handle = world.chunk_on("f", &[server(1), server(2)], 4096).await;
    for n in [1, 2] {
        world.peers.with(server(n), |fake| {
            fake.damaged.push(handle);
            fake.lost.push(handle);
        });
    }
    world.beat(server(1), vec![ChunkChange::Damaged { handle, block: 3 }]);
    repair(&world).await;
    assert_eq!(world.cluster.damage.chunks(), [handle]);
    let version = world.chunk(handle).version;
    repair(&world).await;
    assert_eq!(world.chunk(handle).version, version, "nothing new to try");
    // One falls silent, and comes back with a good copy.
    world.advance(MINUTE);
    world.beat(server(1), vec![]);
    world.beat(server(3), vec![]);
    repair(&world).await;
    world.peers.with(server(2), |fake| {
        fake.damaged.clear();
        fake.lost.clear();
    });
    world.join(server(2)).await;
    world.beat(server(1), vec![ChunkChange::Damaged { handle, block: 3 }]);
    repair(&world).await;
    assert!(world.peers.with(server(1), |fake| fake.damaged.is_empty()));
    assert!(world.cluster.damage.is_empty());
}

#[tokio::test]
async fn a_missing_copy_that_has_no_room_moves() {
    let world = World::new(3, 2).await;
    let handle = world.chunk_on("f", &[server(1), server(2)], 4096).await;
    world.peers.with(server(2), |fake| {
        fake.copies.clear();
        fake.full = true;
    });
    world.beat(server(2), vec![ChunkChange::Removed(handle)]);
    repair(&world).await;
    assert_eq!(world.chunk(handle).members, [server(1), server(3)]);
}

#[tokio::test]
async fn one_id_at_two_addresses_is_turned_down_while_the_first_answers() {
    let world = World::new(1, 1).await;
    let moved = Registration { endpoint: "elsewhere:1".parse().unwrap(), ..registration(server(1)) };
    let duplicate = ClusterError::DuplicateServer { server: server(1), endpoint: endpoint_of(server(1)) };
    assert_eq!(super::reports::register(&world.cluster, &moved).await, Err(duplicate));
    world.peers.with(server(1), |fake| fake.silent = true);
    assert_eq!(super::reports::register(&world.cluster, &moved).await, Ok(()));
    assert_eq!(world.cluster.registry.endpoint(server(1)), Some(moved.endpoint));
}

#[tokio::test]
async fn a_busy_chunk_is_not_handed_out() {
    let world = World::new(2, 2).await;
    let handle = world.chunk_on("f", &[server(1), server(2)], 4096).await;
    let inode = world.chunk(handle).inode;
    let guard = world.cluster.busy.begin(handle).unwrap();
    assert_eq!(locate(&world.cluster, inode, ChunkIndex(0), 1), Err(FsError::ChunkBusy(handle)));
    drop(guard);
    let location = &locate(&world.cluster, inode, ChunkIndex(0), 1).unwrap()[0];
    assert_eq!(
        location.replicas.iter().map(|r| (r.server, r.up)).collect::<Vec<_>>(),
        [(server(1), true), (server(2), true)]
    );
}

#[tokio::test]
async fn garbage_goes_from_unlink_to_nothing() {
    let world = World::new(2, 2).await;
    let handle = world.chunk_on("f", &[server(1), server(2)], 4096).await;
    world.mutate(unlink("f"), Decided::Nothing).await;
    let mut reaper = Reaper::new(world.state.clone(), world.clients.clone());
    reaper.work().await.unwrap();
    assert!(world.cluster.chunk(handle).unwrap().is_some(), "sessions reclaim first");
    world.advance(TERM);
    for n in [1, 2] {
        world.join(server(n)).await;
    }
    reaper.work().await.unwrap();
    assert_eq!(world.cluster.chunk(handle), Ok(None));

    let mut garbage = GarbageWorker::new(world.cluster.clone());
    let counters = || world.state.read(crate::namespace::query::counters).unwrap();
    garbage.work().await.unwrap();
    assert_eq!(counters().garbage, 1);
    for n in [1, 2] {
        assert_eq!(world.beat(server(n), vec![]), [(handle, ChunkVersion(1))]);
        world.beat(server(n), vec![ChunkChange::Removed(handle)]);
    }
    garbage.work().await.unwrap();
    assert_eq!((counters().garbage, counters().inodes), (0, 1));
    assert_eq!(world.cluster.orders.waiting(), 0);
}

/// It was cut off, and never had to register anew.
#[tokio::test]
async fn garbage_of_a_server_that_was_lost_goes_when_it_is_heard_again() {
    let world = World::new(2, 2).await;
    let handle = world.chunk_on("f", &[server(1), server(2)], 4096).await;
    world.mutate(unlink("f"), Decided::Nothing).await;
    world.advance(TERM.max(2 * MINUTE));
    world.beat(server(1), vec![]);
    Reaper::new(world.state.clone(), world.clients.clone()).work().await.unwrap();
    let mut garbage = GarbageWorker::new(world.cluster.clone());
    garbage.work().await.unwrap();
    assert_eq!(world.beat(server(1), vec![]), [(handle, ChunkVersion(1))]);
    world.beat(server(1), vec![ChunkChange::Removed(handle)]);
    garbage.work().await.unwrap();
    assert_eq!(world.state.read(crate::namespace::query::counters).unwrap().garbage, 0, "it is not waited for");
    assert_eq!(world.beat(server(2), vec![]), [(handle, ChunkVersion(1))]);
    world.beat(server(2), vec![ChunkChange::Removed(handle)]);
    assert_eq!(world.cluster.orders.waiting(), 0);
}

#[tokio::test]
async fn a_copy_of_no_use_goes_when_all_is_well_with_its_chunk() {
    let world = World::new(3, 2).await;
    let handle = world.chunk_on("f", &[server(1), server(2)], 4096).await;
    world.advance(Thresholds::default().suspect_after * 2);
    // Heard of while the members are not.
    let stray = world.peers.with(server(1), |fake| fake.copies[&handle]);
    world.hold(server(3), stray);
    let mut worker = LeftWorker::new(world.cluster.clone());
    worker.work().await.unwrap();
    assert_eq!(world.beat(server(3), vec![]), [], "it may be the best there is");
    assert_eq!(world.cluster.left.len(), 1);
    for n in [1, 2] {
        world.beat(server(n), vec![]);
    }
    worker.work().await.unwrap();
    assert_eq!(world.beat(server(3), vec![]), [(handle, stray.id.version)]);
    assert!(world.cluster.left.is_empty());
}

#[tokio::test]
async fn what_is_open_is_not_reaped() {
    let world = World::new(1, 1).await;
    let handle = world.chunk_on("f", &[server(1)], 4096).await;
    let inode = world.chunk(handle).inode;
    world.clients.files.open(world.session, inode, false).unwrap();
    world.mutate(unlink("f"), Decided::Nothing).await;
    world.advance(TERM);
    let mut reaper = Reaper::new(world.state.clone(), world.clients.clone());
    reaper.work().await.unwrap();
    assert!(world.cluster.chunk(handle).unwrap().is_some());
    world.clients.files.release(world.session, &[inode]);
    reaper.work().await.unwrap();
    assert_eq!(world.cluster.chunk(handle), Ok(None));
    assert_eq!(world.clients.files.open(world.session, inode, false), Ok(()), "nothing is left marked");
}

#[tokio::test]
async fn a_dirty_chunk_without_a_writer_is_reconciled() {
    let world = World::new(2, 2).await;
    let handle = world.chunk_on("f", &[server(1), server(2)], 4096).await;
    let inode = world.chunk(handle).inode;
    let mut stat = world.peers.with(server(1), |fake| fake.copies[&handle]);
    stat.state = ChunkState::Dirty;
    world.hold(server(1), stat);
    world.clients.files.open(world.session, inode, true).unwrap();

    let mut worker = ReconcileWorker::new(world.cluster.clone(), world.clients.clone(), MINUTE / 2);
    world.advance(MINUTE);
    let run = async |worker: &mut ReconcileWorker| {
        for n in [1, 2] {
            world.beat(server(n), vec![]);
        }
        for _ in 0..3 {
            worker.work().await.unwrap();
        }
        world.chunk(handle).version
    };
    assert_eq!(run(&mut worker).await, ChunkVersion(1), "a writer has it open");
    world.clients.files.release(world.session, &[inode]);
    assert_eq!(run(&mut worker).await, ChunkVersion(2));
    assert_eq!(world.peers.with(server(1), |fake| fake.copies[&handle].state), ChunkState::Clean);
    assert_eq!(run(&mut worker).await, ChunkVersion(2));
    assert!(world.cluster.registry.dirty().is_empty());
}

#[tokio::test]
async fn the_census_counts() {
    let world = World::new(2, 2).await;
    world.chunk_on("a", &[server(1), server(2)], 4096).await;
    world.chunk_on("b", &[server(2)], 4096).await;
    let census = std::sync::Arc::new(Census::default());
    assert_eq!(census.counts(2, 0, 0, world.cluster.now()).counted_ms, None);
    let mut worker = CensusWorker::new(world.cluster.clone(), census.clone(), MINUTE);
    worker.work().await.unwrap();
    let tally = census.last();
    assert_eq!((tally.below_target, tally.unavailable, tally.dirty), (1, 0, 0));
    assert_eq!((tally.held[&server(1)].copies, tally.held[&server(2)].copies), (1, 2));
    world.advance(MINUTE / 2);
    assert_eq!(census.counts(2, 0, 0, world.cluster.now()).counted_ms, Some(30_000));
    world.beat(server(1), vec![]);
    worker.work().await.unwrap();
    let tally = census.last();
    assert_eq!((tally.below_target, tally.unavailable), (2, 1), "a change of a server's state is counted at once");
}

fn unlink(name: &str) -> Mutation {
    Mutation::Unlink { parent: cairn_proto::ids::InodeId::ROOT, name: Name::new(name).unwrap() }
}
