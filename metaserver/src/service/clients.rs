//! [`MetaService`]: what clients ask. Reads are answered at once from applied state; the store is in memory or close to it. Only what
//! is delegated to another client waits for that one.

use std::future::ready;
use std::sync::Arc;

use cairn_proto::attr::{Attr, FileKind};
use cairn_proto::chunk::{CHUNK_SIZE, ChunkLocation};
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, InodeId, ServerId, SessionId};
use cairn_proto::lock::{Lock, LockOutcome, LockRange, LocksOf, MAX_RECLAIMED};
use cairn_proto::meta::{
    BadReplica, ClientInfo, DirPage, Events, FsStat, InodeRange, MAX_CHUNKS_PER_CALL, MAX_LOCATE_FIRST, MAX_RELEASE,
    MAX_RESERVED_INODES, MetaService, MutationReply, NamedMutation, OpenMode, Opened, ReadDir, SessionGrant,
};
use cairn_proto::name::Name;
use tarpc::context::Context;

use super::Shared;
use super::batch::mutate;
use super::mutate::register_open;
use crate::cluster::locate::locate_for;
use crate::cluster::reconcile::is_unsettled;
use crate::cluster::repair::{BadCopy, Complaint};
use crate::namespace::Outcome;
use crate::namespace::query::{self, Viewer};
use crate::room::Level;

/// What clients talk to.
#[derive(Clone, Debug)]
pub struct MetaFace(pub Arc<Shared>);

impl MetaService for MetaFace {
    async fn open_session(
        self,
        _: Context,
        client: ClientInfo,
        resume: Option<SessionId>,
        open: Vec<InodeId>,
    ) -> Result<SessionGrant, FsError> {
        let clients = &self.0.clients;
        let session = match resume {
            Some(session) => {
                clients.resume(session, &open)?;
                session
            }
            None => clients.open(client).await?,
        };
        let term_ms = clients.sessions.term().as_millis() as u64;
        Ok(SessionGrant { session, cluster: self.0.id, term_ms })
    }

    async fn keep_alive(self, _: Context, session: SessionId) -> Result<(), FsError> {
        self.0.clients.heard(session)
    }

    async fn close_session(self, _: Context, session: SessionId) -> Result<(), FsError> {
        let clients = self.0.clients.clone();
        finish(async move { clients.close(session).await }).await
    }

    async fn mutate(
        self,
        _: Context,
        ops: Vec<NamedMutation>,
        acked: u64,
    ) -> Result<Vec<Result<MutationReply, FsError>>, FsError> {
        let shared = self.0;
        finish(async move { mutate(&shared, ops, acked).await }).await
    }

    async fn reserve_inodes(self, _: Context, session: SessionId, count: u32) -> Result<InodeRange, FsError> {
        let shared = &*self.0;
        shared.clients.heard(session)?;
        if !(1..=MAX_RESERVED_INODES).contains(&count) {
            return Err(FsError::InvalidArgument);
        }
        // What is made with them would be refused.
        if shared.room.level() < Level::Enough {
            return Err(FsError::NoSpace);
        }
        shared.state.reserve_inodes(count).await
    }

    async fn events(self, _: Context, session: SessionId, seen: u64) -> Result<Events, FsError> {
        self.0.clients.events(session, seen).await
    }

    async fn lookup(self, _: Context, session: SessionId, parent: InodeId, name: Name) -> Result<Attr, FsError> {
        self.0.view(session, |viewer| viewer.lookup(parent, &name)).await
    }

    async fn get_attr(self, _: Context, session: SessionId, inode: InodeId) -> Result<Attr, FsError> {
        self.0.view(session, |viewer| viewer.get_attr(inode)).await
    }

    async fn read_link(self, _: Context, session: SessionId, inode: InodeId) -> Result<Vec<u8>, FsError> {
        self.0.view(session, |viewer| viewer.of_inode(inode, query::read_link)).await
    }

    async fn read_dir(self, _: Context, session: SessionId, request: ReadDir) -> Result<DirPage, FsError> {
        self.0.view(session, |viewer| viewer.read_dir(request)).await
    }

    async fn get_xattr(self, _: Context, session: SessionId, inode: InodeId, name: Name) -> Result<Vec<u8>, FsError> {
        self.0.view(session, |viewer| viewer.of_inode(inode, |read, id| query::get_xattr(read, id, &name))).await
    }

    async fn list_xattr(self, _: Context, session: SessionId, inode: InodeId) -> Result<Vec<Name>, FsError> {
        self.0.view(session, |viewer| viewer.of_inode(inode, query::list_xattr)).await
    }

    async fn open(self, _: Context, session: SessionId, inode: InodeId, mode: OpenMode) -> Result<Opened, FsError> {
        let shared = &*self.0;
        shared.clients.heard(session)?;
        shared.clients.recalling(|| ready(open_once(shared, session, inode, mode))).await
    }

    async fn release(self, _: Context, session: SessionId, inodes: Vec<InodeId>) -> Result<(), FsError> {
        if inodes.len() > MAX_RELEASE {
            return Err(FsError::InvalidArgument);
        }
        self.0.clients.heard(session)?;
        self.0.clients.files.release(session, &inodes);
        Ok(())
    }

