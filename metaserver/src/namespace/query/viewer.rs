//! What clients ask: the same questions, refused with `Delegated` where another session may know better.

use cairn_proto::attr::FileKind;
use cairn_proto::ids::{InodeId, SessionId};
use cairn_proto::meta::{DirEntry, DirPage, ReadDir};
use cairn_proto::name::Name;

use super::super::delegation;
use super::super::dentry;
use super::super::error::{NamespaceError, Outcome};
use super::super::inode::{self, Inode};
use super::tree;
use crate::store::Read;

/// The namespace as one session may see it. What nobody has delegated, or the session itself has, is as stored.
#[derive(Clone, Copy)]
pub struct Viewer<'a> {
    read: &'a dyn Read,
    session: SessionId,
}

impl<'a> Viewer<'a> {
    /// What `session` asks is answered from `read`.
    pub fn new(read: &'a dyn Read, session: SessionId) -> Self {
        Self { read, session }
    }

    /// What a name leads to, if it exists: see [`tree::lookup`]. The answer shows the directory's entry and the attributes of what it
    /// names.
    pub fn lookup(self, parent: InodeId, name: &Name) -> Outcome<Option<Inode>> {
        self.admit(parent)?;
        let Some(dentry) = dentry::find(self.read, parent, name)? else {
            inode::get_directory(self.read, parent)?;
            return Ok(None);
        };
        let inode = inode::of_entry(self.read, dentry.inode)?;
        if is_named_elsewhere(inode.kind(), inode.nlink) {
            delegation::admit_inode(self.read, Some(self.session), &inode)?;
        }
        Ok(Some(inode))
    }

    /// The inode as stored; `Stale` where it is gone.
    pub fn get_inode(self, id: InodeId) -> Outcome<Inode> {
        let inode = inode::get(self.read, id)?;
        delegation::admit_inode(self.read, Some(self.session), &inode)?;
        Ok(inode)
    }

    /// What `query` answers about an inode.
    pub fn of_inode<T>(self, id: InodeId, query: impl FnOnce(&'a dyn Read, InodeId) -> Outcome<T>) -> Outcome<T> {
        self.admit_number(id)?;
        query(self.read, id)
    }

    /// A page of a directory. Attributes that are another session's to say are left out: a listing goes on without waiting for all
    /// who work below it.
    pub fn read_dir(self, request: ReadDir) -> Outcome<DirPage> {
        self.admit(request.inode)?;
        let mut page = tree::read_dir(self.read, request)?;
        for entry in &mut page.entries {
            if self.is_withheld(entry)? {
                entry.attr = None;
            }
        }
        Ok(page)
    }

    fn is_withheld(self, entry: &DirEntry) -> Outcome<bool> {
        let Some(attr) = &entry.attr else { return Ok(false) };
        if !is_named_elsewhere(entry.kind, attr.nlink) {
            return Ok(false);
        }
        match self.admit_number(entry.inode) {
            Ok(()) => Ok(false),
            Err(NamespaceError::Refused(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Whether a directory is delegated to the one who asks.
    pub fn has(self, directory: InodeId) -> Outcome<bool> {
        Ok(delegation::holder(self.read, directory)? == Some(self.session))
    }

    fn admit(self, directory: InodeId) -> Outcome<()> {
        delegation::admit(self.read, Some(self.session), directory)
    }

    /// Refuses where another session may know better about an inode.
    pub fn admit_number(self, id: InodeId) -> Outcome<()> {
        delegation::admit_number(self.read, Some(self.session), id)
    }
}

impl std::fmt::Debug for Viewer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Viewer").field("session", &self.session).finish_non_exhaustive()
    }
}

/// Whether others than the directory in which it was found answer for an inode.
fn is_named_elsewhere(kind: FileKind, nlink: u32) -> bool {
    kind == FileKind::Directory || nlink > 1
}
