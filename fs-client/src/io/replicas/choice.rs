//! Which copies to ask, and in which order. Pure.
//!
//! First those whose server is not found wanting, then the nearest, then whoever has answered quickly of late; and among those that
//! are about as quick a different one for each reader and each part of a file.

use std::time::Duration;

use cairn_proto::labels::{Domain, Labels};
use serde::Serialize;

use super::breaker::Admission;

/// Servers are told apart by their speed as if each took so much longer: what is less is noise.
const RESOLUTION: Duration = Duration::from_micros(500);

/// How far away a server is: the narrowest failure domain that it shares with this mount.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Distance {
    Host,
    Rack,
    Zone,
    Region,
    /// None, or it is not known.
    Elsewhere,
}

impl Distance {
    /// By labels. Names of hosts are unique; a rack is one of its zone, a zone one of its region, as far as both say in which they are.
    pub fn between(ours: &Labels, theirs: &Labels) -> Self {
        let both = |domain| Some((ours.domain(domain)?, theirs.domain(domain)?));
        if both(Domain::Host).is_some_and(|(ours, theirs)| ours == theirs) {
            return Self::Host;
        }
        let mut shared = Self::Elsewhere;
        for (domain, distance) in
            [(Domain::Region, Self::Region), (Domain::Zone, Self::Zone), (Domain::Rack, Self::Rack)]
        {
            match both(domain) {
                Some((ours, theirs)) if ours == theirs => shared = distance,
                Some(_) => return shared,
                None => {}
            }
        }
        shared
    }
}

/// One copy, as a reader sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    /// Its place among the members of the chunk.
    pub member: usize,
    pub admission: Admission,
    /// The metaserver heard from its server when it was asked.
    pub up: bool,
    pub distance: Distance,
    /// What a read there takes.
    pub estimate: Duration,
    /// Drawn for this reader, this part of this chunk, and this server.
    pub turn: u32,
}

impl Candidate {
    /// The least is the best.
    fn rank(&self) -> (bool, bool, Duration, Distance, u128) {
        let (is_open, hold) = match self.admission {
            Admission::Closed | Admission::Due(_) => (false, Duration::ZERO),
            Admission::Open(hold) => (true, hold),
        };
        (is_open, !self.up, hold, self.distance, self.cost())
    }

    /// What a read takes, times one to two: who is less than twice as fast as another is not asked always.
    fn cost(&self) -> u128 {
        (self.estimate + RESOLUTION).as_nanos() * ((1 << 32) + u128::from(self.turn))
    }
}

/// Puts candidates into the order in which to ask them. Answers whether the first one is to be probed: it would be the first if it were
/// sound. Nobody is left out, so that where all are found wanting the best of them is asked.
pub(super) fn order(candidates: &mut [Candidate]) -> bool {
    candidates.sort_by_key(Candidate::rank);
    let Some((first, rest)) = candidates.split_first_mut() else { return false };
    let mut again = false;
    for other in &mut *rest {
        if let Admission::Due(hold) = other.admission {
            (other.admission, again) = (Admission::Open(hold), true);
        }
    }
    if again {
        rest.sort_by_key(Candidate::rank);
    }
    matches!(first.admission, Admission::Due(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn candidate(member: usize) -> Candidate {
        Candidate {
            member,
            admission: Admission::Closed,
            up: true,
            distance: Distance::Elsewhere,
            estimate: Duration::from_millis(1),
            turn: 0,
        }
    }

    fn ordered(mut candidates: Vec<Candidate>) -> (Vec<usize>, bool) {
        let probe = order(&mut candidates);
        (candidates.iter().map(|candidate| candidate.member).collect(), probe)
    }

    #[test]
    fn distances() {
        let between = |ours: &str, theirs: &str| Distance::between(&ours.parse().unwrap(), &theirs.parse().unwrap());
        for (ours, theirs, distance) in [
            ("host=a,rack=r1", "host=a,rack=r2", Distance::Host),
            ("host=a,rack=r1", "host=b,rack=r1", Distance::Rack),
            ("host=a,rack=r1", "host=b,rack=r1,zone=z1", Distance::Rack),
            ("rack=r1,zone=z1", "rack=r1,zone=z2", Distance::Elsewhere),
            ("rack=r1,zone=z1", "rack=r2,zone=z1", Distance::Zone),
            ("rack=r1,zone=z1,region=e", "rack=r1,zone=z2,region=e", Distance::Region),
            ("region=e", "region=e,zone=z1", Distance::Region),
            ("region=e,zone=z1", "region=w,zone=z1", Distance::Elsewhere),
            ("class=ssd", "class=ssd", Distance::Elsewhere),
            ("", "", Distance::Elsewhere),
        ] {
            assert_eq!(between(ours, theirs), distance, "{ours} {theirs}");
        }
    }

    #[test]
    fn sound_then_up_then_near_then_quick() {
        let open = Candidate { admission: Admission::Open(SECOND), distance: Distance::Host, ..candidate(0) };
        let down = Candidate { up: false, distance: Distance::Host, ..candidate(1) };
        let near = Candidate { distance: Distance::Rack, estimate: SECOND, ..candidate(2) };
        let quick = candidate(3);
        let slow = Candidate { estimate: SECOND, ..candidate(4) };
        assert_eq!(ordered(vec![open, slow, down, quick, near]), (vec![2, 3, 4, 1, 0], false));
    }

    #[test]
    fn who_is_about_as_quick_gets_a_turn_and_who_is_not_does_not() {
        let quick = |turn| Candidate { turn, ..candidate(0) };
        let slower =
            |factor, turn| Candidate { estimate: Duration::from_millis(1) * factor / 10, turn, ..candidate(1) };
        assert_eq!(ordered(vec![quick(u32::MAX), slower(20, 0)]).0, [1, 0]);
        assert_eq!(ordered(vec![quick(0), slower(20, u32::MAX)]).0, [0, 1]);
        assert_eq!(ordered(vec![quick(u32::MAX), slower(30, 0)]).0, [0, 1]);
        let noise = |us| Candidate { estimate: Duration::from_micros(us), ..candidate(us as usize) };
        let (loud, soft) = (noise(100), Candidate { turn: u32::MAX, ..noise(10) });
        assert_eq!(ordered(vec![loud, soft]).0, [100, 10], "a tenth of a millisecond more or less");
    }

    #[test]
    fn where_all_are_found_wanting_the_least_bad_is_asked() {
        let open = |member, hold| Candidate { admission: Admission::Open(hold), ..candidate(member) };
        let (worse, bad) = (open(0, 4 * SECOND), open(1, SECOND));
        assert_eq!(ordered(vec![worse, bad]), (vec![1, 0], false));
    }

    #[test]
    fn a_probe_goes_to_whom_it_would_be_read_from() {
        let due = |member, distance| Candidate { admission: Admission::Due(SECOND), distance, ..candidate(member) };
        let near = Candidate { distance: Distance::Rack, ..candidate(1) };
        assert_eq!(ordered(vec![near, due(0, Distance::Host), candidate(2)]), (vec![0, 1, 2], true));
        assert_eq!(ordered(vec![due(0, Distance::Zone), candidate(2), near]), (vec![1, 2, 0], false));
        let both = vec![due(0, Distance::Host), due(3, Distance::Rack), near];
        assert_eq!(ordered(both), (vec![0, 1, 3], true), "one at a time");
        assert_eq!(ordered(Vec::new()), (Vec::new(), false));
    }
}
