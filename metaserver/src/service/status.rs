//! What `cairn status` and `cairn stats` show. Nothing here scans a table: it may be asked every second.

use cairn_proto::admin::{ClusterStatus, RepairStatus, ServerStats, ServerStatus, WorkerStatus};
use cairn_proto::error::FsError;
use cairn_proto::transport::RequestCounters;
use cairn_proto::trash::TrashCount;
use cairn_runtime::worker::WorkerStatus as Worker;

use super::Shared;
use crate::cluster::Cluster;
use crate::namespace::counters::Counters;
use crate::namespace::query;

pub(super) fn status(shared: &Shared) -> Result<ClusterStatus, FsError> {
    let counters = shared.state.read(query::counters)?;
    let now = shared.cluster.now();
    Ok(ClusterStatus {
        cluster: shared.id,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        applied: shared.state.log().applied(),
        servers: servers(shared),
        sessions: shared.clients.sessions.list(now, |session| shared.clients.files.count(session)),
        fs: shared.stat_fs()?,
        inodes: counters.inodes,
        chunks: shared.census.counts(counters.chunks, counters.garbage, shared.cluster.damage.len() as u64, now),
        repair: repair(shared),
        trash: TrashCount { entries: counters.trash, bytes: counters.trash_bytes },
        workers: shared.workers.list().into_iter().map(|worker| of_worker(shared, &counters, worker)).collect(),
    })
}

/// How far repair is.
pub(super) fn repair(shared: &Shared) -> RepairStatus {
    let Cluster { repairs, throttle, .. } = &*shared.cluster;
    let now = shared.cluster.now();
    let limits = throttle.limits();
    RepairStatus {
        paused: throttle.is_paused(),
        bytes_per_s: limits.cluster,
        server_bytes_per_s: limits.server,
        queue: repairs.len() as u64,
        at_risk: repairs.exposed(1) as u64,
        oldest_exposure_ms: repairs.oldest_exposure().map(|since| now.saturating_sub(since).as_millis() as u64),
        to_copy: shared.census.last().to_copy,
        rate: throttle.rate(now),
    }
}

pub(super) fn stats(requests: &RequestCounters) -> ServerStats {
    ServerStats {
        started: requests.started().into(),
        uptime_ms: requests.uptime().as_millis() as u64,
        requests: requests.counts(),
    }
}

fn servers(shared: &Shared) -> Vec<ServerStatus> {
    let registry = &shared.cluster.registry;
    let (now, tally) = (shared.cluster.now(), shared.census.last());
    let held = |server| tally.held.get(&server).copied().unwrap_or_default();
    registry.each(|server| server.status(now, registry.thresholds(), held(server.id)))
}

fn of_worker(shared: &Shared, counters: &Counters, worker: Worker) -> WorkerStatus {
    let queue = match worker.name.as_str() {
        "garbage" => counters.garbage,
        "reaper" => counters.orphans,
        "reconcile" => shared.cluster.registry.dirty().len() as u64,
        name if name.starts_with("repair") => shared.cluster.repairs.len() as u64,
        _ => 0,
    };
    let activity = format!("{:?}", worker.activity).to_lowercase();
    let state = worker.detail.map_or(activity.clone(), |detail| format!("{activity}: {detail}"));
    WorkerStatus { name: worker.name, state, done: worker.units, queue, last_error: worker.last_error }
}
