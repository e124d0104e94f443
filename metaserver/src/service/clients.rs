//! [`MetaService`]: what clients ask. Reads are answered at once from applied state; the store is in memory or close to it. Only what
//! is delegated to another client waits for that one.

use std::collections::HashMap;
use std::future::ready;
use std::sync::Arc;

use cairn_proto::attr::{Attr, FileKind};
use cairn_proto::chunk::{CHUNK_SIZE, ChunkLocation};
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, InodeId, ServerId, SessionId};
use cairn_proto::lock::{Lock, LockOutcome, LockRange, LocksOf, MAX_RECLAIMED};
use cairn_proto::meta::{
    BadReplica, ClientInfo, DirEntry, DirPage, Events, Found, FsStat, Granted, InodeRange, Lease, MAX_CHUNKS_PER_CALL,
    MAX_LEASES_PER_CALL, MAX_LOCATE_FIRST, MAX_PLACES_PER_CALL, MAX_RELEASE, MAX_RESERVED_INODES, MetaService,
    MutationReply, NamedMutation, OpenMode, Opened, ReadDir, ServerPlace, SessionGrant,
};
use cairn_proto::name::Name;
use cairn_proto::trash::{TrashCursor, TrashEntry, TrashFilter, TrashPage};
use tarpc::context::Context;

use super::Shared;
use super::batch::mutate;
use super::mutate::register_open;
use super::trash;
use crate::cluster::locate::locate_for;
use crate::cluster::reconcile::is_unsettled;
use crate::cluster::repair::{BadCopy, Complaint};
use crate::namespace::Outcome;
use crate::namespace::query::{self, Viewer};
use crate::room::Level;
use crate::session::leases::Share;

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
        Ok(SessionGrant { session, cluster: self.0.id, term_ms, incarnation: clients.incarnation })
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

    async fn acted(self, _: Context, session: SessionId, events: Vec<u64>) -> Result<(), FsError> {
        self.0.clients.acted(session, &events)
    }

    async fn lookup(self, _: Context, session: SessionId, parent: InodeId, name: Name) -> Result<Found, FsError> {
        let shared = &*self.0;
        shared.clients.looking(session, || ready(shared.look_up(session, parent, &name))).await
    }

    async fn get_attr(self, _: Context, session: SessionId, inode: InodeId) -> Result<Granted<Attr>, FsError> {
        let clients = &self.0.clients;
        let Granted { value, leased } = clients.looking(session, || ready(clients.show(session, inode))).await?;
        Ok(Granted { value: value.attr(), leased })
    }

    async fn acquire(self, _: Context, session: SessionId, inode: InodeId) -> Result<Attr, FsError> {
        let clients = &self.0.clients;
        Ok(clients.recalling(|| clients.acquire(session, inode)).await?.attr())
    }

    async fn reclaim_leases(
        self,
        _: Context,
        session: SessionId,
        incarnation: u64,
        kept: Vec<(InodeId, Lease)>,
        last: bool,
    ) -> Result<(), FsError> {
        if kept.len() > MAX_LEASES_PER_CALL {
            return Err(FsError::InvalidArgument);
        }
        let clients = &self.0.clients;
        clients.heard(session)?;
        if incarnation == clients.incarnation {
            clients.leases.reclaim(session, &kept, last);
        }
        Ok(())
    }

    async fn dropped_the_rest(self, _: Context, session: SessionId, incarnation: u64) -> Result<(), FsError> {
        let clients = &self.0.clients;
        clients.heard(session)?;
        if incarnation == clients.incarnation {
            clients.leases.dropped_the_rest(session);
        }
        Ok(())
    }

    async fn return_leases(self, _: Context, session: SessionId, inodes: Vec<InodeId>) -> Result<(), FsError> {
        if inodes.len() > MAX_LEASES_PER_CALL {
            return Err(FsError::InvalidArgument);
        }
        self.0.clients.heard(session)?;
        self.0.clients.returned(session, &inodes);
        Ok(())
    }

    async fn read_link(self, _: Context, session: SessionId, inode: InodeId) -> Result<Vec<u8>, FsError> {
        self.0.view(session, |viewer| viewer.of_inode(inode, query::read_link)).await
    }

    async fn read_dir(self, _: Context, session: SessionId, request: ReadDir) -> Result<DirPage, FsError> {
        let shared = &*self.0;
        shared.clients.looking(session, || ready(shared.list(session, request))).await
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
        shared.clients.looking(session, || open_once(shared, session, inode, mode)).await
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
        shared.clients.looking(session, || ready(locate_settled(shared, session, inode, first, count))).await
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

    async fn places(self, _: Context, servers: Vec<ServerId>) -> Result<Vec<ServerPlace>, FsError> {
        if servers.len() > MAX_PLACES_PER_CALL {
            return Err(FsError::InvalidArgument);
        }
        let registry = &self.0.cluster.registry;
        let place = |server| registry.domains(server).map(|labels| ServerPlace { server, labels });
        Ok(servers.into_iter().filter_map(place).collect())
    }

    async fn trash(self, _: Context, session: SessionId, after: Option<TrashCursor>) -> Result<TrashPage, FsError> {
        self.0.clients.heard(session)?;
        trash::page(&self.0, &TrashFilter::default(), after)
    }

    async fn trashed(self, _: Context, session: SessionId, inode: InodeId) -> Result<TrashEntry, FsError> {
        self.0.clients.heard(session)?;
        self.0.state.read(|read| query::trash_entry(read, inode, &mut HashMap::new()))
    }

    async fn drop_trash(self, _: Context, session: SessionId, inode: InodeId) -> Result<(), FsError> {
        let shared = self.0;
        shared.clients.heard(session)?;
        finish(async move { trash::drop_for_good(&shared, vec![inode]).await }).await
    }
}

