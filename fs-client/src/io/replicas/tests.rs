use std::collections::HashSet;
use std::time::SystemTime;

use cairn_proto::chunk::ChunkId;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, ChunkVersion, InodeId};
use cairn_runtime::clock::ManualClock;

use super::*;

struct Bench {
    clock: Arc<ManualClock>,
    replicas: Replicas,
    location: ChunkLocation,
}

fn bench(endpoints: &[&str], labels: &str) -> Bench {
    let clock = Arc::new(ManualClock::new(SystemTime::UNIX_EPOCH));
    clock.advance(Duration::from_secs(1000));
    let config = IoConfig { labels: labels.parse().unwrap(), ..IoConfig::default() };
    let replica = |e: &&str| Replica { server: ServerId::random(), endpoint: e.parse().unwrap(), up: true };
    let id = ChunkId { handle: ChunkHandle(1), version: ChunkVersion::FIRST, inode: InodeId(2), index: ChunkIndex(0) };
    let location = ChunkLocation { id, length: 0, trimmed_at: None, replicas: endpoints.iter().map(replica).collect() };
    Bench { replicas: Replicas::new(&config, clock.clone()), clock, location }
}

impl Bench {
    fn plan(&self) -> Plan {
        self.replicas.plan(&self.location, 0, 4096)
    }

    /// Which member would be asked first.
    fn first(&self) -> usize {
        self.plan().next().unwrap()
    }

    fn server(&self, member: usize) -> ServerId {
        self.location.replicas[member].server
    }

    fn place(&self, labels: &[&str]) {
        let strangers = self.plan().strangers;
        let place =
            |(n, labels): (usize, &&str)| ServerPlace { server: self.server(n), labels: labels.parse().unwrap() };
        let places: Vec<_> = labels.iter().enumerate().map(place).collect();
        self.replicas.placed(&strangers, &places);
    }

    fn answer(&self, member: usize, took: Duration) {
        self.replicas.answered(self.server(member), 4096, self.replicas.now() - took);
    }

    fn fail(&self, member: usize) -> bool {
        self.replicas.failed(self.server(member), self.replicas.now())
    }
}

#[test]
fn who_is_sound_is_asked_before_who_is_near() {
    let mut bench = bench(&["10.0.0.1:1", "unix:/run/a", "10.0.0.2:1"], "host=h");
    assert_eq!(bench.first(), 1);
    bench.location.replicas[1].up = false;
    assert_ne!(bench.first(), 1);
    assert!(bench.fail(0) && bench.fail(2));
    assert!(!bench.fail(0), "that is no news");
    assert_eq!(bench.first(), 1, "down by hearsay is better than failed just now");
    let mut plan = bench.plan();
    assert_eq!(std::iter::from_fn(|| plan.take_next()).count(), 3, "nobody is left out");
}

#[test]
fn spreads_over_copies() {
    let bench = bench(&["10.0.0.1:1", "10.0.0.2:1"], "");
    let first = |handle, offset| {
        let id = ChunkId { handle: ChunkHandle(handle), ..bench.location.id };
        bench.replicas.plan(&ChunkLocation { id, ..bench.location.clone() }, offset, 4096).next()
    };
    assert_eq!((0..64).map(|handle| first(handle, 0)).collect::<HashSet<_>>().len(), 2);
    assert_eq!((0..64).map(|n| first(1, n * STRIPE_BYTES)).collect::<HashSet<_>>().len(), 2);
    assert_eq!(first(1, 0), first(1, STRIPE_BYTES - 1));
}

#[test]
fn labels_are_asked_for_once_and_again_after_a_while() {
    let bench = bench(&["10.0.0.1:1", "10.0.0.2:1"], "rack=r2,host=h");
    assert_eq!(bench.plan().strangers.len(), 2);
    assert!(bench.plan().strangers.is_empty(), "they are being asked for");
    bench.replicas.not_placed();
    assert!(bench.plan().strangers.is_empty());
    bench.clock.advance(PLACE_RETRY);
    bench.place(&["host=a,rack=r1", "host=b,rack=r2"]);
    assert_eq!((bench.plan().strangers, bench.first()), (vec![], 1));
    bench.clock.advance(PLACE_AGE);
    bench.place(&["host=a,rack=r2"]);
    assert!(bench.plan().strangers.is_empty(), "what is not known is asked for no more often");
    let distances = |stats: ReadStats| stats.servers.iter().map(|server| server.distance).collect::<Vec<_>>();
    assert_eq!(distances(bench.replicas.stats()), [Distance::Rack; 2], "and is where it was");
}

#[test]
fn labels_win_over_addresses_but_not_over_sockets() {
    let bench = bench(&["127.0.0.1:1", "unix:/run/a", "h:1"], "host=h");
    bench.replicas.plan(&bench.location, 0, 1).strangers.clear();
    let near = |stats: ReadStats| stats.servers.iter().filter(|server| server.distance == Distance::Host).count();
    assert_eq!(near(bench.replicas.stats()), 3);
    bench.replicas.not_placed();
    bench.clock.advance(PLACE_RETRY);
    bench.place(&["host=c1", "host=c2", "host=c3"]);
    assert_eq!((near(bench.replicas.stats()), bench.first()), (1, 1));
}

#[test]
fn the_quick_one_is_asked_until_the_slow_one_has_had_time_to_recover() {
    let bench = bench(&["10.0.0.1:1", "10.0.0.2:1"], "");
    bench.plan();
    for _ in 0..10 {
        bench.answer(0, Duration::from_millis(50));
        bench.answer(1, Duration::from_millis(5));
    }
    assert_eq!(bench.first(), 1);
    for _ in 0..10 {
        bench.clock.advance(Duration::from_secs(10));
        bench.answer(1, Duration::from_millis(5));
    }
    assert_eq!(bench.first(), 0);
}

#[test]
fn a_probe_is_sent_beside_a_sound_server_and_only_once() {
    let bench = bench(&["unix:/run/a", "10.0.0.2:1"], "");
    bench.plan();
    bench.fail(0);
    assert_eq!((bench.first(), bench.plan().probe), (1, false));
    bench.clock.advance(Duration::from_secs(1));
    let mut order = bench.replicas.order(&bench.location);
    assert_eq!((order.probe, order.take_next()), (false, Some(1)), "only reads are probes");
    let mut probe = bench.plan();
    assert_eq!((probe.probe, probe.take_next(), probe.take_sound()), (true, Some(0), Some(1)));
    assert_eq!((bench.first(), bench.plan().probe), (1, false));
    bench.answer(0, Duration::ZERO);
    assert_eq!(bench.first(), 0);
}

#[test]
fn second_servers_cost_budget_unless_the_first_is_found_silent() {
    let bench = bench(&["unix:/run/a", "10.0.0.2:1"], "");
    bench.plan();
    let second = || bench.replicas.second(bench.server(0), bench.server(1));
    let burst = HedgeLimits::default().burst;
    assert!((0..burst).all(|_| second() == Second::Hedge));
    assert_eq!(second(), Second::No);
    for _ in 0..3 {
        bench.replicas.hedge_won(Some(bench.server(0)));
    }
    assert_eq!(second(), Second::MoveOn);
    bench.fail(1);
    assert_eq!(second(), Second::No, "it is no better");
    let stats = bench.replicas.stats();
    assert_eq!((stats.hedges.sent, stats.hedges.won, stats.moved_on), (u64::from(burst), 3, 1));
}
