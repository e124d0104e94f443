//! `unlink` and `rmdir`.

use std::ffi::OsStr;

use cairn_proto::attr::{Attr, FileKind};
use cairn_proto::ids::InodeId;
use cairn_proto::meta::ChangedDir;
use cairn_proto::name::Name;

use super::Vfs;
use super::error::VfsError;
use crate::cache::{Moment, Named};
use crate::delegation::Use;
use crate::meta::MetaError;

impl Vfs {
    pub async fn unlink(&self, parent: InodeId, name: &OsStr) -> Result<(), VfsError> {
        let name = Name::from_os(name)?;
        let asked = self.known.now();
        self.delegations.room().await?;
        if let Some(removed) = self.delegations.unlink(parent, &name) {
            self.removed_here(parent, name, &removed?, asked);
            return Ok(());
        }
        let _asking = self.delegations.ask(&[parent]).await?;
        let removed = self.meta.unlink(parent, name.clone()).await;
        self.removed(parent, name, removed, asked)
    }

    pub async fn rmdir(&self, parent: InodeId, name: &OsStr) -> Result<(), VfsError> {
        let name = Name::from_os(name)?;
        let asked = self.known.now();
        self.delegations.room().await?;
        if let Some(removed) = self.delegations.rmdir(parent, &name) {
            self.removed_here(parent, name, &removed?, asked);
            return Ok(());
        }
        let _asking = self.delegations.ask(&[parent]).await?;
        let removed = self.meta.rmdir(parent, name.clone()).await;
        self.removed(parent, name, removed, asked)
    }

    fn removed_here(&self, parent: InodeId, name: Name, attr: &Attr, asked: Moment) {
        self.known.attrs.learn(attr, asked);
        self.known.named(parent, name, Named::Absent, asked);
        self.discard_if_gone(attr.inode);
    }

    fn removed(
        &self,
        parent: InodeId,
        name: Name,
        removed: Result<(Attr, ChangedDir), MetaError>,
        asked: Moment,
    ) -> Result<(), VfsError> {
        let (attr, parent_dir) = removed.inspect_err(|error| self.doubt(parent, &name, error))?;
        self.delegations.left(parent, &name);
        if attr.kind == FileKind::Directory {
            self.delegations.buried(attr.inode);
        }
        self.delegations.learn(&parent_dir.attr);
        self.delegations.used(parent, Use::Change);
        self.known.attrs.learn(&attr, asked);
        self.known.named(parent, name, Named::Absent, asked);
        self.known.changed_dir(&parent_dir, asked);
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
