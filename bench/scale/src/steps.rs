//! What is simulated, step by step. Each uses the metaserver's own code, and checks what came of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_metaserver::cluster::placement::Demand;
use cairn_metaserver::cluster::repair::Job;
use cairn_metaserver::cluster::repair::census::{Census, CensusWorker, Tally};
use cairn_metaserver::cluster::repair::plan::{Case, Plan, plan};
use cairn_metaserver::cluster::reports;
use cairn_proto::chunk::{CHUNK_SIZE, ChunkId};
use cairn_proto::chunkserver::{ChunkStat, ChunkState};
use cairn_proto::cluster::{MAX_REPORT_CHUNKS, Report};
use cairn_proto::ids::{ChunkHandle, ChunkIndex, ChunkVersion, InodeId, ServerId};
use cairn_proto::policy::Placement;
use cairn_runtime::worker::{WorkState, Worker};

use crate::measure::{Spread, Step};
use crate::table::{number, server};
use crate::world::{BEAT, HOSTS, SimulatedServer, World, share_rack};

/// Heartbeats of every server while chunks are placed.
const ROUNDS: u64 = 200;
/// Heartbeats of every server that are measured.
const BEATS: u64 = 20;

/// What came of all of it.
#[derive(Debug, serde::Serialize)]
pub struct Outcome {
    pub servers: u16,
    pub chunks: u64,
    pub copies: u8,
    pub steps: Vec<Step>,
    pub spreads: Vec<Spread>,
    /// Chunks that had a copy in the rack that failed.
    pub hit: u64,
}

pub async fn run(servers: u16, chunks: u64, copies: u8) -> Result<Outcome> {
    let mut world = World::new(servers, chunks, copies).await?;
    let mut steps = Vec::new();
    steps.push(
        Step::of("register all servers", "servers", async || {
            world.register_all().await?;
            Ok(u64::from(servers))
        })
        .await?,
    );
    // They hold nothing yet, and say so: new chunks go to servers that have reported.
    report_all(&world, &HashMap::new())?;
    steps.push(Step::of("place new chunks", "chunks", async || place(&mut world, chunks, copies)).await?);
    check_domains(&world)?;
    let held = copies_by_server(&world);
    steps.push(Step::of("take reports of all copies", "copies", async || report_all(&world, &held)).await?);
    drop(held);
    steps.push(
        Step::of("take heartbeats", "heartbeats", async || {
            (0..BEATS).try_for_each(|_| world.beat(|_| true))?;
            Ok(BEATS * u64::from(servers))
        })
        .await?,
    );
    let mut passes = Passes::new(&world);
    steps.push(
        Step::of("look at all chunks", "chunks", async || {
            let tally = passes.next().await?;
            ensure!(tally.below_target == 0 && tally.misplaced == 0, "nothing is the matter, and it finds {tally:?}");
            Ok(chunks)
        })
        .await?,
    );
    // The first rack falls silent, for good.
    let has_failed = |id: ServerId| share_rack(number(id), 0);
    let silence = world.cluster.registry.thresholds().dead_after;
    for _ in 0..=silence.div_duration_f64(BEAT) as u64 {
        world.beat(|id| !has_failed(id))?;
    }
    let mut hit = 0;
    world.table.for_each(|_, members| hit += u64::from(members.iter().any(|&member| share_rack(member, 0))));
    steps.push(
        Step::of("look at all chunks once a rack has failed", "chunks", async || {
            let tally = passes.next().await?;
            ensure!(tally.below_target == hit, "{hit} chunks lack a copy, and it finds {}", tally.below_target);
            Ok(chunks)
        })
        .await?,
    );
    let mut taken = vec![0.0; usize::from(servers)];
    steps.push(
        Step::of("decide on repairs", "chunks", async || {
            let mut decided = 0;
            while let Some(job) = world.cluster.repairs.take(world.cluster.now()) {
                let target = repair(&world, &job)?;
                ensure!(!has_failed(target), "a copy is to be made on a server that is dead");
                taken[usize::from(number(target))] += 1.0;
                decided += 1;
            }
            Ok(decided)
        })
        .await?,
    );
    check_domains(&world)?;
    let (small, large): (Vec<_>, Vec<_>) = world.servers.iter().partition(|s| number(s.id).is_multiple_of(2));
    let fills = |servers: Vec<&SimulatedServer>| servers.iter().map(|s| s.fill()).collect::<Vec<_>>();
    let spreads = vec![
        Spread::over("part of a small server that is taken", &fills(small)),
        Spread::over("part of a large server that is taken", &fills(large)),
        Spread::over("copies that a server gets by repair", &taken[usize::from(HOSTS)..]),
    ];
    Ok(Outcome { servers, chunks, copies, steps, spreads, hit })
}

