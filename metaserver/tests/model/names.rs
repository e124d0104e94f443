//! Names: create, link, unlink, rmdir, rename.

use cairn_metaserver::command::Decided;
use cairn_metaserver::namespace::Reply;
use cairn_proto::attr::FileKind;
use cairn_proto::error::FsError;
use cairn_proto::ids::{InodeId, LogIndex, SessionId};
use cairn_proto::meta::{ChangedDir, Mutation, NewNode, RenameMode};
use cairn_proto::name::Name;
use cairn_proto::time::Timestamp;

use super::acl::Acl;
use super::{Answer, Model, Node};

type Place<'a> = (InodeId, &'a Name);

impl Model {
    pub(super) fn create(
        &mut self,
        caller: SessionId,
        at: Timestamp,
        mutation: &Mutation,
        decided: &Decided,
    ) -> Answer {
        let Mutation::Create { parent, name, node, mode, umask, owner, exclusive, .. } = mutation else {
            unreachable!("called for creates");
        };
        if let NewNode::Symlink { target } = node {
            match target.len() {
                0 => return Err(FsError::NotFound),
                4096.. => return Err(FsError::NameTooLong),
                _ => {}
            }
        }
        let parent_node = self.directory(*parent)?;
        if self.nlink(*parent) == 0 {
            return Err(FsError::NotFound);
        }
        if let Some(&there) = parent_node.entries.get(name) {
            if *exclusive || *node != NewNode::File {
                return Err(FsError::Exists);
            }
            return match self.nodes[&there].kind {
                FileKind::File => Ok(self.entry(there, *parent, false)),
                FileKind::Directory => Err(FsError::IsDirectory),
                _ => Err(FsError::Exists),
            };
        }
        let (id, ahead) = match *decided {
            Decided::Inode(id) => (id, false),
            Decided::Ahead { inode: Some(id), .. } => (id, true),
            _ => return Err(FsError::NotReady),
        };
        if self.nodes.contains_key(&id) {
            return Err(if ahead { FsError::InvalidArgument } else { FsError::NotReady });
        }
        let mut new = Node { uid: owner.uid, gid: owner.gid, ..blank(node, parent_node, at) };
        new.mode = mode & 0o7777;
        if parent_node.mode & 0o2000 != 0 {
            new.gid = parent_node.gid;
            if new.kind == FileKind::Directory {
                new.mode |= 0o2000;
            }
        }
        let default = parent_node.xattrs.get(&acl_name("default")).map(|bytes| Acl::stored(bytes));
        match (new.kind, default) {
            (FileKind::Symlink, _) => new.mode = 0o777,
            (_, None) => new.mode &= !umask,
            (kind, Some(default)) => {
                let access = default.for_new(new.mode);
                new.mode = new.mode & !0o777 | access.mode();
                if access.is_extended() {
                    new.xattrs.insert(acl_name("access"), access.to_bytes());
                }
                if kind == FileKind::Directory {
                    new.xattrs.insert(acl_name("default"), default.to_bytes());
                }
            }
        }
        if ahead && new.kind == FileKind::Directory && self.delegated.get(parent) == Some(&caller) {
            self.delegated.insert(id, caller);
        }
        self.nodes.insert(id, new);
        self.enter(at, *parent, name, id);
        Ok(self.entry(id, *parent, true))
    }

    pub(super) fn link(&mut self, at: Timestamp, id: InodeId, parent: InodeId, name: &Name) -> Answer {
        self.node(id)?;
        let into = self.directory(parent)?;
        if self.nlink(parent) == 0 {
            return Err(FsError::NotFound);
        }
        if into.entries.contains_key(name) {
            return Err(FsError::Exists);
        }
        if self.is_directory(id) {
            return Err(FsError::NotPermitted);
        }
        if self.nlink(id) == 0 {
            return Err(FsError::NotFound);
        }
        self.enter(at, parent, name, id);
        self.node_mut(id).ctime = at;
        Ok(self.entry(id, parent, true))
    }

    pub(super) fn unlink(&mut self, at: Timestamp, parent: InodeId, name: &Name) -> Answer {
        let id = self.lookup(parent, name)?;
        if self.is_directory(id) {
            return Err(FsError::IsDirectory);
        }
        Ok(self.remove(at, parent, name, id))
    }

    pub(super) fn rmdir(&mut self, at: Timestamp, parent: InodeId, name: &Name) -> Answer {
        let id = self.lookup(parent, name)?;
        if !self.directory(id)?.entries.is_empty() {
            return Err(FsError::NotEmpty);
        }
        Ok(self.remove(at, parent, name, id))
    }

