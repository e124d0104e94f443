//! The trash: what was removed from a directory with a retention.

use cairn_metaserver::namespace::Reply;
use cairn_proto::attr::FileKind;
use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::name::Name;
use cairn_proto::time::Timestamp;

use super::{Answer, Model};

/// What was removed, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Removed {
    pub parent: InodeId,
    pub name: Name,
    pub deleted: Timestamp,
    pub retention: u32,
}

impl Model {
    /// `id` is not called `name` in `parent` any more.
    pub(super) fn lost_name(&mut self, at: Timestamp, parent: InodeId, name: &Name, id: InodeId) {
        let retention = self.nodes[&parent].retention;
        if self.nlink(id) == 0 && retention > 0 {
            self.trash.insert(id, Removed { parent, name: name.clone(), deleted: at, retention });
        }
    }

    pub(super) fn set_retention(&mut self, id: InodeId, retention: u32) -> Answer {
        self.directory(id)?;
        self.node_mut(id).retention = retention;
        Ok(Reply::Done)
    }

    pub(super) fn restore(&mut self, at: Timestamp, id: InodeId, parent: InodeId, name: &Name) -> Answer {
        if !self.trash.contains_key(&id) {
            return Err(FsError::NotFound);
        }
        let into = self.directory(parent)?;
        if self.nlink(parent) == 0 {
            return Err(FsError::NotFound);
        }
        if into.entries.contains_key(name) {
            return Err(FsError::Exists);
        }
        self.trash.remove(&id);
        self.enter(at, parent, name, id);
        self.node_mut(id).ctime = at;
        Ok(Reply::Attr(self.attr(id)))
    }

    pub(super) fn drop_trash(&mut self, at: Timestamp, inodes: &[InodeId], expired: bool) -> Answer {
        let is_over = |removed: &Removed| removed.deleted.secs + i64::from(removed.retention) <= at.secs;
        self.trash.retain(|id, removed| !inodes.contains(id) || (expired && !is_over(removed)));
        Ok(Reply::Done)
    }

    /// The directory that a restore, or a change of how long things are kept, touches; `None` where it is refused anyway.
    pub(super) fn touched_by_restore(&self, id: InodeId, parent: InodeId) -> Option<InodeId> {
        let is_living = self.directory(parent).is_ok() && self.nlink(parent) > 0;
        (self.trash.contains_key(&id) && is_living).then_some(parent)
    }

    pub(super) fn touched_by_retention(&self, id: InodeId, retention: u32) -> Option<InodeId> {
        self.directory(id).ok().filter(|directory| directory.retention != retention).map(|_| id)
    }

    /// Bytes in the trash.
    pub fn trash_bytes(&self) -> u64 {
        let files = self.trash.keys().filter(|id| self.nodes[id].kind == FileKind::File);
        files.map(|&id| self.attr(id).allocated).sum()
    }
}
