//! `unlink` and `rmdir`.

use std::ffi::OsStr;

use cairn_proto::attr::Attr;
use cairn_proto::ids::InodeId;
use cairn_proto::meta::ChangedDir;
use cairn_proto::name::Name;

use super::Vfs;
use super::error::VfsError;
use crate::cache::{Moment, Named};
use crate::meta::MetaError;

impl Vfs {
    pub async fn unlink(&self, parent: InodeId, name: &OsStr) -> Result<(), VfsError> {
        let name = Name::from_os(name)?;
        let asked = self.known.now();
        let removed = self.meta.unlink(parent, name.clone()).await;
        self.removed(parent, name, removed, asked)
    }

    pub async fn rmdir(&self, parent: InodeId, name: &OsStr) -> Result<(), VfsError> {
        let name = Name::from_os(name)?;
        let asked = self.known.now();
        let removed = self.meta.rmdir(parent, name.clone()).await;
        self.removed(parent, name, removed, asked)
    }

    fn removed(
        &self,
        parent: InodeId,
        name: Name,
        removed: Result<(Attr, ChangedDir), MetaError>,
        asked: Moment,
    ) -> Result<(), VfsError> {
        let (attr, parent_dir) = removed.inspect_err(|_| self.known.doubt(parent, &name))?;
        self.known.attrs.learn(&attr, asked);
        self.known.named(parent, name, Named::Absent, asked);
        self.known.changed_dir(&parent_dir, asked);
        self.discard_if_gone(attr.inode);
        Ok(())
    }
}
