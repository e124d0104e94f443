//! Which copy of a chunk to read: one that is up, has not just failed, is on this machine, and otherwise a different one for
//! different parts of a file, so that readers spread.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use cairn_proto::chunk::{ChunkLocation, Replica};
use cairn_proto::ids::ServerId;
use cairn_proto::transport::Endpoint;
use parking_lot::Mutex;

/// Bytes that one copy is read for before the next one gets its turn: long enough for the server's own read-ahead.
const STRIPE_BYTES: u32 = 8 << 20;

/// Servers remembered as failed at most.
const MAX_AVOIDED: usize = 1024;

/// What this client knows about the chunkservers as a reader.
#[derive(Debug)]
pub(super) struct Replicas {
    /// This machine's name, as endpoints may give it.
    host: Option<String>,
    avoid_for: Duration,
    avoided: Mutex<HashMap<ServerId, Instant>>,
    /// Differs from client to client, so that they do not all read the same copy.
    salt: u64,
}

impl Replicas {
    pub(super) fn new(avoid_for: Duration) -> Self {
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        Self { host, avoid_for, avoided: Mutex::default(), salt: rand::random() }
    }

    /// Ask this one last for a while. Answers whether that is news.
    pub(super) fn failed(&self, server: ServerId) -> bool {
        let now = Instant::now();
        let mut avoided = self.avoided.lock();
        if avoided.len() >= MAX_AVOIDED {
            avoided.retain(|_, until| *until > now);
        }
        let before = avoided.insert(server, now + self.avoid_for);
        before.is_none_or(|until| until <= now)
    }

    pub(super) fn answered(&self, server: ServerId) {
        let mut avoided = self.avoided.lock();
        if !avoided.is_empty() {
            avoided.remove(&server);
        }
    }

    /// The replicas of a chunk in the order in which to try them for a read at `offset` in it.
    pub(super) fn order<'a>(&self, location: &'a ChunkLocation, offset: u32) -> Vec<&'a Replica> {
        let avoided = self.avoided.lock();
        let now = Instant::now();
        let mut order: Vec<(bool, bool, bool, u64, &Replica)> = location
            .replicas
            .iter()
            .map(|replica| {
                let failed = avoided.get(&replica.server).is_some_and(|until| *until > now);
                let mut hasher = DefaultHasher::new();
                (self.salt, location.id.handle, offset / STRIPE_BYTES, replica.server).hash(&mut hasher);
                (failed, !replica.up, !self.is_near(&replica.endpoint), hasher.finish(), replica)
            })
            .collect();
        order.sort_by_key(|(failed, down, far, turn, _)| (*failed, *down, *far, *turn));
        order.into_iter().map(|(.., replica)| replica).collect()
    }

    fn is_near(&self, endpoint: &Endpoint) -> bool {
        let named = |host: &str| self.host.as_deref() == Some(host);
        endpoint.is_local() || matches!(endpoint, Endpoint::Tcp { host, .. } if named(host))
    }
}

#[cfg(test)]
mod tests {
    use cairn_proto::chunk::ChunkId;
    use cairn_proto::ids::{ChunkHandle, ChunkIndex, ChunkVersion, InodeId};

    use super::*;

    fn location(endpoints: &[&str]) -> ChunkLocation {
        let replica = |e: &&str| Replica { server: ServerId::random(), endpoint: e.parse().unwrap(), up: true };
        ChunkLocation {
            id: ChunkId {
                handle: ChunkHandle(1),
                version: ChunkVersion::FIRST,
                inode: InodeId(2),
                index: ChunkIndex(0),
            },
            length: 0,
            trimmed_at: None,
            replicas: endpoints.iter().map(replica).collect(),
        }
    }

    #[test]
    fn near_then_up_then_not_failed() {
        let replicas = Replicas::new(Duration::from_secs(60));
        let mut location = location(&["10.0.0.1:1", "unix:/run/a", "10.0.0.2:1"]);
        let servers: Vec<ServerId> = location.replicas.iter().map(|replica| replica.server).collect();
        let first = |location: &ChunkLocation| replicas.order(location, 0)[0].server;
        assert_eq!(first(&location), servers[1]);
        location.replicas[1].up = false;
        assert_ne!(first(&location), servers[1]);
        replicas.failed(servers[0]);
        replicas.failed(servers[2]);
        assert_eq!(first(&location), servers[1], "down by hearsay is better than failed just now");
        replicas.answered(servers[0]);
        assert_eq!(first(&location), servers[0]);
        assert_eq!(replicas.order(&location, 0).len(), 3);
    }

    #[test]
    fn spreads_over_copies() {
        let replicas = Replicas::new(Duration::from_secs(60));
        let location = location(&["10.0.0.1:1", "10.0.0.2:1"]);
        let firsts: std::collections::HashSet<ServerId> = (0..64)
            .map(|i| ChunkLocation { id: ChunkId { handle: ChunkHandle(i), ..location.id }, ..location.clone() })
            .map(|location| replicas.order(&location, 0)[0].server)
            .collect();
        assert_eq!(firsts.len(), 2);
        assert_eq!(replicas.order(&location, 0)[0], replicas.order(&location, STRIPE_BYTES - 1)[0]);
    }
}
