//! A namespace in memory, for tests: commands with the parts that tests do not care about filled in.

use cairn_proto::attr::{Attr, Credentials};
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, ClusterId, InodeId, LogIndex, OpId, ServerId, SessionId};
use cairn_proto::meta::{ClientInfo, Mutation, NewNode, RenameMode, XattrMode};
use cairn_proto::name::Name;
use cairn_proto::policy::{Durability, Policy};
use cairn_proto::time::Timestamp;
use uuid::Uuid;

use super::{Reply, apply};
use crate::command::{Command, Decided, Internal, Origin, Placement};
use crate::store::{MemoryStore, Store, Txn};

pub(super) const SESSION: SessionId = SessionId(1);

pub(super) struct World {
    pub store: MemoryStore,
    log: u64,
    seq: u64,
}

pub(super) fn name(name: &str) -> Name {
    Name::new(name).expect("tests use valid names")
}

pub(super) fn server(n: u128) -> ServerId {
    ServerId(Uuid::from_u128(n))
}

fn client() -> ClientInfo {
    ClientInfo { host: "h".into(), mountpoint: "/m".into(), pid: 1, version: "1".into() }
}

impl World {
    /// A cluster with its root and one session.
    pub fn new() -> Self {
        let mut world = Self { store: MemoryStore::default(), log: 0, seq: 0 };
        let policy = Policy { copies: 2, durability: Durability::Fsync, placement: Default::default() };
        let cluster = ClusterId(Uuid::nil());
        world.internal(Internal::CreateCluster { cluster, mode: 0o755, uid: 0, gid: 0, policy }).unwrap();
        world.open_session(SESSION);
        world
    }

    pub fn apply(&mut self, command: &Command) -> Result<Reply, FsError> {
        self.log += 1;
        let mut txn = Txn::new(&self.store);
        let result = apply(&mut txn, LogIndex(self.log), command).unwrap();
        let writes = txn.into_writes();
        self.store.write(&writes).unwrap();
        result
    }

    pub fn internal(&mut self, internal: Internal) -> Result<Reply, FsError> {
        self.apply(&Command::internal(self.now(), internal))
    }

    pub fn mutate(&mut self, mutation: Mutation) -> Result<Reply, FsError> {
        self.mutate_decided(mutation, Decided::Nothing)
    }

    pub fn mutate_decided(&mut self, mutation: Mutation, decided: Decided) -> Result<Reply, FsError> {
        self.mutate_as(SESSION, mutation, decided)
    }

    pub fn mutate_as(&mut self, session: SessionId, mutation: Mutation, decided: Decided) -> Result<Reply, FsError> {
        self.seq += 1;
        let origin = Origin { op: OpId { session, seq: self.seq }, acked: self.seq };
        self.apply(&Command::mutation(origin, self.now(), mutation, decided))
    }

    /// One more session.
    pub fn open_session(&mut self, session: SessionId) {
        self.internal(Internal::OpenSession { session, client: client() }).unwrap();
    }

    /// Writes past the state machine.
    pub fn meddle(&mut self, with: impl FnOnce(&mut Txn<'_>)) {
        let mut txn = Txn::new(&self.store);
        with(&mut txn);
        let writes = txn.into_writes();
        self.store.write(&writes).unwrap();
    }

    pub fn create(&mut self, parent: InodeId, entry: &str, node: NewNode) -> Result<Attr, FsError> {
        let owner = Credentials { uid: 1000, gid: 1000 };
        let id = InodeId(100 + self.log);
        let create = Mutation::Create {
            parent,
            name: name(entry),
            node,
            mode: 0o755,
            umask: 0,
            owner,
            exclusive: true,
            open: false,
        };
        self.mutate_decided(create, Decided::Inode(id)).map(|reply| match reply {
            Reply::Entry { attr, created: true, .. } => attr,
            other => panic!("{other:?}"),
        })
    }

    pub fn file(&mut self, parent: InodeId, name: &str) -> InodeId {
        self.create(parent, name, NewNode::File).unwrap().inode
    }

    pub fn directory(&mut self, parent: InodeId, name: &str) -> InodeId {
        self.create(parent, name, NewNode::Directory).unwrap().inode
    }

    pub fn link(&mut self, inode: InodeId, parent: InodeId, entry: &str) -> Result<Reply, FsError> {
        self.mutate(Mutation::Link { inode, parent, name: name(entry) })
    }

    pub fn unlink(&mut self, parent: InodeId, entry: &str) -> Result<Reply, FsError> {
        self.mutate(Mutation::Unlink { parent, name: name(entry) })
    }

    pub fn rename(&mut self, from: (InodeId, &str), to: (InodeId, &str), mode: RenameMode) -> Result<Reply, FsError> {
        let (name, new_name) = (name(from.1), name(to.1));
        self.mutate(Mutation::Rename { parent: from.0, name, new_parent: to.0, new_name, mode })
    }

    pub fn set_xattr(&mut self, inode: InodeId, xattr: &str, value: Vec<u8>) -> Result<Reply, FsError> {
        self.mutate(Mutation::SetXattr { inode, name: name(xattr), value, mode: XattrMode::Any, clear_sgid: false })
    }

    /// `count` chunks from `first`, on two servers; handles are numbered from `handle` on.
    pub fn allocate(&mut self, inode: InodeId, first: u32, count: u32, handle: u64) -> Result<Reply, FsError> {
        let placement = |n: u32| Placement {
            index: ChunkIndex(first + n),
            handle: ChunkHandle(handle + u64::from(n)),
            members: vec![server(1), server(2)],
        };
        let decided = Decided::Chunks((0..count).map(placement).collect());
        self.mutate_decided(Mutation::AllocateChunks { inode, first: ChunkIndex(first), count }, decided)
    }

    fn now(&self) -> Timestamp {
        Timestamp { secs: self.log as i64, nanos: 0 }
    }
}
