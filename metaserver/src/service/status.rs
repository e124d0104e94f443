//! What `cairn status` shows. Nothing here scans a table: it may be asked every second.

use cairn_proto::admin::{ClusterStatus, ServerStatus, WorkerStatus};
use cairn_proto::error::FsError;
use cairn_runtime::worker::WorkerStatus as Worker;

use super::Shared;
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
        chunks: shared.census.counts(counters.chunks, counters.garbage),
        workers: shared.workers.list().into_iter().map(|worker| of_worker(shared, &counters, worker)).collect(),
    })
}

fn servers(shared: &Shared) -> Vec<ServerStatus> {
    let registry = &shared.cluster.registry;
    let (now, tally) = (shared.cluster.now(), shared.census.last());
    let copies = |server| tally.copies.get(&server).copied().unwrap_or(0);
    registry.each(|server| server.status(now, registry.thresholds(), copies(server.id)))
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
