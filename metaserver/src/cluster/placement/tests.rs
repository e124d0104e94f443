use std::collections::{HashMap, HashSet};

use rand::SeedableRng;
use rand::rngs::StdRng;
use uuid::Uuid;

use super::place::Places;
use super::*;

const GIB: u64 = 1 << 30;

fn server(n: u128) -> ServerId {
    ServerId(Uuid::from_u128(n))
}

/// Servers with so much free and so many requests, at labels.
fn roster(servers: &[(u128, u64, u32, &str)]) -> (Roster, Places) {
    let places = Places::default();
    let candidate = |&(n, free, load, labels): &(u128, u64, u32, &str)| {
        let labels = labels.parse().unwrap();
        let place = places.of(server(n), &labels);
        Candidate::new(server(n), free, load, place, labels)
    };
    (servers.iter().map(candidate).collect(), places)
}

fn demand<'a>(copies: u8, placement: &'a Placement, exclude: &'a [ServerId]) -> Demand<'a> {
    Demand { copies, placement, beside: &[], exclude, reserve: 0 }
}

/// `racks` racks of `hosts` servers each, in zones of two racks.
fn racks(racks: u128, hosts: u128) -> Roster {
    let labels: Vec<_> =
        (0..racks * hosts).map(|n| format!("zone=z{},rack=r{},host=h{n}", n / hosts / 2, n / hosts)).collect();
    let servers: Vec<_> = (0..).zip(&labels).map(|(n, labels)| (n, GIB, 0, labels.as_str())).collect();
    roster(&servers).0
}

fn rack_of(roster: &Roster, server: ServerId) -> u32 {
    roster.get(server).unwrap().place.domain(Domain::Rack)
}

#[test]
fn never_two_copies_on_one_server() {
    let anywhere = Placement::default();
    let mut rng = StdRng::seed_from_u64(1);
    for copies in 1..=9 {
        let (all, _) = roster(&[(0, GIB, 0, ""), (1, GIB, 0, ""), (2, GIB, 0, ""), (3, GIB, 0, ""), (4, GIB, 0, "")]);
        let chosen = choose(&all, &demand(copies, &anywhere, &[]), &mut rng).unwrap();
        assert_eq!(chosen.len(), usize::from(copies).min(5));
        assert_eq!(chosen.iter().collect::<HashSet<_>>().len(), chosen.len());
    }
}

#[test]
fn never_two_copies_on_one_host_not_even_where_it_is_all_there_is() {
    let (all, places) = roster(&[(1, GIB, 0, "host=a"), (2, GIB, 0, "host=a"), (3, 10, 0, "host=b")]);
    let loose = Placement { loose: true, ..Placement::default() };
    let mut rng = StdRng::seed_from_u64(1);
    for _ in 0..50 {
        let chosen = choose(&all, &demand(3, &loose, &[]), &mut rng).unwrap();
        assert_eq!(chosen.len(), 2);
        assert!(chosen.contains(&server(3)));
    }
    let taken = [places.of(server(9), &"host=a".parse().unwrap())];
    let beside = Demand { beside: &taken, ..demand(2, &loose, &[]) };
    assert_eq!(choose(&all, &beside, &mut rng), Ok(vec![server(3)]));
}

#[test]
fn tells_a_full_cluster_from_an_absent_one() {
    let anywhere = Placement::default();
    let mut rng = StdRng::seed_from_u64(1);
    let chosen = |roster: &Roster, reserve, exclude: &[ServerId]| {
        choose(roster, &Demand { reserve, ..demand(2, &anywhere, exclude) }, &mut StdRng::seed_from_u64(1))
    };
    assert_eq!(choose(&Roster::default(), &demand(2, &anywhere, &[]), &mut rng), Err(FsError::NoServers));
    let (full, _) = roster(&[(1, 10, 0, ""), (2, 0, 0, "")]);
    assert_eq!(chosen(&full, 10, &[]), Err(FsError::NoSpace));
    assert_eq!(chosen(&full, 9, &[]), Ok(vec![server(1)]));
    assert_eq!(chosen(&full, 9, &[server(1)]), Err(FsError::NoSpace));
    assert_eq!(chosen(&full, 9, &[server(1), server(2)]), Err(FsError::NoServers));
}