/// New chunks, with heartbeats of all servers in between that say how full they are by now.
fn place(world: &mut World, chunks: u64, copies: u8) -> Result<u64> {
    let anywhere = Placement::default();
    for n in 1..=chunks {
        let chosen = world.cluster.place_new(copies, &anywhere).context("place a chunk")?;
        ensure!(chosen.len() == usize::from(copies), "only {} servers for {copies} copies", chosen.len());
        for server in &chosen {
            world.servers[usize::from(number(*server))].copies += 1;
        }
        world.table.push(&chosen);
        if n.is_multiple_of(chunks.div_ceil(ROUNDS)) {
            world.beat(|_| true)?;
        }
    }
    Ok(chunks)
}

/// No two copies of a chunk are in one rack, and so on one host.
fn check_domains(world: &World) -> Result<()> {
    let mut wrong = None;
    world.table.for_each(|handle, members| {
        let shares = |(n, &one): (usize, &u16)| members[..n].iter().any(|&other| share_rack(one, other));
        if members.iter().enumerate().any(shares) {
            wrong = Some(handle);
        }
    });
    ensure!(wrong.is_none(), "two copies of {wrong:?} are in one rack");
    Ok(())
}

fn copies_by_server(world: &World) -> HashMap<ServerId, Vec<ChunkHandle>> {
    let capacity = |copies: u64| Vec::with_capacity(copies as usize);
    let mut held: Vec<Vec<ChunkHandle>> = world.servers.iter().map(|server| capacity(server.copies)).collect();
    world.table.for_each(|handle, members| members.iter().for_each(|&member| held[usize::from(member)].push(handle)));
    (0..).map(server).zip(held).collect()
}

/// Each server tells what it holds, page by page.
fn report_all(world: &World, held: &HashMap<ServerId, Vec<ChunkHandle>>) -> Result<u64> {
    let mut count = 0;
    for simulated in &world.servers {
        let handles = held.get(&simulated.id).map_or(&[][..], Vec::as_slice);
        let pages = handles.len().div_ceil(MAX_REPORT_CHUNKS).max(1);
        for page in 0..pages {
            let handles = handles.iter().skip(page * MAX_REPORT_CHUNKS).take(MAX_REPORT_CHUNKS);
            let chunks: Vec<_> = handles.copied().map(stat).collect();
            count += chunks.len() as u64;
            let report = Report { server: simulated.id, chunks, last: page + 1 == pages };
            reports::report(&world.cluster, &report)?;
        }
    }
    Ok(count)
}

fn stat(handle: ChunkHandle) -> ChunkStat {
    let id = ChunkId { handle, version: ChunkVersion::FIRST, inode: InodeId(handle.0 + 1), index: ChunkIndex(0) };
    let length = CHUNK_SIZE as u32;
    ChunkStat { id, state: ChunkState::Clean, length, allocated: length, disk: Default::default() }
}

/// Where repair makes the copy that a chunk lacks, without copying anything: the chunk has it from then on.
fn repair(world: &World, job: &Job) -> Result<ServerId> {
    let (cluster, now, handle) = (&world.cluster, world.cluster.now(), job.handle);
    let chunk = cluster.chunk(handle)?.context("the chunk is gone")?;
    let members: Vec<_> = chunk.members.iter().map(|&member| cluster.registry.member(member, handle, now)).collect();
    let placement = cluster.placement(chunk.placement)?;
    let target = usize::from(chunk.target);
    let case =
        Case { target, length: chunk.length, members: &members, placement: &placement, bad: &[], unwanted: None };
    let Plan::Add(addition) = plan(case) else { anyhow::bail!("{handle} lacks a copy, and gets none") };
    let beside: Vec<_> = addition.stay_after.iter().filter_map(|&member| cluster.registry.place(member)).collect();
    let demand = Demand { copies: 1, placement: &placement, beside: &beside, exclude: &chunk.members, reserve: 0 };
    let new = cluster.place(&demand)?[0];
    let lost = chunk.members.iter().find(|member| !addition.stay_after.contains(member)).context("no copy is lost")?;
    world.table.replace(handle, *lost, new);
    Ok(new)
}

/// The worker that goes through all chunks.
struct Passes {
    worker: CensusWorker,
    census: Arc<Census>,
}

impl Passes {
    fn new(world: &World) -> Self {
        let census = Arc::<Census>::default();
        let worker = CensusWorker::new(world.cluster.clone(), census.clone(), Duration::ZERO);
        Self { worker, census }
    }

    /// Goes through all of them once.
    async fn next(&mut self) -> Result<Arc<Tally>> {
        loop {
            match self.worker.work().await.map_err(|error| anyhow::anyhow!(error))? {
                WorkState::Busy { .. } => {}
                WorkState::Wait(_) | WorkState::Idle | WorkState::Done => return Ok(self.census.last()),
            }
        }
    }
}
