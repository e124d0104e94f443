//! Where the chunks of a file are, as clients are told: durable membership with addresses filled in.

use cairn_proto::chunk::ChunkLocation;
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkIndex, InodeId, SessionId};

use super::Cluster;
use super::registry::Registry;
use crate::Moment;
use crate::namespace::query::{self, Viewer};
use crate::namespace::{ChunkView, Outcome};
use crate::store::Read;

/// The chunks among `count` places of a file from `first`.
///
/// `ChunkBusy` where one of them is being repaired: nobody may learn its version of the moment.
pub fn locate(cluster: &Cluster, inode: InodeId, first: ChunkIndex, count: u32) -> Result<Vec<ChunkLocation>, FsError> {
    locate_by(cluster, |read| query::locate(read, inode, first, count))
}

/// As [`locate`], for a client: `Delegated` where another one may know better.
pub fn locate_for(
    cluster: &Cluster,
    session: SessionId,
    inode: InodeId,
    first: ChunkIndex,
    count: u32,
) -> Result<Vec<ChunkLocation>, FsError> {
    let query = |read: &dyn Read, inode| query::locate(read, inode, first, count);
    locate_by(cluster, |read| Viewer::new(read, session).of_inode(inode, query))
}

fn locate_by(
    cluster: &Cluster,
    query: impl Fn(&dyn Read) -> Outcome<Vec<ChunkView>>,
) -> Result<Vec<ChunkLocation>, FsError> {
    let views = cluster.busy.while_still(|is_busy| {
        let views = cluster.state.read(&query)?;
        match views.iter().find(|view| is_busy(view.id.handle)) {
            Some(busy) => Err(FsError::ChunkBusy(busy.id.handle)),
            None => Ok(views),
        }
    })?;
    let now = cluster.now();
    Ok(views.into_iter().map(|view| location(&cluster.registry, view, now)).collect())
}

/// Fills in where the members are. For showing it to people too: busy or not.
pub fn location(registry: &Registry, view: ChunkView, now: Moment) -> ChunkLocation {
    ChunkLocation {
        id: view.id,
        length: view.length,
        trimmed_at: view.trimmed_at,
        replicas: view.members.into_iter().map(|server| registry.replica(server, now)).collect(),
    }
}