#[test]
fn the_free_and_idle_get_more() {
    let anywhere = Placement::default();
    let mut rng = StdRng::seed_from_u64(7);
    let mut counts: HashMap<ServerId, u32> = HashMap::new();
    for _ in 0..3000 {
        let servers = [(1, 10 * GIB, 0, ""), (2, GIB, 0, ""), (3, 10 * GIB, 99, ""), (4, 10 * GIB, 0, "")];
        let chosen = choose(&roster(&servers).0, &demand(1, &anywhere, &[]), &mut rng).unwrap();
        *counts.entry(chosen[0]).or_default() += 1;
    }
    // Of six equally likely pairs, server 3 wins none, server 2 only the one against it.
    assert_eq!(counts.get(&server(3)), None);
    assert!((400..600).contains(&counts[&server(2)]), "{counts:?}");
    assert!(counts[&server(1)] > 1000 && counts[&server(4)] > 1000, "{counts:?}");
}

#[test]
fn what_was_just_placed_counts_as_load() {
    let anywhere = Placement::default();
    let (all, _) = roster(&[(1, GIB, 0, ""), (2, GIB, 0, "")]);
    let mut rng = StdRng::seed_from_u64(3);
    let mut counts = HashMap::<ServerId, i32>::new();
    for _ in 0..100 {
        *counts.entry(choose(&all, &demand(1, &anywhere, &[]), &mut rng).unwrap()[0]).or_default() += 1;
    }
    assert!((counts[&server(1)] - counts[&server(2)]).abs() <= 1, "{counts:?}");
}

#[test]
fn copies_are_spread_over_zones_then_racks() {
    let anywhere = Placement::default();
    let mut rng = StdRng::seed_from_u64(5);
    // Few servers, which are all looked at, and many, of which some are drawn.
    for (all, zones) in [(racks(4, 3), 2), (racks(20, 30), 10)] {
        for _ in 0..200 {
            let chosen = choose(&all, &demand(4, &anywhere, &[]), &mut rng).unwrap();
            let places: Vec<_> = chosen.iter().map(|&s| all.get(s).unwrap().place).collect();
            let distinct = |domain| places.iter().map(|p| p.domain(domain)).collect::<HashSet<_>>().len();
            assert_eq!((distinct(Domain::Zone), distinct(Domain::Rack)), (4.min(zones), 4));
            assert_eq!(crowding(&places, &anywhere, &all.domains(&anywhere)), 0);
        }
    }
}

#[test]
fn more_copies_than_racks_are_spread_evenly() {
    let by_rack = Placement { spread: Some(Domain::Rack), ..Placement::default() };
    let all = racks(2, 4);
    let mut rng = StdRng::seed_from_u64(5);
    for _ in 0..100 {
        let chosen = choose(&all, &demand(4, &by_rack, &[]), &mut rng).unwrap();
        let first = rack_of(&all, chosen[0]);
        assert_eq!(chosen.iter().filter(|&&s| rack_of(&all, s) == first).count(), 2);
    }
}

#[test]
fn what_must_be_shared_is_known_beforehand() {
    // Two zones of two racks each; all servers of one region.
    let all = racks(4, 10);
    let at = |n: u128| all.get(server(n)).unwrap().place;
    let shared = |copies: &[Place]| {
        [Domain::Region, Domain::Zone, Domain::Rack].map(|domain| all.shared_at_least(domain, copies))
    };
    assert_eq!(shared(&[]), [0, 0, 0]);
    assert_eq!(shared(&[at(0)]), [1, 0, 0]);
    assert_eq!(shared(&[at(0), at(25)]), [2, 1, 0]);
    assert_eq!(shared(&[at(0), at(25), at(26)]), [3, 1, 0]);
    assert_eq!(shared(&[at(0), at(11), at(25), at(35), at(36)]), [5, 2, 1]);
    // Where nobody stands any more nobody shares anything.
    let (left, places) = roster(&[(1, GIB, 0, "")]);
    let elsewhere = ["zone=a,rack=1", "zone=b,rack=1", "zone=c,rack=1", "zone=d,rack=1", "zone=e,rack=1"];
    let gone: Vec<Place> = (50..).zip(elsewhere).map(|(n, l)| places.of(server(n), &l.parse().unwrap())).collect();
    assert_eq!(left.shared_at_least(Domain::Host, &gone), 0);
}

