//! `create`, `mknod`, `mkdir`, `symlink` and `link`.

use std::ffi::OsStr;

use cairn_proto::attr::{MODE_BITS, SYMLINK_MAX_BYTES};
use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::meta::{ChangedDir, Lease, NewNode};
use cairn_proto::name::Name;

use super::Vfs;
use super::caller::Caller;
use super::error::VfsError;
use super::lookup::Looked;
use super::trash::{Place, may_be_made};
use crate::cache::{Asked, Named};
use crate::delegation::{Created, Use};
use crate::meta::{Entry, MetaError, NewEntry};

/// What to create, besides its name and owner.
#[derive(Clone, Debug)]
pub struct NewInode {
    pub node: NewNode,
    /// Type bits are ignored.
    pub mode: u32,
    pub umask: u32,
}

/// How to treat a name that exists, and what to do with the result.
#[derive(Clone, Copy, Debug)]
pub(super) struct Creation {
    pub exclusive: bool,
    pub open: bool,
}

impl Vfs {
    /// `mknod`, `mkdir`.
    pub async fn make(&self, caller: Caller, parent: InodeId, name: &OsStr, new: NewInode) -> Result<Looked, VfsError> {
        let creation = Creation { exclusive: true, open: false };
        let (entry, asked) = self.create_entry(caller, parent, name, new, creation).await?;
        let leased = entry.lease != Lease::None;
        Ok(Looked { name_validity: self.name_validity(parent), ..self.saw(entry.attr, leased, asked) })
    }

    pub async fn symlink(
        &self,
        caller: Caller,
        parent: InodeId,
        name: &OsStr,
        target: Vec<u8>,
    ) -> Result<Looked, VfsError> {
        if target.len() > SYMLINK_MAX_BYTES {
            return Err(FsError::NameTooLong.into());
        }
        // Linux ignores the permission bits of symlinks and shows them all set.
        let new = NewInode { node: NewNode::Symlink { target }, mode: 0o777, umask: 0 };
        self.make(caller, parent, name, new).await
    }

    pub async fn link(&self, inode: InodeId, parent: InodeId, name: &OsStr) -> Result<Looked, VfsError> {
        let name = Name::from_os(name)?;
        Place::must_be_outside(inode)?;
        may_be_made(parent, &name)?;
        let asked = self.known.asked();
        let _asking = self.delegations.ask(&[inode, parent]).await?;
        // While it is being asked for, nothing is granted here.
        self.no_longer_ours(inode).await;
        let entry = self.meta.link(inode, parent, name.clone()).await;
        let entry = self.entered(parent, &name, entry, asked)?;
        Ok(self.saw(entry.attr, false, asked))
    }

    /// A new entry, and when it was asked for.
    pub(super) async fn create_entry(
        &self,
        caller: Caller,
        parent: InodeId,
        name: &OsStr,
        new: NewInode,
        creation: Creation,
    ) -> Result<(Entry, Asked), VfsError> {
        let name = Name::from_os(name)?;
        may_be_made(parent, &name)?;
        let asked = self.known.asked();
        let NewInode { node, mode, umask } = new;
        let Creation { exclusive, open } = creation;
        let entry = NewEntry {
            parent,
            name: name.clone(),
            node,
            mode: mode & MODE_BITS,
            umask,
            owner: caller.credentials(),
            exclusive,
            open,
        };
        self.delegations.room().await?;
        if let Some(created) = self.delegations.create(&entry) {
            return Ok((self.created_here(parent, name, open, created?, asked), asked));
        }
        let _asking = self.delegations.ask(&[parent]).await?;
        let entry = self.meta.create(entry).await;
        let entry = self.entered(parent, &name, entry, asked)?;
        // Of a file that was there before, somebody else may have changed the contents.
        if entry.created {
            self.known.changed(&entry.attr, asked);
        }
        Ok((entry, asked))
    }

    fn created_here(&self, parent: InodeId, name: Name, open: bool, created: Created, asked: Asked) -> Entry {
        let Created { attr, parent: parent_attr, policy } = created;
        if open {
            self.meta.opened_ahead(attr.inode);
        }
        self.known.named(parent, name, Named::Inode(attr.inode), asked);
        self.known.learn(&parent_attr, false, asked);
        self.known.changed(&attr, asked);
        let before = parent_attr.changed_at;
        Entry {
            attr,
            parent: ChangedDir { attr: parent_attr, before },
            created: true,
            policy,
            chunks: Vec::new(),
            lease: Lease::None,
        }
    }

    /// Enters what came of a mutation that makes a name.
    fn entered(
        &self,
        parent: InodeId,
        name: &Name,
        entry: Result<Entry, MetaError>,
        asked: Asked,
    ) -> Result<Entry, VfsError> {
        let entry = entry.inspect_err(|error| self.doubt(parent, name, error));
        let entry = entry.map_err(|error| VfsError::from(error).in_directory(parent))?;
        self.delegations.entered(parent, name, &entry.attr);
        self.delegations.learn(&entry.parent.attr);
        self.delegations.used(parent, Use::Change);
        self.known.named(parent, name.clone(), Named::Inode(entry.attr.inode), asked);
        self.known.learn(&entry.parent.attr, false, asked);
        Ok(entry)
    }
}
