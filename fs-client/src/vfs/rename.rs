//! `renameat2`.

use std::ffi::OsStr;

use cairn_proto::ids::InodeId;
use cairn_proto::meta::RenameMode;
use cairn_proto::name::Name;

use super::Vfs;
use super::error::VfsError;
use crate::cache::Named;

impl Vfs {
    pub async fn rename(
        &self,
        (parent, name): (InodeId, &OsStr),
        (new_parent, new_name): (InodeId, &OsStr),
        mode: RenameMode,
    ) -> Result<(), VfsError> {
        let (name, new_name) = (Name::from_os(name)?, Name::from_os(new_name)?);
        let asked = self.known.now();
        let from = (parent, name.clone());
        let to = (new_parent, new_name.clone());
        let renamed = self.meta.rename(from, to, mode).await.inspect_err(|_| {
            self.known.doubt(parent, &name);
            self.known.doubt(new_parent, &new_name);
        })?;
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
}

/// Whether both names led to one inode: then POSIX has `rename` do nothing.
fn is_same_inode(renamed: &crate::meta::Renamed) -> bool {
    let moved = renamed.moved.inode;
    [&renamed.replaced, &renamed.exchanged].into_iter().flatten().any(|attr| attr.inode == moved)
}
