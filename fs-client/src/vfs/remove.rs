//! `unlink` and `rmdir`.

use std::ffi::OsStr;

use cairn_proto::attr::{Attr, FileKind};
use cairn_proto::ids::InodeId;
use cairn_proto::meta::ChangedDir;
use cairn_proto::name::Name;

use super::Vfs;
use super::error::VfsError;
use super::trash::Place;
use crate::cache::{Asked, Named};
use crate::delegation::Use;
use crate::meta::MetaError;

impl Vfs {
    pub async fn unlink(&self, parent: InodeId, name: &OsStr) -> Result<(), VfsError> {
        let name = Name::from_os(name)?;
        if Place::of(parent) != Place::Outside {
            return self.remove_from_trash(parent, &name).await;
        }
        let asked = self.known.asked();
        self.delegations.room().await?;
        self.keep_what_is_removed(parent, &name);
        let open = self.open_and_ours(parent, &name);
        if open.is_none()
            && let Some(removed) = self.delegations.unlink(parent, &name)
        {
            self.removed_here(parent, name, &removed?, asked);
            return Ok(());
        }
        let _asking = self.delegations.ask(&std::iter::once(parent).chain(open).collect::<Vec<_>>()).await?;
        if let Some(inode) = open {
            self.no_longer_ours(inode).await;
        }
        let removed = self.meta.unlink(parent, name.clone()).await;
        self.removed(parent, name, removed, asked)
    }

    pub async fn rmdir(&self, parent: InodeId, name: &OsStr) -> Result<(), VfsError> {
        let name = Name::from_os(name)?;
        if Place::of(parent) != Place::Outside {
            return self.remove_from_trash(parent, &name).await;
        }
        let asked = self.known.asked();
        self.delegations.room().await?;
        if let Some(removed) = self.delegations.rmdir(parent, &name) {
            self.removed_here(parent, name, &removed?, asked);
            return Ok(());
        }
        let _asking = self.delegations.ask(&[parent]).await?;
        let removed = self.meta.rmdir(parent, name.clone()).await;
        self.removed(parent, name, removed, asked)
    }

    /// A file that is open, and this mount's alone by the directory that names it. Without that name it is not.
    pub(super) fn open_and_ours(&self, dir: InodeId, name: &Name) -> Option<InodeId> {
        self.inode_of(dir, name).filter(|&inode| self.files.io_of(inode).is_some())
    }

    fn removed_here(&self, parent: InodeId, name: Name, attr: &Attr, asked: Asked) {
        self.known.learn(attr, false, asked);
        self.known.named(parent, name, Named::Absent, asked);
        self.discard_if_gone(attr.inode);
    }

    fn removed(
        &self,
        parent: InodeId,
        name: Name,
        removed: Result<(Attr, ChangedDir), MetaError>,
        asked: Asked,
    ) -> Result<(), VfsError> {
        let (attr, parent_dir) = removed.inspect_err(|error| self.doubt(parent, &name, error))?;
        self.delegations.left(parent, &name);
        if attr.kind == FileKind::Directory {
            self.delegations.buried(attr.inode);
        }
        self.delegations.learn(&parent_dir.attr);
        self.delegations.used(parent, Use::Change);
        self.known.learn(&attr, false, asked);
        self.known.named(parent, name, Named::Absent, asked);
        self.known.learn(&parent_dir.attr, false, asked);
        self.discard_if_gone(attr.inode);
        Ok(())
    }

    /// A mutation of a name failed: perhaps because of what was believed of it.
    pub(super) fn doubt(&self, parent: InodeId, name: &Name, error: &MetaError) {
        self.known.doubt(parent, name);
        if error.refusal().is_none() {
            self.delegations.doubt(parent);
        }
    }
}