    pub(super) fn rename(&mut self, at: Timestamp, from: Place<'_>, to: Place<'_>, mode: RenameMode) -> Answer {
        self.directory(from.0)?;
        self.directory(to.0)?;
        let source = self.lookup(from.0, from.1)?;
        let target = self.nodes[&to.0].entries.get(to.1).copied();
        match (mode, target) {
            (RenameMode::NoReplace, Some(_)) => return Err(FsError::Exists),
            (RenameMode::Exchange, None) => return Err(FsError::NotFound),
            _ if self.nlink(to.0) == 0 => return Err(FsError::NotFound),
            _ => {}
        }
        if self.is_below(to.0, source) {
            return Err(FsError::InvalidArgument);
        }
        if target.is_some_and(|target| self.is_below(from.0, target)) {
            let exchanging = mode == RenameMode::Exchange;
            return Err(if exchanging { FsError::InvalidArgument } else { FsError::NotEmpty });
        }
        if target == Some(source) {
            return Ok(self.renamed(source, None, None, from.0, to.0));
        }
        let exchanged = target.filter(|_| mode == RenameMode::Exchange);
        let replaced = target.filter(|_| mode != RenameMode::Exchange);
        if let Some(target) = replaced {
            match (self.is_directory(source), self.is_directory(target)) {
                (true, false) => return Err(FsError::NotDirectory),
                (false, true) => return Err(FsError::IsDirectory),
                (true, true) if !self.nodes[&target].entries.is_empty() => return Err(FsError::NotEmpty),
                _ => {}
            }
        }
        self.node_mut(from.0).entries.remove(from.1);
        self.node_mut(to.0).entries.insert(to.1.clone(), source);
        if let Some(exchanged) = exchanged {
            self.node_mut(from.0).entries.insert(from.1.clone(), exchanged);
        }
        if let Some(replaced) = replaced {
            self.lost_name(at, to.0, to.1, replaced);
        }
        for touched in [Some(source), target].into_iter().flatten() {
            self.node_mut(touched).ctime = at;
        }
        self.node_mut(from.0).touch_contents(at);
        self.node_mut(to.0).touch_contents(at);
        Ok(self.renamed(source, replaced, exchanged, from.0, to.0))
    }

    /// Whether `id` is `top`, or in a directory that is.
    fn is_below(&self, id: InodeId, top: InodeId) -> bool {
        id == top
            || self.nodes[&top].entries.values().any(|&entry| self.is_directory(entry) && self.is_below(id, entry))
    }

    fn lookup(&self, parent: InodeId, name: &Name) -> Result<InodeId, FsError> {
        self.directory(parent)?.entries.get(name).copied().ok_or(FsError::NotFound)
    }

    pub(super) fn enter(&mut self, at: Timestamp, parent: InodeId, name: &Name, id: InodeId) {
        let parent = self.node_mut(parent);
        parent.entries.insert(name.clone(), id);
        parent.touch_contents(at);
    }

    fn remove(&mut self, at: Timestamp, parent: InodeId, name: &Name, id: InodeId) -> Reply {
        self.node_mut(parent).entries.remove(name);
        self.node_mut(parent).touch_contents(at);
        self.node_mut(id).ctime = at;
        self.lost_name(at, parent, name, id);
        Reply::Removed { attr: self.attr(id), parent: self.changed(parent) }
    }

    /// The model does not count changes.
    fn changed(&self, dir: InodeId) -> ChangedDir {
        ChangedDir { attr: self.attr(dir), before: LogIndex(0) }
    }

    fn entry(&self, id: InodeId, parent: InodeId, created: bool) -> Reply {
        Reply::Entry { attr: self.attr(id), parent: self.changed(parent), created, policy: self.nodes[&id].policy }
    }

    fn renamed(
        &self,
        moved: InodeId,
        replaced: Option<InodeId>,
        exchanged: Option<InodeId>,
        old_parent: InodeId,
        new_parent: InodeId,
    ) -> Reply {
        Reply::Renamed {
            moved: self.attr(moved),
            replaced: replaced.map(|id| self.attr(id)),
            exchanged: exchanged.map(|id| self.attr(id)),
            old_parent: self.changed(old_parent),
            new_parent: self.changed(new_parent),
        }
    }
}

pub(super) fn acl_name(which: &str) -> Name {
    Name::new(format!("system.posix_acl_{which}")).expect("a valid name")
}

fn blank(node: &NewNode, parent: &Node, at: Timestamp) -> Node {
    let (kind, rdev, target) = match node {
        NewNode::File => (FileKind::File, 0, Vec::new()),
        NewNode::Directory => (FileKind::Directory, 0, Vec::new()),
        NewNode::Symlink { target } => (FileKind::Symlink, 0, target.clone()),
        NewNode::Fifo => (FileKind::Fifo, 0, Vec::new()),
        NewNode::Socket => (FileKind::Socket, 0, Vec::new()),
        NewNode::CharDevice { rdev } => (FileKind::CharDevice, *rdev, Vec::new()),
        NewNode::BlockDevice { rdev } => (FileKind::BlockDevice, *rdev, Vec::new()),
    };
    let retention = if kind == FileKind::Directory { parent.retention } else { 0 };
    Node { rdev, target, retention, ..Node::new(kind, parent.policy, at) }
}
