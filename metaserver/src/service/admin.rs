//! [`AdminService`]: what `cairn` commands ask. People who administer a cluster see it as its clients do: those who work ahead are
//! asked first to tell what they did.

use std::sync::Arc;

use cairn_proto::admin::{AdminService, ChunkInfo, ClusterStatus, FsckPage, InodeInfo};
use cairn_proto::attr::FileKind;
use cairn_proto::chunk::CHUNK_SIZE;
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkIndex, DirCookie, InodeId, LogIndex};
use cairn_proto::meta::{MAX_CHUNKS_PER_CALL, MAX_DIR_PAGE, Mutation, ReadDir};
use cairn_proto::name::Name;
use cairn_proto::policy::{Policy, PolicyChange};
use futures::future::try_join_all;
use tarpc::context::Context;

use super::{Shared, status};
use crate::cluster::locate::location;
use crate::command::{Body, Command, Decided};
use crate::fsck;
use crate::namespace::inode::{Content, Inode};
use crate::namespace::{ChunkView, NamespaceError, Reply, query};

/// Ranges of places of a sparse file that are looked through for one answer.
const MAX_RANGES: u32 = 1024;
/// Entries whose policy is changed at the same time.
const POLICY_BATCH: usize = 256;

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
        let (found, path, xattrs) = shared.state.read(|read| {
            let found = query::get_inode(read, inode)?;
            Ok::<_, NamespaceError>((found, query::path_of(read, inode)?, query::list_xattr(read, inode)?))
        })?;
        let views = chunks_from(shared, &found, first_chunk)?;
        let chunks = views.into_iter().map(|view| chunk_info(shared, view)).collect();
        Ok(InodeInfo { attr: found.attr(), path, policy: found.policy, xattrs, chunks })
    }

    async fn resolve(self, _: Context, path: Vec<Name>) -> Result<InodeId, FsError> {
        self.0.clients.flush_all().await;
        self.0.state.read(|read| query::resolve(read, &path))
    }

    async fn set_policy(
        self,
        _: Context,
        inode: InodeId,
        change: PolicyChange,
        recursive: bool,
    ) -> Result<Policy, FsError> {
        self.0.clients.flush_all().await;
        let policy = self.0.set_policy(inode, change).await?;
        if recursive {
            self.0.set_policy_below(inode, change).await?;
        }
        Ok(policy)
    }

    async fn fsck(self, _: Context, data: bool, resume: Option<Vec<u8>>) -> Result<FsckPage, FsError> {
        if resume.is_none() {
            self.0.clients.flush_all().await;
        }
        fsck::page(&self.0.cluster, &self.0.clients, data, resume).await
    }

    async fn checkpoint(self, _: Context) -> Result<LogIndex, FsError> {
        self.0.state.log().checkpoint().await
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

impl Shared {
    async fn set_policy(&self, inode: InodeId, change: PolicyChange) -> Result<Policy, FsError> {
        let propose = || {
            let mutation = Mutation::SetPolicy { inode, change };
            let body = Body::Mutation { mutation, decided: Decided::Nothing };
            self.state.propose(Command { origin: None, at: self.state.wall(), body })
        };
        match self.clients.recalling_to_the_end(propose).await? {
            Reply::Policy(policy) => Ok(policy),
            other => {
                tracing::error!(?other, "a change of policy was answered by something else");
                Err(FsError::Storage)
            }
        }
    }

    /// Changes the policy of everything below a directory, as it is found: what is created meanwhile inherits the new one.
    async fn set_policy_below(&self, top: InodeId, change: PolicyChange) -> Result<(), FsError> {
        let mut directories = vec![top];
        while let Some(inode) = directories.pop() {
            let mut after = DirCookie::START;
            loop {
                let request = ReadDir { inode, after, limit: MAX_DIR_PAGE, plus: false };
                let page = match self.state.read(|read| query::read_dir(read, request)) {
                    Ok(page) => page,
                    // A file, or a directory that was removed meanwhile.
                    Err(FsError::NotDirectory | FsError::Stale(_)) => break,
                    Err(error) => return Err(error),
                };
                let of_kind = |kind| page.entries.iter().filter(move |entry| entry.kind == kind).map(|e| e.inode);
                directories.extend(of_kind(FileKind::Directory));
                let all: Vec<_> = of_kind(FileKind::Directory).chain(of_kind(FileKind::File)).collect();
                for some in all.chunks(POLICY_BATCH) {
                    try_join_all(some.iter().map(|&inode| self.set_policy_unless_gone(inode, change))).await?;
                }
                match page.entries.last() {
                    Some(last) if !page.end => after = last.cookie,
                    _ => break,
                }
            }
        }
        Ok(())
    }

    async fn set_policy_unless_gone(&self, inode: InodeId, change: PolicyChange) -> Result<(), FsError> {
        match self.set_policy(inode, change).await {
            Ok(_) | Err(FsError::Stale(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
