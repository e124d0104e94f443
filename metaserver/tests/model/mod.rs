//! A second namespace, as simple as it can be: maps in memory, nothing stored that can be counted, no bounds.
//!
//! It is the definition of what is right that the state machine is tested against, written from POSIX and from what Linux's
//! local filesystems do, and shares no code with it but the types of the wire.

mod acl;
mod attrs;
mod chunks;
mod delegations;
mod names;
mod trash;

use std::collections::{BTreeMap, BTreeSet};

use cairn_metaserver::command::{Body, Command, Decided, Internal};
use cairn_metaserver::namespace::Reply;
use cairn_proto::attr::{Attr, FileKind};
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, ChunkVersion, InodeId, LogIndex, ServerId, SessionId};
use cairn_proto::meta::Mutation;
use cairn_proto::name::Name;
use cairn_proto::policy::Policy;
use cairn_proto::time::Timestamp;

pub use trash::Removed;

pub type Answer = Result<Reply, FsError>;

#[derive(Clone, Debug)]
pub struct Model {
    pub nodes: BTreeMap<InodeId, Node>,
    pub garbage: BTreeMap<ChunkHandle, (ChunkVersion, Vec<ServerId>)>,
    pub delegated: BTreeMap<InodeId, SessionId>,
    /// How many operations each session has done ahead.
    pub ahead: BTreeMap<SessionId, u64>,
    pub trash: BTreeMap<InodeId, Removed>,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub kind: FileKind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u32,
    pub target: Vec<u8>,
    pub size: u64,
    pub atime: Timestamp,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    pub btime: Timestamp,
    pub policy: Policy,
    /// Seconds.
    pub retention: u32,
    pub entries: BTreeMap<Name, InodeId>,
    pub xattrs: BTreeMap<Name, Vec<u8>>,
    pub chunks: BTreeMap<ChunkIndex, Piece>,
}

/// A chunk in its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    pub handle: ChunkHandle,
    pub version: ChunkVersion,
    pub members: Vec<ServerId>,
    pub target: u8,
    pub length: u32,
    pub allocated: u32,
    pub trimmed_at: Option<u32>,
}

impl Model {
    pub fn new(mode: u32, uid: u32, gid: u32, policy: Policy, at: Timestamp) -> Self {
        let root = Node { mode, uid, gid, ..Node::new(FileKind::Directory, policy, at) };
        let nodes = BTreeMap::from([(InodeId::ROOT, root)]);
        Self {
            nodes,
            garbage: BTreeMap::new(),
            delegated: BTreeMap::new(),
            ahead: BTreeMap::new(),
            trash: BTreeMap::new(),
        }
    }

    /// Does what [has its turn](Self::out_of_turn), and nothing is [in the way](Self::in_the_way) of.
    pub fn apply(&mut self, command: &Command) -> Answer {
        match &command.body {
            Body::Mutation { mutation, decided } => {
                let caller = command.origin.expect("all mutations here are a client's").op.session;
                let answer = self.mutate(caller, command.at, mutation, decided);
                self.forget_removed();
                if let (Decided::Ahead { position, .. }, false) = (decided, answer == Err(FsError::NotReady)) {
                    self.ahead.insert(caller, *position);
                }
                answer
            }
            Body::Internal(internal) => self.internal(command.at, internal),
        }
    }

    fn mutate(&mut self, caller: SessionId, at: Timestamp, mutation: &Mutation, decided: &Decided) -> Answer {
        match mutation {
            Mutation::Create { .. } => self.create(caller, at, mutation, decided),
            Mutation::Link { inode, parent, name } => self.link(at, *inode, *parent, name),
            Mutation::Unlink { parent, name } => self.unlink(at, *parent, name),
            Mutation::Rmdir { parent, name } => self.rmdir(at, *parent, name),
            Mutation::Rename { parent, name, new_parent, new_name, mode } => {
                self.rename(at, (*parent, name), (*new_parent, new_name), *mode)
            }
            Mutation::SetAttr { inode, set } => self.set_attr(at, *inode, set),
            Mutation::SetXattr { inode, name, value, mode, clear_sgid } => {
                self.set_xattr(at, *inode, name, value, *mode, *clear_sgid)
            }
            Mutation::RemoveXattr { inode, name } => self.remove_xattr(at, *inode, name),
            Mutation::AllocateChunks { inode, first, count } => self.allocate(*inode, *first, *count, decided),
            Mutation::CommitWrite { inode, size, mtime, extents, kill_suid_sgid } => {
                self.commit_write(at, *inode, *size, *mtime, extents, *kill_suid_sgid)
            }
            Mutation::ClearTrim { inode, index, handle, trimmed_at } => {
                self.clear_trim(*inode, *index, *handle, *trimmed_at)
            }
            Mutation::ReplaceFailed { inode, index, handle, version, failed, held } => {
                self.replace_failed((*inode, *index, *handle, *version), failed, *held, decided)
            }
            Mutation::SetPolicy { inode, change } => self.set_policy(at, *inode, *change),
            Mutation::TouchAtime { inode, atime } => self.touch_atime(*inode, *atime),
            Mutation::TakeDelegation { inode, max_entries } => self.take_delegation(caller, *inode, *max_entries),
            Mutation::ReturnDelegation { inode } => self.return_delegation(caller, *inode),
        }
    }

