//! What would be if: servers or disks failed, were drained, or came. Asked of the live metadata, page by page, and nothing is touched.

use std::collections::{HashMap, HashSet};

use cairn_proto::disk::DiskStatus;
use cairn_proto::error::{AdminError, FsError};
use cairn_proto::ids::{ChunkHandle, DiskNumber, InodeId, ServerId};
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
    let gone = Gone::meant(cluster, subjects)?;
    let mut simulation = Simulation::new(cluster, &gone);
    let mut after = after;
    for _ in 0..PAGES {
        let chunks = cluster.state.read(|read| query::chunks(read, after, PAGE_CHUNKS))?;
        for (handle, chunk) in &chunks {
            simulation.look_at(*handle, chunk, matches!(scenario, Scenario::Drain(_)));
            after = *handle;
        }
        if chunks.len() < PAGE_CHUNKS {
            return Ok(simulation.answer(scenario, None)?);
        }
        tokio::task::yield_now().await;
    }
    Ok(simulation.answer(scenario, Some(after))?)
}

/// What something happens to.
#[derive(Debug, Default)]
struct Gone {
    servers: HashSet<ServerId>,
    /// Of servers that stay.
    disks: HashSet<(ServerId, DiskNumber)>,
}

impl Gone {
    /// What is meant. Each subject must mean something.
    fn meant(cluster: &Cluster, subjects: &[Subject]) -> Result<Self, AdminError> {
        let mut meant = Self::default();
        for subject in subjects {
            let before = meant.len();
            let is_meant = |server: &Server| match subject {
                Subject::Server(name) => server.name == *name || server.id.to_string() == *name,
                Subject::Labels(labels) => server.labels.satisfy(labels),
                Subject::Disk(_) => false,
            };
            let servers = cluster.registry.each(|server| is_meant(server).then_some(server.id));
            meant.servers.extend(servers.into_iter().flatten());
            if let Subject::Disk(name) = subject {
                meant.disks.extend(cluster.registry.each(|server| disks_called(server, name)).into_iter().flatten());
            }
            if meant.len() == before {
                return Err(AdminError::NothingMeant(subject.to_string()));
            }
        }
        meant.disks.retain(|(server, _)| !meant.servers.contains(server));
        Ok(meant)
    }

    fn len(&self) -> usize {
        self.servers.len() + self.disks.len()
    }

    /// Whether a member's copy of a chunk is among it. Where nobody knows on which disk it is, it is not.
    fn has(&self, cluster: &Cluster, member: ServerId, handle: ChunkHandle) -> bool {
        let is_on_disk =
            || cluster.registry.disk_of(member, handle).is_some_and(|disk| self.disks.contains(&(member, disk)));
        self.servers.contains(&member) || !self.disks.is_empty() && is_on_disk()
    }

    /// Names for people.
    fn names(&self, cluster: &Cluster) -> Vec<String> {
        let names = cluster.registry.each(|server| {
            let whole = self.servers.contains(&server.id).then(|| server.name.clone());
            let disks = numbered(server).filter(|(number, _)| self.disks.contains(&(server.id, *number)));
            let disks = disks.map(|(number, disk)| format!("{}:{} ({})", server.name, number.0, disk.path));
            whole.into_iter().chain(disks).collect::<Vec<_>>()
        });
        names.concat()
    }

    /// Bytes used and free on the disks.
    fn space_of_disks(&self, cluster: &Cluster) -> (u64, u64) {
        let spaces = cluster.registry.each(|server| {
            let disks = numbered(server).filter(|(number, _)| self.disks.contains(&(server.id, *number)));
            disks.fold((0, 0), |(used, free), (_, disk)| (used + disk.space.used, free + disk.space.free))
        });
        spaces.into_iter().fold((0, 0), |(u, f), (used, free)| (u + used, f + free))
    }
}

fn numbered(server: &Server) -> impl Iterator<Item = (DiskNumber, &DiskStatus)> {
    (0..=u8::MAX).map(DiskNumber).zip(server.disks())
}

/// The disks of a server that are meant by an id, a directory, or `SERVER:NUMBER`, where the number may be a directory, too.
fn disks_called(server: &Server, name: &str) -> Vec<(ServerId, DiskNumber)> {
    let on_it = name.rsplit_once(':').filter(|(of, _)| *of == server.name || *of == server.id.to_string());
    let is_called = |number: DiskNumber, disk: &DiskStatus| {
        disk.path == name
            || disk.disk.to_string() == name
            || on_it.is_some_and(|(_, which)| which == number.0.to_string() || which == disk.path)
    };
    numbered(server).filter(|(number, disk)| is_called(*number, disk)).map(|(number, _)| (server.id, number)).collect()
}

/// What is found on the way.
struct Simulation<'a> {
    cluster: &'a Cluster,
    gone: &'a Gone,
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
    fn new(cluster: &'a Cluster, gone: &'a Gone) -> Self {
        let now = cluster.now();
        let standings = cluster.registry.states(now).into_iter();
        let standings = standings.map(|(server, _)| (server, cluster.registry.standing(server, now))).collect();
        let left = cluster.registry.expected_without(&gone.servers, now);
        let hosts = left.domains(&Default::default()).of(Domain::Host);
        Self { cluster, gone, left, hosts, standings, counts: SimulatedCounts::default(), files: HashMap::new() }
    }

    /// A server that is drained is there until its copies are elsewhere; one that fails is not.
    fn look_at(&mut self, handle: ChunkHandle, chunk: &Chunk, is_drained: bool) {
        let standing = |server: &ServerId| self.standings.get(server).copied().unwrap_or(Standing::Lost);
        let rest: Vec<_> =
            chunk.members.iter().filter(|member| !self.gone.has(self.cluster, **member, handle)).collect();
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
        let servers = self.gone.names(self.cluster);
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
            .filter(|fill| !self.gone.servers.contains(&fill.server))
            .fold((0, 0), |(u, f), fill| (u + fill.used, f + fill.free));
        let of_disks = self.gone.space_of_disks(self.cluster);
        Ok(SimulationPage {
            servers,
            counts: self.counts,
            files,
            files_in_all: total,
            used_by_the_rest: used.saturating_sub(of_disks.0),
            free_on_the_rest: free.saturating_sub(of_disks.1),
            bytes_per_s: together.min(limits.cluster.unwrap_or(u64::MAX)).max(1),
            balance_bytes_per_s: self.cluster.balance.bytes_per_s,
            resume,
        })
    }
}

#[cfg(test)]
mod tests;
