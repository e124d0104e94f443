use std::time::Duration;

use cairn_proto::chunk::ChunkId;
use cairn_proto::ids::{ChunkIndex, ChunkVersion, InodeId};

use super::*;
use crate::testing::{registration, server};

const START: Moment = Moment::from_secs(1000);

fn secs(n: u64) -> Moment {
    START + Duration::from_secs(n)
}

fn stat(handle: u64, version: u32, state: ChunkState) -> ChunkStat {
    let handle = ChunkHandle(handle);
    let id = ChunkId { handle, version: ChunkVersion(version), inode: InodeId(2), index: ChunkIndex(0) };
    ChunkStat { id, state, length: 9, allocated: 4096, disk: Default::default() }
}

fn beat(registry: &Registry, seq: u64, changes: Vec<ChunkChange>, now: Moment) -> Result<Beat, ClusterError> {
    let heartbeat = Heartbeat {
        server: server(1),
        seq,
        space: registration(server(1)).space,
        load: 5,
        changes,
        disks: Vec::new(),
        scrub: Default::default(),
    };
    registry.heartbeat(&heartbeat, now)
}

/// With server 1 registered, and its report of the given chunks complete.
fn with_report(chunks: Vec<ChunkStat>) -> Registry {
    let registry = Registry::new(Thresholds::default(), Vec::new(), START);
    registry.register(&registration(server(1)), START);
    registry.report(&Report { server: server(1), chunks, last: true }, START).unwrap();
    registry
}

fn version_of(registry: &Registry, handle: u64) -> Option<u32> {
    registry.member(server(1), ChunkHandle(handle), START).copy.map(|copy| copy.version.0)
}

#[test]
fn joins_by_reporting() {
    let registry = Registry::new(Thresholds::default(), Vec::new(), START);
    let unknown = Err(ClusterError::UnknownServer(server(1)));
    assert_eq!(beat(&registry, 1, vec![], START), unknown);
    registry.register(&registration(server(1)), START);
    assert_eq!(registry.states(START), [(server(1), ServerState::Joining)]);
    assert!(registry.roster(START).candidates().is_empty(), "nothing is placed on it before it is known what it has");
    let page = |chunks, last| Report { server: server(1), chunks, last };
    registry.report(&page(vec![stat(1, 1, ChunkState::Clean)], false), START).unwrap();
    assert!(!registry.member(server(1), ChunkHandle(2), START).reported);
    registry.report(&page(vec![stat(2, 1, ChunkState::Clean)], true), START).unwrap();
    assert_eq!(registry.states(START), [(server(1), ServerState::Healthy)]);
    assert_eq!(
        (version_of(&registry, 1), version_of(&registry, 2), version_of(&registry, 3)),
        (Some(1), Some(1), None)
    );
    assert!(registry.member(server(1), ChunkHandle(3), START).reported);
}

#[test]
fn servers_of_an_earlier_run_are_expected_until_they_register() {
    let known = Known::from(&registration(server(1)));
    let registry = Registry::new(Thresholds::default(), vec![known], START);
    assert!(registry.is_expected(server(1)) && !registry.is_expected(server(2)));
    registry.register(&registration(server(1)), START);
    assert!(!registry.is_expected(server(1)));
    registry.goodbye(server(1), START);
    let announced = ServerMode::Maintenance { until: Timestamp { secs: 600, nanos: 0 }, announced: true };
    registry.set_mode(server(1), announced, Timestamp::default(), START);
    assert!(!registry.is_expected(server(1)), "it is known to be away");
}

#[test]
fn a_new_report_takes_the_place_of_the_old_one() {
    let registry = with_report(vec![stat(1, 1, ChunkState::Clean), stat(2, 1, ChunkState::Clean)]);
    registry.register(&registration(server(1)), secs(1));
    assert_eq!(version_of(&registry, 1), Some(1), "what was known counts until the report is complete");
    registry
        .report(&Report { server: server(1), chunks: vec![stat(2, 3, ChunkState::Clean)], last: true }, secs(1))
        .unwrap();
    assert_eq!((version_of(&registry, 1), version_of(&registry, 2)), (None, Some(3)));
}