    fn internal(&mut self, at: Timestamp, internal: &Internal) -> Answer {
        match internal {
            Internal::Reap { inodes } => {
                let gone: Vec<_> = inodes.iter().copied().filter(|&id| self.is_orphan(id)).collect();
                let mut reaped = Vec::new();
                for id in gone {
                    if let Some(node) = self.nodes.remove(&id) {
                        node.chunks.into_values().for_each(|piece| self.discard(piece));
                        reaped.push(id);
                    }
                }
                Ok(Reply::Reaped { gone: reaped, more: false })
            }
            Internal::DropGarbage { handles } => {
                handles.iter().for_each(|handle| drop(self.garbage.remove(handle)));
                Ok(Reply::Done)
            }
            Internal::SetMembers { handle, expect, next, members } => {
                self.set_members(*handle, *expect, *next, members)
            }
            Internal::SetRetention { inode, retention } => self.set_retention(*inode, retention.0),
            Internal::Restore { inode, parent, name } => self.restore(at, *inode, *parent, name),
            Internal::DropTrash { inodes, expired } => self.drop_trash(at, inodes, *expired),
            Internal::CreateCluster { .. } => Err(FsError::Exists),
            Internal::OpenSession { .. } => Ok(Reply::Done),
            Internal::CloseSession { session } => self.close_session(*session),
            other => unreachable!("not generated: {other:?}"),
        }
    }

    pub fn is_orphan(&self, id: InodeId) -> bool {
        self.has_no_name(id) && !self.trash.contains_key(&id)
    }

    pub fn has_no_name(&self, id: InodeId) -> bool {
        self.nodes.contains_key(&id) && self.nlink(id) == 0
    }

    pub fn orphans(&self) -> BTreeSet<InodeId> {
        self.nodes.keys().copied().filter(|&id| self.is_orphan(id)).collect()
    }

    /// Counted anew each time.
    pub fn nlink(&self, id: InodeId) -> u32 {
        let names = self.nodes.values().flat_map(|node| node.entries.values()).filter(|&&entry| entry == id).count();
        let node = &self.nodes[&id];
        if node.kind != FileKind::Directory {
            return names as u32;
        }
        let subdirectories = node.entries.values().filter(|entry| self.is_directory(**entry)).count();
        if names > 0 || id == InodeId::ROOT { 2 + subdirectories as u32 } else { 0 }
    }

    pub fn attr(&self, id: InodeId) -> Attr {
        let node = &self.nodes[&id];
        Attr {
            inode: id,
            kind: node.kind,
            mode: node.mode,
            nlink: self.nlink(id),
            uid: node.uid,
            gid: node.gid,
            rdev: node.rdev,
            size: match node.kind {
                FileKind::Directory => 4096,
                FileKind::Symlink => node.target.len() as u64,
                _ => node.size,
            },
            allocated: node.chunks.values().map(|piece| u64::from(piece.allocated)).sum(),
            atime: node.atime,
            mtime: node.mtime,
            ctime: node.ctime,
            btime: node.btime,
            has_xattrs: !node.xattrs.is_empty(),
            changed_at: LogIndex(0),
        }
    }

    fn is_directory(&self, id: InodeId) -> bool {
        self.nodes[&id].kind == FileKind::Directory
    }

    fn node(&self, id: InodeId) -> Result<&Node, FsError> {
        self.nodes.get(&id).ok_or(FsError::Stale(id))
    }

    fn node_mut(&mut self, id: InodeId) -> &mut Node {
        self.nodes.get_mut(&id).expect("it was looked up before")
    }

    fn directory(&self, id: InodeId) -> Result<&Node, FsError> {
        let node = self.node(id)?;
        if node.kind == FileKind::Directory { Ok(node) } else { Err(FsError::NotDirectory) }
    }

    fn file(&self, id: InodeId) -> Result<&Node, FsError> {
        let node = self.node(id)?;
        match node.kind {
            FileKind::File => Ok(node),
            FileKind::Directory => Err(FsError::IsDirectory),
            _ => Err(FsError::InvalidArgument),
        }
    }
}

impl Node {
    fn new(kind: FileKind, policy: Policy, at: Timestamp) -> Self {
        Self {
            kind,
            mode: 0,
            uid: 0,
            gid: 0,
            rdev: 0,
            target: Vec::new(),
            size: 0,
            atime: at,
            mtime: at,
            ctime: at,
            btime: at,
            policy,
            retention: 0,
            entries: BTreeMap::new(),
            xattrs: BTreeMap::new(),
            chunks: BTreeMap::new(),
        }
    }

    fn touch_contents(&mut self, at: Timestamp) {
        self.mtime = at;
        self.ctime = at;
    }
}
