//! A metaserver of one file, with a ledger, that can lose answers, sessions and itself.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use cairn_proto::attr::{Attr, FileKind};
use cairn_proto::chunk::ChunkLocation;
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, ClusterId, InodeId, LogIndex, OpId, ServerId, SessionId};
use cairn_proto::lock::{Lock, LockOutcome, LockRange, LocksOf};
use cairn_proto::meta::*;
use cairn_proto::name::Name;
use cairn_proto::policy::Policy;
use cairn_proto::time::Timestamp;
use cairn_proto::transport::{Endpoint, Listener, PeerKind, Server, ServerLimits, Service};
use cairn_proto::trash::{TrashCursor, TrashEntry, TrashPage};
use parking_lot::Mutex;
use tarpc::context::Context;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Default)]
pub struct Fake {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sessions: u64,
    live: Option<SessionId>,
    opened: Vec<(Option<SessionId>, Vec<InodeId>)>,
    ledger: HashMap<OpId, Attr>,
    asked: usize,
    /// Of the last mutation that was done ahead.
    position: u64,
    done: usize,
    swallow: usize,
    refusals: VecDeque<FsError>,
    released: Vec<InodeId>,
    release_calls: usize,
    closed: bool,
    /// The calls that claimed locks.
    reclaimed: Vec<(Vec<Lock>, bool)>,
}