    async fn locate(
        self,
        _: Context,
        session: SessionId,
        inode: InodeId,
        first: ChunkIndex,
        count: u32,
    ) -> Result<Vec<ChunkLocation>, FsError> {
        let shared = &*self.0;
        shared.clients.recalling(|| ready(locate_settled(shared, session, inode, first, count))).await
    }

    async fn locate_first(
        self,
        _: Context,
        session: SessionId,
        inodes: Vec<InodeId>,
    ) -> Result<Vec<Option<ChunkLocation>>, FsError> {
        if inodes.len() > MAX_LOCATE_FIRST {
            return Err(FsError::InvalidArgument);
        }
        let first = |inode| locate_settled(&self.0, session, inode, ChunkIndex(0), 1).ok()?.pop();
        Ok(inodes.into_iter().map(first).collect())
    }

    async fn report_bad_replica(
        self,
        _: Context,
        handle: ChunkHandle,
        server: ServerId,
        what: BadReplica,
    ) -> Result<(), FsError> {
        let cluster = &self.0.cluster;
        let chunk = cluster.chunk(handle)?.ok_or(FsError::NotFound)?;
        let name = cluster.registry.name(server);
        if !chunk.members.contains(&server) {
            tracing::debug!(%handle, server = name, ?what, "a reader knew an old location");
            return Ok(());
        }
        tracing::warn!(%handle, server = name, ?what, "a reader met a bad copy");
        let what = match what {
            // Heartbeats say who is up; and a member that is up is current, whatever its version.
            BadReplica::Unreachable | BadReplica::Stale => return Ok(()),
            BadReplica::Missing => BadCopy::Missing,
            BadReplica::Damaged => {
                cluster.registry.count_damage(server);
                BadCopy::Damaged
            }
        };
        cluster.repairs.complain(handle, Complaint { server, what }, cluster.now());
        Ok(())
    }

    async fn stat_fs(self, _: Context) -> Result<FsStat, FsError> {
        self.0.stat_fs()
    }

    async fn set_lock(self, _: Context, session: SessionId, lock: Lock, wait: bool) -> Result<LockOutcome, FsError> {
        self.0.clients.set_lock(session, valid(lock)?, wait).await
    }

    async fn test_lock(self, _: Context, session: SessionId, lock: Lock) -> Result<Option<Lock>, FsError> {
        self.0.clients.heard(session)?;
        self.0.clients.locks.test(session, valid(lock)?)
    }

    async fn unset_lock(self, _: Context, session: SessionId, of: LocksOf, range: LockRange) -> Result<(), FsError> {
        self.0.clients.heard(session)?;
        self.0.clients.locks.unset(session, of, range)
    }

    async fn reclaim_locks(self, _: Context, session: SessionId, locks: Vec<Lock>, last: bool) -> Result<(), FsError> {
        if locks.len() > MAX_RECLAIMED {
            return Err(FsError::InvalidArgument);
        }
        self.0.clients.heard(session)?;
        self.0.clients.locks.reclaim(session, &locks, last)
    }
}

fn valid(lock: Lock) -> Result<Lock, FsError> {
    if lock.range.is_valid() { Ok(lock) } else { Err(FsError::InvalidArgument) }
}

impl Shared {
    /// Answers a question of `session`, once nobody else may know better.
    async fn view<T>(&self, session: SessionId, question: impl Fn(Viewer<'_>) -> Outcome<T>) -> Result<T, FsError> {
        let ask = || ready(self.state.read(|read| question(Viewer::new(read, session))));
        self.clients.recalling(ask).await
    }
}

fn open_once(shared: &Shared, session: SessionId, inode: InodeId, mode: OpenMode) -> Result<Opened, FsError> {
    let found = register_open(shared, session, inode, mode.write)?;
    let chunks = match found.kind() {
        FileKind::File => locate_settled(shared, session, inode, ChunkIndex(0), chunks_of(found.attr().size)),
        _ => Ok(Vec::new()),
    };
    match chunks {
        Ok(chunks) => Ok(Opened { attr: found.attr(), policy: found.policy, chunks }),
        Err(error) => {
            shared.clients.files.release(session, &[inode]);
            Err(error)
        }
    }
}

/// How many of the first chunks of a file of `size` bytes to name to whoever opens it.
fn chunks_of(size: u64) -> u32 {
    // An empty file may have its first one ahead.
    size.div_ceil(CHUNK_SIZE).clamp(1, u64::from(MAX_CHUNKS_PER_CALL)) as u32
}

/// The chunks of a part of a file. `ChunkBusy` where one of them is still in the state in which a writer that vanished left it.
fn locate_settled(
    shared: &Shared,
    session: SessionId,
    inode: InodeId,
    first: ChunkIndex,
    count: u32,
) -> Result<Vec<ChunkLocation>, FsError> {
    let chunks = locate_for(&shared.cluster, session, inode, first, count)?;
    if shared.clients.files.is_abandoned(inode)
        && let Some(unsettled) = chunks.iter().find(|chunk| is_unsettled(&shared.cluster, chunk))
    {
        return Err(FsError::ChunkBusy(unsettled.id.handle));
    }
    Ok(chunks)
}

/// Runs something to its end even when the caller goes away half way.
async fn finish<T: Send + 'static>(
    work: impl Future<Output = Result<T, FsError>> + Send + 'static,
) -> Result<T, FsError> {
    // It fails when the process is stopping, or by a panic, which has been logged.
    tokio::spawn(work).await.unwrap_or(Err(FsError::NotReady))
}