fn valid(lock: Lock) -> Result<Lock, FsError> {
    if lock.range.is_valid() { Ok(lock) } else { Err(FsError::InvalidArgument) }
}

impl Shared {
    fn look_up(&self, session: SessionId, parent: InodeId, name: &Name) -> Result<Found, FsError> {
        let look = || self.state.read(|read| Viewer::new(read, session).lookup(parent, name));
        // Leases first: only what is looked at under them is sure to stay.
        let dir_leased = self.clients.leases.share(session, parent, None, false) == Share::Granted;
        let Some(seen) = look()? else { return Ok(Found { entry: None, dir_leased }) };
        let leased = self.clients.share(session, &seen)?;
        let entry = look()?.map(|inode| Granted { value: inode.attr(), leased: leased && inode.id == seen.id });
        Ok(Found { entry, dir_leased })
    }

    /// A page of a directory. Leases are granted on it and, if their attributes are asked for, on what it names; attributes that somebody
    /// else may know better are left out.
    fn list(&self, session: SessionId, request: ReadDir) -> Result<DirPage, FsError> {
        let look = || self.state.read(|read| Viewer::new(read, session).read_dir(request));
        // Who has it delegated needs no leases.
        if self.state.read(|read| Viewer::new(read, session).has(request.inode))? {
            return look();
        }
        let leases = &self.clients.leases;
        let leased = leases.share(session, request.inode, None, false) == Share::Granted;
        if !request.plus {
            return Ok(DirPage { leased, ..look()? });
        }
        let share = |entry: &DirEntry| {
            let is_directory = entry.kind == FileKind::Directory;
            let home = (!is_directory).then_some(request.inode);
            (entry.inode, leases.share(session, entry.inode, home, entry.kind == FileKind::File))
        };
        let shares: HashMap<InodeId, Share> = look()?.entries.iter().map(share).collect();
        let mut page = look()?;
        for entry in &mut page.entries {
            match shares.get(&entry.inode) {
                Some(Share::Granted) => entry.leased = entry.attr.is_some(),
                Some(Share::Refused) | None => {}
                Some(Share::Unwritten) => entry.attr = None,
            }
        }
        Ok(DirPage { leased, ..page })
    }

    /// Answers a question of `session`, once nobody else may know better.
    async fn view<T>(&self, session: SessionId, question: impl Fn(Viewer<'_>) -> Outcome<T>) -> Result<T, FsError> {
        let ask = || ready(self.state.read(|read| question(Viewer::new(read, session))));
        self.clients.recalling(ask).await
    }
}

async fn open_once(shared: &Shared, session: SessionId, inode: InodeId, mode: OpenMode) -> Result<Opened, FsError> {
    let registered = register_open(shared, session, inode, mode.write)?;
    if registered.kind() != FileKind::File {
        let (attr, policy) = (registered.attr(), registered.policy);
        return Ok(Opened { attr, policy, chunks: Vec::new(), lease: Lease::None, contended: false });
    }
    let opened = open_file(shared, session, inode, mode).await;
    if opened.is_err() {
        shared.clients.files.release(session, &[inode]);
    }
    opened
}

/// What is told of a file to a session that has been registered as having it open.
async fn open_file(shared: &Shared, session: SessionId, inode: InodeId, mode: OpenMode) -> Result<Opened, FsError> {
    let clients = &shared.clients;
    let others = clients.files.others(session, inode);
    let found = match others {
        // It is likely to write, and nobody who has it open would be disturbed.
        None if mode.write => clients.acquire(session, inode).await?,
        _ => clients.show(session, inode)?.value,
    };
    let chunks = locate_settled(shared, session, inode, ChunkIndex(0), chunks_of(found.attr().size))?;
    let contended = others.is_some_and(|others| others.write || mode.write);
    let lease = clients.lease(session, inode);
    Ok(Opened { attr: found.attr(), policy: found.policy, chunks, lease, contended })
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
