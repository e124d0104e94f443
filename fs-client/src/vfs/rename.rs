//! `renameat2`.

use std::ffi::OsStr;

use cairn_proto::attr::FileKind;
use cairn_proto::ids::InodeId;
use cairn_proto::meta::RenameMode;
use cairn_proto::name::Name;

use super::Vfs;
use super::error::VfsError;
use super::trash::{Place, may_be_made};
use crate::cache::{Asked, Named};
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
        Place::must_be_outside(parent)?;
        may_be_made(new_parent, &new_name)?;
        self.rename_here_or_there((parent, name), (new_parent, new_name), mode).await?;
        // The kernel moves what it remembers as soon as it is answered: of an exchange in both directions.
        let there = self.kernel_names.moved(parent, new_parent);
        let back = mode == RenameMode::Exchange && self.kernel_names.moved(new_parent, parent);
        if (there || back)
            && let Some(kernel) = self.kernel.get()
        {
            kernel.forget_names();
            kernel.forgotten().await;
        }
        Ok(())
    }

    async fn rename_here_or_there(
        &self,
        (parent, name): (InodeId, Name),
        (new_parent, new_name): (InodeId, Name),
        mode: RenameMode,
    ) -> Result<(), VfsError> {
        let asked = self.known.asked();
        self.delegations.room().await?;
        self.write_out_before_replacing((parent, &name), (new_parent, &new_name)).await;
        self.keep_what_is_removed(new_parent, &new_name);
        if self.open_and_ours(new_parent, &new_name).is_none()
            && let Some(moved) = self.delegations.rename((parent, &name), (new_parent, &new_name), mode)
        {
            if let Some(moved) = moved? {
                self.moved_here((parent, name), (new_parent, new_name), &moved, asked);
            }
            return Ok(());
        }
        let named = [(parent, &name), (new_parent, &new_name)].map(|(dir, name)| self.inode_of(dir, name));
        let moved: Vec<InodeId> = named.into_iter().flatten().collect();
        let _asking = self.delegations.ask(&[vec![parent, new_parent], moved.clone()].concat()).await?;
        for inode in moved {
            self.no_longer_ours(inode).await;
        }
        let from = (parent, name.clone());
        let to = (new_parent, new_name.clone());
        let renamed = self.meta.rename(from, to, mode).await.inspect_err(|error| {
            self.doubt(parent, &name, error);
            self.doubt(new_parent, &new_name, error);
        });
        let renamed = renamed.map_err(|error| VfsError::from(error).in_directory(parent).in_directory(new_parent))?;
        self.renamed_there((parent, &name), (new_parent, &new_name), &renamed);
        let inodes = [Some(&renamed.moved), renamed.replaced.as_ref(), renamed.exchanged.as_ref()];
        for attr in inodes.into_iter().flatten() {
            self.known.learn(attr, false, asked);
        }
        let left = renamed.exchanged.as_ref().map_or(Named::Absent, |attr| Named::Inode(attr.inode));
        // In this order: renaming one hard link over another of the same inode changes nothing, and leaves both names.
        if (parent, &name) != (new_parent, &new_name) && !is_same_inode(&renamed) {
            self.known.named(parent, name, left, asked);
        } else {
            self.known.doubt(parent, &name);
        }
        self.known.named(new_parent, new_name, Named::Inode(renamed.moved.inode), asked);
        self.known.learn(&renamed.old_parent.attr, false, asked);
        self.known.learn(&renamed.new_parent.attr, false, asked);
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

    /// What a name leads to, as far as this mount knows.
    pub(super) fn inode_of(&self, dir: InodeId, name: &Name) -> Option<InodeId> {
        match self.delegations.find(dir, name)? {
            Found::Inode(inode, _) => Some(inode),
            Found::Absent => None,
        }
    }

    fn moved_here(&self, from: (InodeId, Name), to: (InodeId, Name), moved: &Moved, asked: Asked) {
        self.known.learn(&moved.moved, false, asked);
        self.known.named(from.0, from.1, Named::Absent, asked);
        self.known.named(to.0, to.1, Named::Inode(moved.moved.inode), asked);
        if let Some(replaced) = &moved.replaced {
            self.known.learn(replaced, false, asked);
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
