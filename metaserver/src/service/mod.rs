//! The wire's face of the metaserver: one type for each service, all thin. What they decide is elsewhere.

mod admin;
mod announce;
mod batch;
mod chunkservers;
mod clients;
mod mutate;
mod policy;
mod restore;
mod servers;
mod status;
mod trash;

use std::sync::Arc;
use std::time::Duration;

use cairn_proto::error::FsError;
use cairn_proto::ids::ClusterId;
use cairn_proto::meta::FsStat;
use cairn_proto::transport::RequestCounters;
use cairn_runtime::worker::Workers;

use crate::cluster::Cluster;
use crate::cluster::repair::census::Census;
use crate::namespace::query;
use crate::room::Room;
use crate::session::Clients;
use crate::state::State;

pub use admin::AdminFace;
pub use chunkservers::ClusterFace;
pub use clients::MetaFace;

/// What the services stand on.
#[derive(Debug)]
pub struct Shared {
    pub id: ClusterId,
    pub state: Arc<State>,
    pub clients: Arc<Clients>,
    pub cluster: Arc<Cluster>,
    pub census: Arc<Census>,
    pub room: Arc<Room>,
    pub workers: Workers,
    /// Of all services here.
    pub requests: Arc<RequestCounters>,
    /// Between heartbeats of a chunkserver.
    pub heartbeat: Duration,
}

impl Shared {
    /// Space as users can fill it: that of the chunkservers that are up, divided by the copies that the root asks for.
    fn stat_fs(&self) -> Result<FsStat, FsError> {
        let (counters, policy) = self.state.read(|read| {
            Ok::<_, crate::namespace::NamespaceError>((
                query::counters(read)?,
                query::policy_of(read, cairn_proto::ids::InodeId::ROOT)?,
            ))
        })?;
        let space = self.cluster.registry.space(self.cluster.now());
        let copies = u64::from(policy.copies);
        Ok(FsStat { total: space.total / copies, free: space.free / copies, inodes: counters.inodes })
    }
}
