//! The servers that may get new copies, as they were a moment ago.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};

use cairn_proto::ids::ServerId;
use cairn_proto::labels::{Domain, Labels};
use cairn_proto::policy::Placement;

use super::place::Place;

/// A server that may take a new copy.
#[derive(Debug)]
pub struct Candidate {
    pub server: ServerId,
    /// Bytes free for chunks.
    pub free: u64,
    pub place: Place,
    pub labels: Labels,
    /// Requests in progress at the last heartbeat, and copies placed there since.
    load: AtomicU32,
}

impl Candidate {
    pub fn new(server: ServerId, free: u64, load: u32, place: Place, labels: Labels) -> Self {
        Self { server, free, place, labels, load: AtomicU32::new(load) }
    }

    /// Greater is better: the free space that is left to each request in progress.
    pub(super) fn worth(&self) -> u64 {
        self.free / (u64::from(self.load()) + 1)
    }

    pub fn load(&self) -> u32 {
        self.load.load(Ordering::Relaxed)
    }

    /// A copy was placed here.
    pub fn count_placed(&self) {
        self.load.fetch_add(1, Ordering::Relaxed);
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Roster {
    candidates: Vec<Candidate>,
    index: HashMap<ServerId, usize>,
    /// The domains that they are in, by kind.
    domains: [HashSet<u32>; Domain::ALL.len()],
}

impl FromIterator<Candidate> for Roster {
    fn from_iter<I: IntoIterator<Item = Candidate>>(candidates: I) -> Self {
        let candidates: Vec<_> = candidates.into_iter().collect();
        let index = candidates.iter().enumerate().map(|(n, candidate)| (candidate.server, n)).collect();
        let domains = domains_of(candidates.iter());
        Self { candidates, index, domains }
    }
}

impl Roster {
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    pub fn get(&self, server: ServerId) -> Option<&Candidate> {
        self.index.get(&server).map(|&n| &self.candidates[n])
    }

    /// How many domains of each kind (indexed by [`Domain`]) the servers are in that a placement allows.
    pub fn domains(&self, placement: &Placement) -> DomainCounts {
        let count = |domains: &[HashSet<u32>; Domain::ALL.len()]| DomainCounts(domains.each_ref().map(HashSet::len));
        if placement.on.is_empty() {
            return count(&self.domains);
        }
        count(&domains_of(self.candidates.iter().filter(|candidate| candidate.labels.satisfy(&placement.on))))
    }

    /// With how many of these copies a server shares its domain at least, wherever it is.
    pub(super) fn shared_at_least(&self, domain: Domain, copies: &[Place]) -> usize {
        let domains = &self.domains[domain as usize];
        let together = |place: &Place| copies.iter().filter(|other| other.shares(domain, *place)).count();
        let is_first = |n: usize| !copies[..n].iter().any(|earlier| earlier.shares(domain, copies[n]));
        let known = copies.iter().enumerate().filter(|(n, place)| {
            // Of a server that is gone, the domain may be gone, too.
            is_first(*n) && domains.contains(&place.domain(domain))
        });
        let shared: Vec<usize> = known.map(|(_, place)| together(place)).collect();
        if shared.len() < domains.len() { 0 } else { shared.into_iter().min().unwrap_or(0) }
    }
}

fn domains_of<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> [HashSet<u32>; Domain::ALL.len()] {
    let mut domains: [HashSet<u32>; Domain::ALL.len()] = Default::default();
    for candidate in candidates {
        for domain in Domain::ALL {
            domains[domain as usize].insert(candidate.place.domain(domain));
        }
    }
    domains
}

/// How many domains of each kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DomainCounts([usize; Domain::ALL.len()]);

impl DomainCounts {
    pub fn of(&self, domain: Domain) -> usize {
        self.0[domain as usize]
    }
}
