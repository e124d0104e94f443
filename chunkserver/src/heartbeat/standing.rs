//! Which metaservers this server is registered with: whether it is ready.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_proto::transport::Endpoint;
use cairn_runtime::health::Condition;
use parking_lot::Mutex;

/// Ready while at least one metaserver has this server's full report and answers its heartbeats. Clones are the same.
#[derive(Clone, Debug)]
pub struct Standing(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    condition: Condition,
    /// Why not, by metaserver; `None`: registered there.
    metaservers: Mutex<BTreeMap<Endpoint, Option<String>>>,
}

impl Standing {
    pub fn new(condition: Condition) -> Self {
        Self(Arc::new(Inner { condition, metaservers: Mutex::default() }))
    }

    pub fn up(&self, metaserver: &Endpoint) {
        self.set(metaserver, None);
    }

    pub fn down(&self, metaserver: &Endpoint, why: &str) {
        self.set(metaserver, Some(why.to_owned()));
    }

    fn set(&self, metaserver: &Endpoint, why: Option<String>) {
        let mut metaservers = self.0.metaservers.lock();
        let before = metaservers.insert(metaserver.clone(), why.clone());
        // Once per change: it is tried again and again.
        if let Some(why) = &why
            && before.is_none_or(|before| before.is_none())
        {
            tracing::warn!(%metaserver, why, "no connection to this metaserver");
        }
        if metaservers.values().any(Option::is_none) {
            return self.0.condition.set_ready();
        }
        let reasons: Vec<_> =
            metaservers.iter().filter_map(|(at, why)| Some(format!("{at}: {}", why.as_ref()?))).collect();
        self.0.condition.set_not_ready(reasons.join("; "));
    }
}

#[cfg(test)]
mod tests {
    use cairn_runtime::health::Health;

    use super::*;

    #[test]
    fn one_metaserver_is_enough() {
        let health = Health::new();
        let standing = Standing::new(health.condition("registered"));
        let [a, b]: [Endpoint; 2] = ["a:1", "b:2"].map(|text| text.parse().unwrap());
        standing.down(&a, "no answer");
        assert_eq!(health.readiness().reasons["registered"], "a:1: no answer");
        standing.up(&b);
        assert!(health.readiness().ready);
        standing.down(&b, "gone");
        assert_eq!(health.readiness().reasons["registered"], "a:1: no answer; b:2: gone");
    }
}