/// A fake that listens.
pub struct Running {
    pub endpoint: Endpoint,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Ends every connection, whatever is under way.
    pub async fn kill(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

impl Fake {
    pub async fn run(self: &Arc<Self>, endpoint: Option<Endpoint>) -> Running {
        let endpoint = endpoint.unwrap_or_else(|| "127.0.0.1:0".parse().unwrap());
        let listener = Listener::bind(&endpoint).await.unwrap();
        let endpoint = listener.endpoint().clone();
        let limits = ServerLimits { drain_timeout: Duration::from_millis(20), ..ServerLimits::default() };
        let face = Face(self.clone());
        let server = Server::new(PeerKind::Metaserver, limits).with(Service::Meta, move |context, request| {
            tarpc::server::Serve::serve(face.clone().serve(), context, request)
        });
        let stop = CancellationToken::new();
        let task = tokio::spawn(server.run(listener, stop.clone()));
        Running { endpoint, stop, task }
    }

    /// The next `count` mutations are done, and not answered.
    pub fn swallow_answers(&self, count: usize) {
        self.state.lock().swallow = count;
    }

    pub fn refuse_next(&self, errors: Vec<FsError>) {
        self.state.lock().refusals = errors.into();
    }

    pub fn forget_sessions(&self) {
        self.state.lock().live = None;
    }

    pub fn done(&self) -> usize {
        self.state.lock().done
    }

    pub fn asked(&self) -> usize {
        self.state.lock().asked
    }

    /// All calls of `open_session` but the first.
    pub fn resumed(&self) -> Vec<(Option<SessionId>, Vec<InodeId>)> {
        self.state.lock().opened[1..].to_vec()
    }

    /// The locks of each call that claimed some, and whether it was the last.
    pub fn reclaimed(&self) -> Vec<(Vec<Lock>, bool)> {
        self.state.lock().reclaimed.clone()
    }

    pub fn released(&self) -> Vec<InodeId> {
        self.state.lock().released.clone()
    }

    pub fn release_calls(&self) -> usize {
        self.state.lock().release_calls
    }

    pub fn was_closed(&self) -> bool {
        self.state.lock().closed
    }
}

fn attr(inode: InodeId) -> Attr {
    let time = Timestamp::default();
    Attr {
        inode,
        kind: FileKind::File,
        mode: 0o644,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        size: 0,
        allocated: 0,
        atime: time,
        mtime: time,
        ctime: time,
        btime: time,
        has_xattrs: false,
        changed_at: LogIndex(1),
    }
}

impl State {
    fn check(&self, session: SessionId) -> Result<(), FsError> {
        if self.live == Some(session) { Ok(()) } else { Err(FsError::SessionUnknown(session)) }
    }

    fn mutate(&mut self, named: &NamedMutation) -> Result<MutationReply, FsError> {
        let op = named.op;
        self.asked += 1;
        self.check(op.session)?;
        if let Some(attr) = self.ledger.get(&op) {
            return Ok(MutationReply::Attr(attr.clone()));
        }
        if named.ahead.is_some_and(|ahead| ahead.position != self.position + 1) {
            return Err(FsError::NotReady);
        }
        if let Some(error) = self.refusals.pop_front() {
            return Err(error);
        }
        self.position += u64::from(named.ahead.is_some());
        self.done += 1;
        self.ledger.insert(op, attr(InodeId(7)));
        Ok(MutationReply::Attr(attr(InodeId(7))))
    }
}

#[derive(Clone)]
struct Face(Arc<Fake>);

impl MetaService for Face {
    async fn open_session(
        self,
        _: Context,
        _: ClientInfo,
        resume: Option<SessionId>,
        open: Vec<InodeId>,
    ) -> Result<SessionGrant, FsError> {
        let mut state = self.0.state.lock();
        if let Some(session) = resume {
            state.check(session)?;
        }
        state.opened.push((resume, open));
        let session = resume.unwrap_or_else(|| {
            state.sessions += 1;
            SessionId(state.sessions)
        });
        state.live = Some(session);
        Ok(SessionGrant { session, cluster: ClusterId::random(), term_ms: 1000, incarnation: 1 })
    }

    async fn keep_alive(self, _: Context, session: SessionId) -> Result<(), FsError> {
        self.0.state.lock().check(session)
    }

    async fn close_session(self, _: Context, session: SessionId) -> Result<(), FsError> {
        let mut state = self.0.state.lock();
        state.check(session)?;
        state.closed = true;
        Ok(())
    }

    async fn mutate(
        self,
        _: Context,
        ops: Vec<NamedMutation>,
        _acked: u64,
    ) -> Result<Vec<Result<MutationReply, FsError>>, FsError> {
        let (results, swallowed) = {
            let mut state = self.0.state.lock();
            let results = ops.iter().map(|named| state.mutate(named)).collect();
            let swallowed = state.swallow > 0;
            state.swallow = state.swallow.saturating_sub(1);
            (results, swallowed)
        };
        if swallowed {
            std::future::pending::<()>().await;
        }
        Ok(results)
    }

    async fn reserve_inodes(self, _: Context, session: SessionId, count: u32) -> Result<InodeRange, FsError> {
        self.0.state.lock().check(session)?;
        Ok(InodeRange { first: InodeId(1000), count })
    }

    async fn events(self, _: Context, _: SessionId, _: u64) -> Result<Events, FsError> {
        std::future::pending().await
    }

    async fn acted(self, _: Context, _: SessionId, _: Vec<u64>) -> Result<(), FsError> {
        Ok(())
    }

    async fn lookup(self, _: Context, _: SessionId, _: InodeId, _: Name) -> Result<Found, FsError> {
        Ok(Found { entry: None, dir_leased: false })
    }

    async fn get_attr(self, _: Context, _: SessionId, inode: InodeId) -> Result<Granted<Attr>, FsError> {
        Ok(Granted { value: attr(inode), leased: false })
    }

    async fn acquire(self, _: Context, _: SessionId, inode: InodeId) -> Result<Attr, FsError> {
        Ok(attr(inode))
    }

    async fn reclaim_leases(
        self,
        _: Context,
        _: SessionId,
        _: u64,
        _: Vec<(InodeId, Lease)>,
        _: bool,
    ) -> Result<(), FsError> {
        Ok(())
    }

    async fn dropped_the_rest(self, _: Context, _: SessionId, _: u64) -> Result<(), FsError> {
        Ok(())
    }

    async fn return_leases(self, _: Context, _: SessionId, _: Vec<InodeId>) -> Result<(), FsError> {
        Ok(())
    }

    async fn read_link(self, _: Context, _: SessionId, _: InodeId) -> Result<Vec<u8>, FsError> {
        Err(FsError::InvalidArgument)
    }

    async fn read_dir(self, _: Context, _: SessionId, _: ReadDir) -> Result<DirPage, FsError> {
        Err(FsError::NotDirectory)
    }

    async fn get_xattr(self, _: Context, _: SessionId, _: InodeId, _: Name) -> Result<Vec<u8>, FsError> {
        Err(FsError::NoXattr)
    }

    async fn list_xattr(self, _: Context, _: SessionId, _: InodeId) -> Result<Vec<Name>, FsError> {
        Ok(Vec::new())
    }

    async fn open(self, _: Context, session: SessionId, inode: InodeId, _: OpenMode) -> Result<Opened, FsError> {
        self.0.state.lock().check(session)?;
        let policy = Policy { copies: 1, durability: Default::default(), placement: Default::default() };
        let attr = attr(inode);
        Ok(Opened { attr, policy, chunks: Vec::new(), lease: Lease::None, contended: false })
    }

    async fn release(self, _: Context, session: SessionId, inodes: Vec<InodeId>) -> Result<(), FsError> {
        let mut state = self.0.state.lock();
        state.check(session)?;
        state.released.extend(inodes);
        state.release_calls += 1;
        Ok(())
    }

    async fn locate(
        self,
        _: Context,
        _: SessionId,
        _: InodeId,
        _: ChunkIndex,
        _: u32,
    ) -> Result<Vec<ChunkLocation>, FsError> {
        Ok(Vec::new())
    }

    async fn locate_first(
        self,
        _: Context,
        _: SessionId,
        inodes: Vec<InodeId>,
    ) -> Result<Vec<Option<ChunkLocation>>, FsError> {
        Ok(vec![None; inodes.len()])
    }

    async fn report_bad_replica(self, _: Context, _: ChunkHandle, _: ServerId, _: BadReplica) -> Result<(), FsError> {
        Ok(())
    }

    async fn stat_fs(self, _: Context) -> Result<FsStat, FsError> {
        Ok(FsStat::default())
    }

    async fn set_lock(self, _: Context, session: SessionId, _: Lock, _: bool) -> Result<LockOutcome, FsError> {
        self.0.state.lock().check(session)?;
        Ok(LockOutcome::Granted)
    }

    async fn test_lock(self, _: Context, session: SessionId, _: Lock) -> Result<Option<Lock>, FsError> {
        self.0.state.lock().check(session)?;
        Ok(None)
    }

    async fn unset_lock(self, _: Context, session: SessionId, _: LocksOf, _: LockRange) -> Result<(), FsError> {
        self.0.state.lock().check(session)
    }

    async fn reclaim_locks(self, _: Context, session: SessionId, locks: Vec<Lock>, last: bool) -> Result<(), FsError> {
        let mut state = self.0.state.lock();
        state.check(session)?;
        state.reclaimed.push((locks, last));
        Ok(())
    }

    async fn places(self, _: Context, _: Vec<ServerId>) -> Result<Vec<ServerPlace>, FsError> {
        Ok(Vec::new())
    }

    async fn trash(self, _: Context, _: SessionId, _: Option<TrashCursor>) -> Result<TrashPage, FsError> {
        Ok(TrashPage { entries: Vec::new(), resume: None })
    }

    async fn trashed(self, _: Context, _: SessionId, _: InodeId) -> Result<TrashEntry, FsError> {
        Err(FsError::NotFound)
    }

    async fn drop_trash(self, _: Context, _: SessionId, _: InodeId) -> Result<(), FsError> {
        Ok(())
    }
}
