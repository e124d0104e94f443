//! [`AdminService`]: what `cairn` commands ask. People who administer a cluster see it as its clients do: those who work ahead are
//! asked first to tell what they did.

use std::sync::Arc;

use cairn_proto::admin::{
    AdminService, ChunkInfo, ClusterStatus, FsckPage, InodeInfo, MAX_RECHECKED, PolicyInfo, PolicySet, Recheck,
    RepairStatus, ServerMode, ServerStats, TunablesChange,
};
use cairn_proto::chunk::CHUNK_SIZE;
use cairn_proto::error::{AdminError, FsError};
use cairn_proto::ids::{ChunkHandle, ChunkIndex, InodeId, LogIndex, ServerId};
use cairn_proto::meta::MAX_CHUNKS_PER_CALL;
use cairn_proto::name::Name;
use cairn_proto::scrub::ScrubOrder;
use cairn_proto::simulation::{Scenario, SimulationPage};
use cairn_proto::trash::{
    RestoreRequest, RestoreResume, RestoredDir, RestoredPage, RestoredTop, TrashCount, TrashCursor, TrashFilter,
    TrashPage,
};
use tarpc::context::Context;

use super::{Shared, policy, restore, servers, status, trash};
use crate::cluster::locate::location;
use crate::cluster::simulate;
use crate::command::Internal;
use crate::fsck::{self, Depth};
use crate::namespace::inode::{Content, Inode};
use crate::namespace::{ChunkView, NamespaceError, query};

/// Ranges of places of a sparse file that are looked through for one answer.
const MAX_RANGES: u32 = 1024;

/// What `cairn` commands talk to.
#[derive(Clone, Debug)]
pub struct AdminFace(pub Arc<Shared>);

impl AdminService for AdminFace {
    async fn status(self, _: Context) -> Result<ClusterStatus, FsError> {
        status::status(&self.0)
    }

    async fn info(self, _: Context, inode: InodeId, first_chunk: u32) -> Result<InodeInfo, FsError> {
        let shared = &*self.0;
        shared.clients.flush_all().await;
        shared.clients.flush_file(inode).await;
        let (found, path, xattrs) = shared.state.read(|read| {
            let found = query::get_inode(read, inode)?;
            Ok::<_, NamespaceError>((found, query::path_of(read, inode)?, query::list_xattr(read, inode)?))
        })?;
        let views = chunks_from(shared, &found, first_chunk)?;
        let chunks = views.into_iter().map(|view| chunk_info(shared, view)).collect();
        let placement = shared.cluster.placement(found.policy.placement)?;
        let retention = found.is_directory().then_some(found.retention);
        Ok(InodeInfo { attr: found.attr(), path, policy: found.policy, placement, retention, xattrs, chunks })
    }

    async fn resolve(self, _: Context, path: Vec<Name>) -> Result<InodeId, FsError> {
        self.0.clients.flush_all().await;
        self.0.state.read(|read| query::resolve(read, &path))
    }

    async fn set_policy(
        self,
        _: Context,
        inode: InodeId,
        set: PolicySet,
        recursive: bool,
    ) -> Result<PolicyInfo, AdminError> {
        self.0.clients.flush_all().await;
        policy::set(&self.0, inode, set, recursive).await
    }

    async fn fsck(self, _: Context, data: bool, repair: bool, resume: Option<Vec<u8>>) -> Result<FsckPage, FsError> {
        if resume.is_none() {
            self.0.clients.flush_all().await;
        }
        fsck::page(&self.0.cluster, &self.0.clients, Depth { data, repair }, resume).await
    }

    async fn checkpoint(self, _: Context) -> Result<LogIndex, FsError> {
        self.0.state.log().checkpoint().await
    }

    async fn stats(self, _: Context) -> Result<ServerStats, FsError> {
        Ok(status::stats(&self.0.requests))
    }

    async fn set_server_mode(self, _: Context, server: ServerId, mode: ServerMode) -> Result<(), AdminError> {
        servers::set_mode(&self.0.cluster, server, mode).await
    }

    async fn remove_server(self, _: Context, server: ServerId) -> Result<(), AdminError> {
        servers::remove(&self.0.cluster, server).await
    }

    async fn tune(self, _: Context, change: TunablesChange) -> Result<RepairStatus, AdminError> {
        let shared = &*self.0;
        let tunables = shared.state.read(query::tunables)?.changed(change);
        shared.state.internal(Internal::SetTunables { tunables }).await?;
        shared.cluster.throttle.tune(tunables);
        Ok(status::repair(shared))
    }

    async fn simulate(self, _: Context, scenario: Scenario, after: ChunkHandle) -> Result<SimulationPage, AdminError> {
        simulate::page(&self.0.cluster, &scenario, after).await
    }

    async fn scrub(self, _: Context, server: ServerId, order: ScrubOrder) -> Result<(), AdminError> {
        servers::scrub(&self.0.cluster, server, order).await
    }

    async fn recheck(self, _: Context, chunks: Vec<ChunkHandle>, data: bool) -> Result<Recheck, FsError> {
        if chunks.len() > MAX_RECHECKED {
            return Err(FsError::InvalidArgument);
        }
        fsck::recheck(&self.0.cluster, &self.0.clients, data, chunks).await
    }

    async fn trash(self, _: Context, filter: TrashFilter, after: Option<TrashCursor>) -> Result<TrashPage, FsError> {
        if after.is_none() {
            self.0.clients.flush_all().await;
        }
        trash::page(&self.0, &filter, after)
    }

    async fn restore(self, _: Context, request: RestoreRequest) -> Result<RestoredTop, AdminError> {
        self.0.clients.flush_all().await;
        restore::top(&self.0, request).await
    }

    async fn restore_below(
        self,
        _: Context,
        directory: RestoredDir,
        all: bool,
        resume: Option<RestoreResume>,
    ) -> Result<RestoredPage, AdminError> {
        Ok(restore::below(&self.0, directory, all, resume).await?)
    }

    async fn empty_trash(
        self,
        _: Context,
        filter: TrashFilter,
        after: Option<TrashCursor>,
        dry: bool,
    ) -> Result<(TrashCount, Option<TrashCursor>), FsError> {
        if after.is_none() {
            self.0.clients.flush_all().await;
        }
        trash::empty(&self.0, &filter, after, dry).await
    }
}

/// The first chunks of a file from place `first` on, as many as one answer names, holes skipped.
fn chunks_from(shared: &Shared, file: &Inode, first: u32) -> Result<Vec<ChunkView>, FsError> {
    let Content::File(content) = &file.content else { return Ok(Vec::new()) };
    let end = content.size.div_ceil(CHUNK_SIZE);
    let mut found = Vec::new();
    let ranges = (first..).step_by(MAX_CHUNKS_PER_CALL as usize).take(MAX_RANGES as usize);
    for start in ranges.take_while(|&start| u64::from(start) < end || start == first) {
        let range = shared.state.read(|read| query::locate(read, file.id, ChunkIndex(start), MAX_CHUNKS_PER_CALL))?;
        found.extend(range);
        if found.len() >= MAX_CHUNKS_PER_CALL as usize {
            break;
        }
    }
    found.truncate(MAX_CHUNKS_PER_CALL as usize);
    Ok(found)
}

fn chunk_info(shared: &Shared, view: ChunkView) -> ChunkInfo {
    let registry = &shared.cluster.registry;
    let names = view.members.iter().map(|&member| registry.name(member)).collect();
    let target = view.target;
    ChunkInfo { location: location(registry, view, shared.cluster.now()), names, target }
}