#[test]
fn among_many_servers_of_one_zone_copies_are_spread_over_racks() {
    let labels: Vec<_> = (0..200).map(|n| format!("zone=z,rack=r{},host=h{n}", n / 10)).collect();
    let servers: Vec<_> = (0..).zip(&labels).map(|(n, labels)| (n, GIB, 0, labels.as_str())).collect();
    let (all, _) = roster(&servers);
    let mut rng = StdRng::seed_from_u64(4);
    for _ in 0..200 {
        let chosen = choose(&all, &demand(3, &Placement::default(), &[]), &mut rng).unwrap();
        let racks: HashSet<_> = chosen.iter().map(|&server| rack_of(&all, server)).collect();
        assert_eq!(racks.len(), 3);
    }
}

#[test]
fn new_copies_stay_away_from_those_that_are_there() {
    let anywhere = Placement::default();
    let all = racks(2, 3);
    let there = [all.get(server(0)).unwrap().place];
    let mut rng = StdRng::seed_from_u64(5);
    for _ in 0..50 {
        let chosen = choose(&all, &Demand { beside: &there, ..demand(1, &anywhere, &[server(0)]) }, &mut rng).unwrap();
        assert_ne!(rack_of(&all, chosen[0]), rack_of(&all, server(0)));
    }
}

#[test]
fn demanded_labels_are_kept_unless_that_is_loose() {
    let (all, _) = roster(&[(1, GIB, 0, "class=ssd,host=a"), (2, GIB, 0, "class=hdd,host=b")]);
    let on = |class: &str, loose| Placement { on: class.parse().unwrap(), loose, ..Placement::default() };
    let mut rng = StdRng::seed_from_u64(5);
    let mut chosen = |placement: &Placement| choose(&all, &demand(2, placement, &[]), &mut rng);
    assert_eq!(chosen(&on("class=ssd", false)), Ok(vec![server(1)]));
    assert_eq!(chosen(&on("class=nvme", false)), Err(FsError::NoServers));
    assert_eq!(chosen(&on("class=nvme", true)).unwrap().len(), 2);
}

#[test]
fn crowding_is_what_could_be_better() {
    let anywhere = Placement::default();
    let all = racks(2, 3);
    let domains = all.domains(&anywhere);
    let at = |servers: &[u128]| -> Vec<Place> { servers.iter().map(|&n| all.get(server(n)).unwrap().place).collect() };
    assert_eq!(crowding(&at(&[0, 3]), &anywhere, &domains), 0);
    assert_eq!(crowding(&at(&[0, 1]), &anywhere, &domains), 1, "one rack, and there are two");
    assert_eq!(crowding(&at(&[0, 1, 3]), &anywhere, &domains), 0, "three copies in two racks");
    assert_eq!(crowding(&at(&[0, 1, 2]), &anywhere, &domains), 1);
}

#[test]
fn what_is_kept_of_too_many_is_spread_best() {
    let anywhere = Placement::default();
    let all = racks(2, 3);
    let places: Vec<_> = [0, 1, 3, 2].iter().map(|&n| Some(all.get(server(n)).unwrap().place)).collect();
    assert_eq!(best_spread(&places, &anywhere, 2), [0, 2]);
    assert_eq!(best_spread(&places, &anywhere, 3), [0, 1, 2]);
    assert_eq!(best_spread(&places, &anywhere, 9), [0, 1, 2, 3]);
}

#[test]
fn a_copy_moves_only_where_that_helps() {
    let anywhere = Placement::default();
    let all = racks(2, 3);
    let mut rng = StdRng::seed_from_u64(5);
    let mut worst = |servers: &[u128], placement: &Placement| {
        let copies: Vec<_> = servers
            .iter()
            .map(|&n| all.get(server(n)).unwrap())
            .map(|c| (c.server, c.place, c.labels.satisfy(&placement.on)))
            .collect();
        worst_placed(&all, &copies, placement, 0, &mut rng)
    };
    assert_eq!(worst(&[0, 1], &anywhere), Some(server(0)));
    assert_eq!(worst(&[0, 3], &anywhere), None);
    assert_eq!(worst(&[0, 1, 3], &anywhere), None);
    let in_second = Placement { on: "rack=r1".parse().unwrap(), ..Placement::default() };
    assert_eq!(worst(&[0, 3], &in_second), Some(server(0)));
    assert_eq!(worst(&[4, 3], &in_second), None);
}
