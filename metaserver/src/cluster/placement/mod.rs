//! Which servers get a new copy.
//!
//! Failure domains come first: never two copies on one host, and as few as can be in one zone and one rack (or whatever domain the
//! policy asks to spread over). Among the servers that are equally good in that, the power of two choices by free space and load:
//! two candidates drawn at random, and the better of the two taken, spread almost as well as a full sort, and do not send everybody
//! to the one server that was emptiest at the last heartbeat (Mitzenmacher, 2001).

pub mod place;
pub mod roster;

use cairn_proto::error::FsError;
use cairn_proto::ids::ServerId;
use cairn_proto::labels::Domain;
use cairn_proto::policy::Placement;
use rand::Rng;
use rand::seq::index;

use place::Place;
use roster::{Candidate, DomainCounts, Roster};

/// Candidates drawn before all of them are looked at. Where there are many servers and domains, two good ones are among so many.
const DRAWS: usize = 12;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// New copies.
    pub copies: u8,
    pub placement: &'a Placement,
    /// Where the chunk is already: their hosts are taken, and the new copies are spread away from them.
    pub beside: &'a [Place],
    /// Servers that are not to be chosen.
    pub exclude: &'a [ServerId],
    /// Bytes that a server must have free.
    pub reserve: u64,
}

/// Distinct servers for the copies, best effort: fewer where there are fewer hosts, never none.
///
/// Where there is nobody the answer tells a full cluster (`NoSpace`) from an absent one (`NoServers`, worth waiting for).
pub fn choose(roster: &Roster, demand: &Demand<'_>, rng: &mut impl Rng) -> Result<Vec<ServerId>, FsError> {
    match Choice::new(roster, demand, true).run(rng) {
        Err(_) if demand.placement.loose && !demand.placement.on.is_empty() => {
            Choice::new(roster, demand, false).run(rng)
        }
        chosen => chosen,
    }
}

/// The domains that copies are spread over, the widest first.
pub fn spread_over(placement: &Placement) -> impl Iterator<Item = Domain> + '_ {
    let widest = placement.spread.map_or(Domain::Zone, |asked| asked.max(Domain::Zone));
    Domain::ALL.into_iter().filter(move |&domain| domain <= widest)
}

/// How far copies at `places` are from being spread as well as the servers allow: copies that share a domain without need. 0 is ideal.
pub fn crowding(places: &[Place], placement: &Placement, domains: &DomainCounts) -> usize {
    let distinct = |domain: Domain| {
        places.iter().enumerate().filter(|(n, place)| !places[..*n].iter().any(|p| p.shares(domain, **place))).count()
    };
    let wanted = |domain: Domain| places.len().min(domains.of(domain));
    spread_over(placement).map(|domain| wanted(domain).saturating_sub(distinct(domain))).sum()
}

/// Of the copies of a chunk, the `keep` that are spread best; those that come first win among equals. Answers their numbers, ascending.
pub fn best_spread(places: &[Option<Place>], placement: &Placement, keep: usize) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::with_capacity(keep);
    while kept.len() < keep.min(places.len()) {
        let beside: Vec<Place> = kept.iter().filter_map(|&n| places[n]).collect();
        let rest = (0..places.len()).filter(|n| !kept.contains(n));
        let Some(next) =
            rest.min_by_key(|&n| places[n].map_or(Conflict::MOST, |p| Conflict::of(p, &beside, placement)))
        else {
            break;
        };
        kept.push(next);
    }
    kept.sort_unstable();
    kept
}

/// The copy that is best moved elsewhere, so that copies are spread better, or on servers that are wanted; `None` where nothing can be won.
///
/// `copies` are servers, their places, and whether they have the labels that are asked for.
pub fn worst_placed(
    roster: &Roster,
    copies: &[(ServerId, Place, bool)],
    placement: &Placement,
    reserve: u64,
    rng: &mut impl Rng,
) -> Option<ServerId> {
    let exclude: Vec<_> = copies.iter().map(|(server, ..)| *server).collect();
    let domains = roster.domains(placement);
    let places = |skip: ServerId| copies.iter().filter(move |(s, ..)| *s != skip).map(|(_, place, _)| *place);
    let all: Vec<Place> = copies.iter().map(|(_, place, _)| *place).collect();
    let now = crowding(&all, placement, &domains);
    copies.iter().filter(|(.., suits)| now > 0 || !suits).map(|(server, ..)| *server).find(|&server| {
        let mut others: Vec<Place> = places(server).collect();
        let demand = Demand { copies: 1, placement, beside: &others, exclude: &exclude, reserve };
        let best = Choice::new(roster, &demand, true).next(rng).map(|candidate| candidate.place);
        let suits = copies.iter().any(|(s, _, suits)| *s == server && *suits);
        best.is_some_and(|best| {
            others.push(best);
            !suits || crowding(&others, placement, &domains) < now
        })
    })
}

