//! What would be if: servers failed, were drained, or came. Asked of the live metadata, page by page, and nothing is touched.

use std::collections::{HashMap, HashSet};

use cairn_proto::error::{AdminError, FsError};
use cairn_proto::ids::{ChunkHandle, InodeId, ServerId};
use cairn_proto::labels::Domain;
use cairn_proto::simulation::{Outcome, Scenario, SimulatedCounts, SimulatedFile, SimulationPage, Subject};

use super::Cluster;
use super::placement::roster::Roster;
use super::server::Server;
use super::state::Standing;
use crate::namespace::chunk::Chunk;
use crate::namespace::query;

/// Chunks looked at between two commits.
const PAGE_CHUNKS: usize = 1024;
/// Pages looked at for one answer.
const PAGES: usize = 32;
/// Files named in one answer at most; the counts are of all.
const MAX_FILES: usize = 1000;
/// Bytes per second that one server copies, where no limit says.
const UNLIMITED: u64 = 100 << 20;

/// One answer: of the chunks after `after`.
pub async fn page(cluster: &Cluster, scenario: &Scenario, after: ChunkHandle) -> Result<SimulationPage, AdminError> {
    let subjects = match scenario {
        Scenario::Fail(subjects) | Scenario::Drain(subjects) => subjects,
        Scenario::Add { .. } => &Vec::new(),
    };
    let gone = servers_of(cluster, subjects)?;
    let mut simulation = Simulation::new(cluster, &gone);
    let mut after = after;
    for _ in 0..PAGES {
        let chunks = cluster.state.read(|read| query::chunks(read, after, PAGE_CHUNKS))?;
        for (handle, chunk) in &chunks {
            simulation.look_at(chunk, matches!(scenario, Scenario::Drain(_)));
            after = *handle;
        }
        if chunks.len() < PAGE_CHUNKS {
            return Ok(simulation.answer(scenario, None)?);
        }
        tokio::task::yield_now().await;
    }
    Ok(simulation.answer(scenario, Some(after))?)
}

/// The servers that are meant. Each subject must mean one at least.
fn servers_of(cluster: &Cluster, subjects: &[Subject]) -> Result<HashSet<ServerId>, AdminError> {
    let mut meant = HashSet::new();
    for subject in subjects {
        let is_meant = |server: &Server| match subject {
            Subject::Server(name) => server.name == *name || server.id.to_string() == *name,
            Subject::Labels(labels) => server.labels.satisfy(labels),
        };
        let found: Vec<_> = cluster.registry.each(|server| is_meant(server).then_some(server.id));
        let before = meant.len();
        meant.extend(found.into_iter().flatten());
        if meant.len() == before {
            return Err(AdminError::NothingMeant(subject.to_string()));
        }
    }
    Ok(meant)
}

/// What is found on the way.
struct Simulation<'a> {
    cluster: &'a Cluster,
    gone: &'a HashSet<ServerId>,
    /// The servers that are left for copies.
    left: Roster,
    hosts: usize,
    standings: HashMap<ServerId, Standing>,
    counts: SimulatedCounts,
    files: HashMap<InodeId, Found>,
}

/// Of one file.
#[derive(Clone, Copy)]
struct Found {
    worst: Outcome,
    chunks: u64,
    bytes: u64,
}

impl<'a> Simulation<'a> {
    fn new(cluster: &'a Cluster, gone: &'a HashSet<ServerId>) -> Self {
        let now = cluster.now();
        let standings = cluster.registry.states(now).into_iter();
        let standings = standings.map(|(server, _)| (server, cluster.registry.standing(server, now))).collect();
        let left = cluster.registry.expected_without(gone, now);
        let hosts = left.domains(&Default::default()).of(Domain::Host);
        Self { cluster, gone, left, hosts, standings, counts: SimulatedCounts::default(), files: HashMap::new() }
    }

    /// A server that is drained is there until its copies are elsewhere; one that fails is not.
    fn look_at(&mut self, chunk: &Chunk, is_drained: bool) {
        let standing = |server: &ServerId| self.standings.get(server).copied().unwrap_or(Standing::Lost);
        let rest: Vec<_> = chunk.members.iter().filter(|member| !self.gone.contains(member)).collect();
        let there = rest.iter().filter(|member| standing(member) != Standing::Lost).count();
        let up = rest.iter().filter(|member| standing(member) == Standing::Up).count();
        self.counts.chunks += 1;
        self.counts.bytes += u64::from(chunk.length);
        let is_hit = rest.len() < chunk.members.len();
        if !is_hit || chunk.length == 0 {
            return;
        }
        let missing = usize::from(chunk.target).saturating_sub(there) as u64;
        let outcome = match (is_drained, there, up) {
            (true, ..) => Outcome::Moved,
            (false, 0, _) => Outcome::Lost,
            (false, _, 0) => Outcome::Unreadable,
            (false, ..) => Outcome::Reduced,
        };
        self.counts.count(outcome);
        if outcome != Outcome::Lost {
            self.counts.to_copy += missing * u64::from(chunk.allocated);
        }
        self.counts.without_a_place += u64::from(self.hosts < usize::from(chunk.target));
        let found = self.files.entry(chunk.inode).or_insert(Found { worst: outcome, chunks: 0, bytes: 0 });
        found.worst = found.worst.max(outcome);
        found.chunks += 1;
        found.bytes += u64::from(chunk.length);
    }

    fn answer(self, scenario: &Scenario, resume: Option<ChunkHandle>) -> Result<SimulationPage, FsError> {
        let servers = self.cluster.registry.each(|s| self.gone.contains(&s.id).then(|| s.name.clone()));
        let mut found: Vec<_> = self.files.into_iter().collect();
        found.sort_by(|(a, x), (b, y)| y.worst.cmp(&x.worst).then(a.cmp(b)));
        let total = found.len() as u64;
        let name = |(inode, found): (InodeId, Found)| {
            let path = self.cluster.state.read(|read| query::path_of(read, inode))?;
            Ok(SimulatedFile { inode, path, outcome: found.worst, chunks: found.chunks, bytes: found.bytes })
        };
        let files = found.into_iter().take(MAX_FILES).map(name).collect::<Result<Vec<_>, FsError>>()?;
        let added = match scenario {
            Scenario::Add { servers, .. } => *servers as usize,
            Scenario::Fail(_) | Scenario::Drain(_) => 0,
        };
        let limits = self.cluster.throttle.limits();
        let each = limits.server.unwrap_or(UNLIMITED);
        // A copy keeps two servers busy.
        let together = each.saturating_mul((self.left.candidates().len() + added) as u64) / 2;
        let fills = self.cluster.registry.fills(self.cluster.now());
        let (used, free) = fills
            .iter()
            .filter(|fill| !self.gone.contains(&fill.server))
            .fold((0, 0), |(u, f), fill| (u + fill.used, f + fill.free));
        Ok(SimulationPage {
            servers: servers.into_iter().flatten().collect(),
            counts: self.counts,
            files,
            files_in_all: total,
            used_by_the_rest: used,
            free_on_the_rest: free,
            bytes_per_s: together.min(limits.cluster.unwrap_or(u64::MAX)).max(1),
            balance_bytes_per_s: self.cluster.balance.bytes_per_s,
            resume,
        })
    }
}
