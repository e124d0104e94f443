//! Which servers get a new copy: the power of two choices, by free space and load.
//!
//! Two candidates drawn at random, and the better of the two taken, spread almost as well as a full sort, and do not send
//! everybody to the one server that was emptiest at the last heartbeat (Mitzenmacher, 2001).

use cairn_proto::error::FsError;
use cairn_proto::ids::ServerId;
use rand::Rng;
use rand::seq::index;

/// A server that may take a new copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub server: ServerId,
    /// Bytes free for chunks.
    pub free: u64,
    /// Requests in progress at the last heartbeat, and copies placed there since.
    pub load: u32,
}

impl Candidate {
    /// Greater is better: the free space that is left to each request in progress.
    fn worth(&self) -> u64 {
        self.free / (u64::from(self.load) + 1)
    }
}

/// Distinct servers for `copies` copies of a chunk, best effort: fewer where there are fewer, never none.
///
/// `candidates` are those that are healthy; those with no more than `reserve` bytes free are left out. Where that leaves nobody
/// the answer tells a full cluster (`NoSpace`) from an absent one (`NoServers`, worth waiting for).
pub fn choose(
    candidates: &[Candidate],
    copies: u8,
    reserve: u64,
    exclude: &[ServerId],
    rng: &mut impl Rng,
) -> Result<Vec<ServerId>, FsError> {
    let allowed = || candidates.iter().filter(|candidate| !exclude.contains(&candidate.server));
    let mut roomy: Vec<Candidate> = allowed().filter(|candidate| candidate.free > reserve).copied().collect();
    if roomy.is_empty() {
        return Err(if allowed().next().is_some() { FsError::NoSpace } else { FsError::NoServers });
    }
    let mut chosen = Vec::with_capacity(usize::from(copies).min(roomy.len()));
    while chosen.len() < usize::from(copies) && !roomy.is_empty() {
        chosen.push(roomy.swap_remove(better_of_two(&roomy, rng)).server);
    }
    Ok(chosen)
}

fn better_of_two(candidates: &[Candidate], rng: &mut impl Rng) -> usize {
    if candidates.len() == 1 {
        return 0;
    }
    let pair = index::sample(rng, candidates.len(), 2);
    let (a, b) = (pair.index(0), pair.index(1));
    if candidates[b].worth() > candidates[a].worth() { b } else { a }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use uuid::Uuid;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn server(n: u128) -> ServerId {
        ServerId(Uuid::from_u128(n))
    }

    fn candidate(n: u128, free: u64, load: u32) -> Candidate {
        Candidate { server: server(n), free, load }
    }

    #[test]
    fn never_two_copies_on_one_server() {
        let all: Vec<_> = (0..5).map(|n| candidate(n, GIB, 0)).collect();
        let mut rng = StdRng::seed_from_u64(1);
        for copies in 1..=9 {
            let mut chosen = choose(&all, copies, 0, &[], &mut rng).unwrap();
            assert_eq!(chosen.len(), usize::from(copies).min(5));
            chosen.sort_unstable();
            chosen.dedup();
            assert_eq!(chosen.len(), usize::from(copies).min(5));
        }
    }

    #[test]
    fn tells_a_full_cluster_from_an_absent_one() {
        let mut rng = StdRng::seed_from_u64(1);
        assert_eq!(choose(&[], 2, 0, &[], &mut rng), Err(FsError::NoServers));
        let full = [candidate(1, 10, 0), candidate(2, 0, 0)];
        assert_eq!(choose(&full, 2, 10, &[], &mut rng), Err(FsError::NoSpace));
        assert_eq!(choose(&full, 2, 9, &[], &mut rng), Ok(vec![server(1)]));
        assert_eq!(choose(&full, 2, 9, &[server(1)], &mut rng), Err(FsError::NoSpace));
        assert_eq!(choose(&full, 2, 9, &[server(1), server(2)], &mut rng), Err(FsError::NoServers));
    }

    #[test]
    fn the_free_and_idle_get_more() {
        let all =
            [candidate(1, 10 * GIB, 0), candidate(2, GIB, 0), candidate(3, 10 * GIB, 99), candidate(4, 10 * GIB, 0)];
        let mut rng = StdRng::seed_from_u64(7);
        let mut counts: HashMap<ServerId, u32> = HashMap::new();
        for _ in 0..3000 {
            *counts.entry(choose(&all, 1, 0, &[], &mut rng).unwrap()[0]).or_default() += 1;
        }
        // Of six equally likely pairs, server 3 wins none, server 2 only the one against it.
        assert_eq!(counts.get(&server(3)), None);
        assert!((400..600).contains(&counts[&server(2)]), "{counts:?}");
        assert!(counts[&server(1)] > 1000 && counts[&server(4)] > 1000, "{counts:?}");
    }
}