/// With how many copies a place would share a domain: by the kinds of domain, the widest first. Less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Conflict([u8; Domain::ALL.len()]);

impl Conflict {
    const NONE: Self = Self([0; Domain::ALL.len()]);
    const MOST: Self = Self([u8::MAX; Domain::ALL.len()]);

    /// Less than this there cannot be among the servers of `roster`.
    fn least(beside: &[Place], placement: &Placement, roster: &Roster) -> Self {
        let mut conflict = Self::NONE;
        for (count, domain) in conflict.0.iter_mut().zip(spread_over(placement)) {
            *count = roster.shared_at_least(domain, beside) as u8;
        }
        conflict
    }

    fn of(place: Place, beside: &[Place], placement: &Placement) -> Self {
        let mut conflict = Self::NONE;
        for (count, domain) in conflict.0.iter_mut().zip(spread_over(placement)) {
            *count = beside.iter().filter(|other| other.shares(domain, place)).count() as u8;
        }
        conflict
    }
}

/// A choice under way.
struct Choice<'a> {
    roster: &'a Roster,
    demand: &'a Demand<'a>,
    labels_matter: bool,
    /// The copies that there are, and those that were chosen.
    beside: Vec<Place>,
    chosen: Vec<ServerId>,
}

impl<'a> Choice<'a> {
    fn new(roster: &'a Roster, demand: &'a Demand<'a>, labels_matter: bool) -> Self {
        Self { roster, demand, labels_matter, beside: demand.beside.to_vec(), chosen: Vec::new() }
    }

    fn run(mut self, rng: &mut impl Rng) -> Result<Vec<ServerId>, FsError> {
        while self.chosen.len() < usize::from(self.demand.copies) {
            let Some(next) = self.next(rng) else { break };
            next.count_placed();
            self.chosen.push(next.server);
            self.beside.push(next.place);
        }
        if !self.chosen.is_empty() {
            return Ok(self.chosen);
        }
        let is_there = self.roster.candidates().iter().any(|candidate| self.may_take(candidate));
        Err(if is_there { FsError::NoSpace } else { FsError::NoServers })
    }

    /// Two good ones, the better of which is taken.
    fn next(&self, rng: &mut impl Rng) -> Option<&'a Candidate> {
        let all = self.roster.candidates();
        if all.len() > 2 * DRAWS {
            let drawn = index::sample(rng, all.len(), DRAWS).into_iter().map(|n| &all[n]);
            let least = Conflict::least(&self.beside, self.demand.placement, self.roster);
            let mut good = drawn.filter(|c| self.is_allowed(c) && self.conflict(c) == least);
            if let (Some(a), Some(b)) = (good.next(), good.next()) {
                return Some(better(a, b));
            }
        }
        let allowed = || all.iter().filter(|candidate| self.is_allowed(candidate));
        let least = allowed().map(|candidate| self.conflict(candidate)).min()?;
        let best: Vec<&Candidate> = allowed().filter(|candidate| self.conflict(candidate) == least).collect();
        match best.as_slice() {
            [one] => Some(*one),
            several => {
                let pair = index::sample(rng, several.len(), 2);
                Some(better(several[pair.index(0)], several[pair.index(1)]))
            }
        }
    }

    fn conflict(&self, candidate: &Candidate) -> Conflict {
        Conflict::of(candidate.place, &self.beside, self.demand.placement)
    }

    fn is_allowed(&self, candidate: &Candidate) -> bool {
        candidate.free > self.demand.reserve && self.may_take(candidate)
    }

    /// Leaving aside whether it has room.
    fn may_take(&self, candidate: &Candidate) -> bool {
        !self.beside.iter().any(|place| place.shares(Domain::Host, candidate.place))
            && !self.demand.exclude.contains(&candidate.server)
            && !self.chosen.contains(&candidate.server)
            && (!self.labels_matter || candidate.labels.satisfy(&self.demand.placement.on))
    }
}

fn better<'a>(a: &'a Candidate, b: &'a Candidate) -> &'a Candidate {
    if b.worth() > a.worth() { b } else { a }
}

#[cfg(test)]
mod tests;
