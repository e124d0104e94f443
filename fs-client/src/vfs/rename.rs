//! `renameat2`.

use std::ffi::OsStr;

use cairn_proto::attr::FileKind;
use cairn_proto::ids::InodeId;
use cairn_proto::meta::RenameMode;
use cairn_proto::name::Name;

use super::Vfs;
use super::error::VfsError;
use crate::cache::{Moment, Named};
use crate::delegation::{Found, Moved, Use};
use crate::meta::Renamed;

impl Vfs {
    pub async fn rename(
        &self,
        (parent, name): (InodeId, &OsStr),
        (new_parent, new_name): (InodeId, &OsStr),
        mode: RenameMode,
    ) -> Result<(), VfsError> {
        let (name, new_name) = (Name::from_os(name)?, Name::from_os(new_name)?);
        let asked = self.known.now();
        self.delegations.room().await?;
        self.write_out_before_replacing((parent, &name), (new_parent, &new_name)).await;
        if let Some(moved) = self.delegations.rename((parent, &name), (new_parent, &new_name), mode) {
            if let Some(moved) = moved? {
                self.moved_here((parent, name), (new_parent, new_name), &moved, asked);
            }
            return Ok(());
        }
        let _asking = self.delegations.ask(&[parent, new_parent]).await?;
        let from = (parent, name.clone());
        let to = (new_parent, new_name.clone());
        let renamed = self.meta.rename(from, to, mode).await.inspect_err(|error| {
            self.doubt(parent, &name, error);
            self.doubt(new_parent, &new_name, error);
        })?;
        self.renamed_there((parent, &name), (new_parent, &new_name), &renamed);
        let inodes = [Some(&renamed.moved), renamed.replaced.as_ref(), renamed.exchanged.as_ref()];
        for attr in inodes.into_iter().flatten() {
            self.known.attrs.learn(attr, asked);
        }
        let left = renamed.exchanged.as_ref().map_or(Named::Absent, |attr| Named::Inode(attr.inode));
        // In this order: renaming one hard link over another of the same inode changes nothing, and leaves both names.
        if (parent, &name) != (new_parent, &new_name) && !is_same_inode(&renamed) {
            self.known.named(parent, name, left, asked);
        } else {
            self.known.doubt(parent, &name);
        }
        self.known.named(new_parent, new_name, Named::Inode(renamed.moved.inode), asked);
        self.known.changed_dir(&renamed.old_parent, asked);
        self.known.changed_dir(&renamed.new_parent, asked);
        if let Some(replaced) = &renamed.replaced {
            self.discard_if_gone(replaced.inode);
        }
        Ok(())
    }

    /// A file that is about to take another one's name has its bytes written out first: see [`super::close`]. An error is told to
    /// those who wrote, as for any write.
    async fn write_out_before_replacing(&self, from: (InodeId, &Name), to: (InodeId, &Name)) {
        if let (Some(Found::Inode(source, _)), Some(Found::Inode(..))) =
            (self.delegations.find(from.0, from.1), self.delegations.find(to.0, to.1))
            && let Some(io) = self.io.find(source).filter(|io| io.is_dirty())
        {
            let _ = io.flush().await;
        }
    }

    fn moved_here(&self, from: (InodeId, Name), to: (InodeId, Name), moved: &Moved, asked: Moment) {
        self.known.attrs.learn(&moved.moved, asked);
        self.known.named(from.0, from.1, Named::Absent, asked);
        self.known.named(to.0, to.1, Named::Inode(moved.moved.inode), asked);
        if let Some(replaced) = &moved.replaced {
            self.known.attrs.learn(replaced, asked);
            self.discard_if_gone(replaced.inode);
        }
    }

    /// Enters what the metaserver made of a rename into what this mount holds.
    fn renamed_there(&self, from: (InodeId, &Name), to: (InodeId, &Name), renamed: &Renamed) {
        if from != to && !is_same_inode(renamed) {
            self.delegations.left(from.0, from.1);
            self.delegations.left(to.0, to.1);
            self.delegations.entered(to.0, to.1, &renamed.moved);
            if let Some(exchanged) = &renamed.exchanged {
                self.delegations.entered(from.0, from.1, exchanged);
            }
            if let Some(replaced) = &renamed.replaced
                && replaced.kind == FileKind::Directory
            {
                self.delegations.buried(replaced.inode);
            }
        }
        self.delegations.learn(&renamed.old_parent.attr);
        self.delegations.learn(&renamed.new_parent.attr);
        self.delegations.used(from.0, Use::Change);
        self.delegations.used(to.0, Use::Change);
    }
}

/// Whether both names led to one inode: then POSIX has `rename` do nothing.
fn is_same_inode(renamed: &Renamed) -> bool {
    let moved = renamed.moved.inode;
    [&renamed.replaced, &renamed.exchanged].into_iter().flatten().any(|attr| attr.inode == moved)
}