#[test]
fn a_heartbeat_counts_once() {
    let registry = with_report(vec![]);
    assert_eq!(beat(&registry, 1, vec![ChunkChange::Now(stat(1, 2, ChunkState::Dirty))], secs(1)), Ok(Beat::Fresh));
    assert_eq!(beat(&registry, 2, vec![ChunkChange::Removed(ChunkHandle(1))], secs(2)), Ok(Beat::Fresh));
    let again = beat(&registry, 1, vec![ChunkChange::Now(stat(1, 2, ChunkState::Dirty))], secs(3));
    assert_eq!((again, version_of(&registry, 1)), (Ok(Beat::Repeated), None));
    assert_eq!(registry.dirty().list(), [(ChunkHandle(1), Some(secs(1)))]);
}

#[test]
fn silence_counts_from_the_last_sign_of_life() {
    let registry = with_report(vec![]);
    let at = |now| (registry.standing(server(1), now), registry.roster(now).candidates().len());
    assert_eq!(at(secs(9)), (Standing::Up, 1));
    assert_eq!(at(secs(10)), (Standing::Away, 0));
    assert_eq!(at(secs(60)), (Standing::Lost, 0));
    beat(&registry, 1, vec![], secs(61)).unwrap();
    assert_eq!(at(secs(61)), (Standing::Up, 1));
    registry.goodbye(server(1), secs(62));
    assert_eq!(at(secs(62)), (Standing::Away, 0));
    assert_eq!(beat(&registry, 2, vec![], secs(63)), Err(ClusterError::UnknownServer(server(1))));
}

#[test]
fn members_never_heard_of_get_the_time_of_a_silent_one() {
    let known =
        Known { server: server(2), name: "two".into(), endpoint: "h:1".parse().unwrap(), labels: Labels::default() };
    let registry = Registry::new(Thresholds::default(), vec![known], START);
    for n in [2, 3] {
        assert_eq!(registry.standing(server(n), secs(59)), Standing::Away);
        assert_eq!(registry.standing(server(n), secs(60)), Standing::Lost);
    }
    assert_eq!((registry.name(server(2)), registry.name(server(3))), ("two".into(), server(3).to_string()));
    assert_eq!(registry.replica(server(2), START).endpoint, "h:1".parse().unwrap());
    assert!(!registry.replica(server(3), START).up);
}

#[test]
fn placed_copies_count_as_load_until_the_next_heartbeat() {
    let registry = with_report(vec![]);
    registry.count_placed(&[server(1), server(1)]);
    let load = |now| registry.roster(now).candidates()[0].load();
    assert_eq!(load(secs(1)), 2);
    beat(&registry, 1, vec![], secs(2)).unwrap();
    assert_eq!(load(secs(2)), 5);
    registry.roster(secs(2)).candidates()[0].count_placed();
    assert_eq!(load(secs(2)), 6, "the roster itself counts, too");
    assert_eq!(registry.space(START).free, 90 << 30);
    assert_eq!(registry.space(secs(20)).total, 0);
}

#[test]
fn who_leaves_or_is_maintained_gets_nothing_new() {
    let registry = with_report(vec![stat(1, 1, ChunkState::Clean)]);
    let wall = Timestamp { secs: 5000, nanos: 0 };
    let at = |now| (registry.states(now)[0].1, registry.roster(now).candidates().len());
    registry.set_mode(server(1), ServerMode::Draining, wall, START);
    assert_eq!(at(START), (ServerState::Draining, 0));
    assert!(registry.member(server(1), ChunkHandle(1), START).leaving);
    assert!(registry.expected(START).candidates().is_empty());
    let until = Timestamp { secs: 5300, nanos: 0 };
    registry.set_mode(server(1), ServerMode::Maintenance { until, announced: false }, wall, START);
    assert_eq!(at(START), (ServerState::Maintenance, 0));
    assert_eq!(registry.expected(secs(299)).candidates().len(), 1, "it is to come back");
    assert_eq!(registry.standing(server(1), secs(299)), Standing::Away);
    assert_eq!(registry.standing(server(1), secs(300)), Standing::Lost);
    registry.set_mode(server(1), ServerMode::InService, wall, START);
    assert_eq!(at(START), (ServerState::Healthy, 1));
}
