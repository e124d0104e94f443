//! Fencing off the writes of sessions that are given up: before anybody else is given what they had.

use std::collections::HashSet;
use std::time::Duration;

use cairn_proto::ids::{ServerId, SessionId};
use futures::future::join_all;
use tokio::time::{Instant, sleep};

use super::Cluster;
use super::state::Standing;

/// Before those are asked again that have not confirmed.
const PAUSE: Duration = Duration::from_millis(100);
/// A server that is up and does not confirm for so long holds nobody up any more.
const LIMIT: Duration = Duration::from_secs(60);

/// Returns when no chunkserver that is up does any more what these sessions send.
///
/// Who is not up is not waited for: it learns of them when it registers again.
pub async fn fence_sessions(cluster: &Cluster, sessions: &[SessionId]) {
    let end = Instant::now() + LIMIT;
    let mut confirmed = HashSet::new();
    loop {
        let open = open(cluster, &confirmed);
        if open.is_empty() {
            return;
        }
        if Instant::now() >= end {
            let servers: Vec<_> = open.iter().map(|&server| cluster.registry.name(server)).collect();
            tracing::error!(?servers, ?sessions, "these chunkservers were not told that sessions were given up");
            return;
        }
        let answers = join_all(open.iter().map(|&server| ask(cluster, server, sessions))).await;
        let has_failed = answers.contains(&false);
        confirmed.extend(open.into_iter().zip(answers).filter(|(_, done)| *done).map(|(server, _)| server));
        if has_failed {
            sleep(PAUSE).await;
        }
    }
}

/// Servers that are up, but for those that have `confirmed`.
fn open(cluster: &Cluster, confirmed: &HashSet<ServerId>) -> Vec<ServerId> {
    let now = cluster.now();
    let servers = cluster.registry.states(now).into_iter().map(|(server, _)| server);
    let is_open = |server: &ServerId| cluster.registry.standing(*server, now) == Standing::Up;
    servers.filter(|server| !confirmed.contains(server)).filter(is_open).collect()
}

async fn ask(cluster: &Cluster, server: ServerId, sessions: &[SessionId]) -> bool {
    let Some(endpoint) = cluster.registry.endpoint(server) else { return false };
    let answer = cluster.peers.fence_sessions(&endpoint, sessions.to_vec()).await;
    answer.inspect_err(|error| tracing::warn!(%server, %error, "a session is not fenced off yet")).is_ok()
}
