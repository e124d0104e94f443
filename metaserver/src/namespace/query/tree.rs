//! Names, attributes, directories, paths.

use cairn_proto::attr::Attr;
use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::meta::{DirEntry, DirPage, MAX_DIR_PAGE, ReadDir};
use cairn_proto::name::Name;
use cairn_proto::policy::Policy;

use super::super::dentry;
use super::super::error::Outcome;
use super::super::inode::{self, Content, Inode};
use crate::store::{Read, StoreError};

/// Directories above an inode at most, for [`path_of`]: names of a path of 4096 bytes and far beyond.
const MAX_DEPTH: usize = 1 << 16;

/// The attributes of an entry's inode.
pub fn lookup(read: &dyn Read, parent: InodeId, name: &Name) -> Outcome<Attr> {
    // The entry first: where it exists, the directory does.
    match dentry::find(read, parent, name)? {
        Some(dentry) => Ok(inode::of_entry(read, dentry.inode)?.attr()),
        None => {
            inode::get_directory(read, parent)?;
            Err(FsError::NotFound.into())
        }
    }
}

/// `Stale` where the inode is gone.
pub fn get_attr(read: &dyn Read, inode: InodeId) -> Outcome<Attr> {
    Ok(get_inode(read, inode)?.attr())
}

/// The inode as stored; `Stale` where it is gone.
pub fn get_inode(read: &dyn Read, inode: InodeId) -> Outcome<Inode> {
    inode::get(read, inode)
}

/// What new chunks of a file, or new entries of a directory, ask for.
pub fn policy_of(read: &dyn Read, inode: InodeId) -> Outcome<Policy> {
    Ok(get_inode(read, inode)?.policy)
}

/// The target of a symlink; `InvalidArgument` for anything else.
pub fn read_link(read: &dyn Read, inode: InodeId) -> Outcome<Vec<u8>> {
    match inode::get(read, inode)?.content {
        Content::Symlink { target } => Ok(target),
        _ => Err(FsError::InvalidArgument.into()),
    }
}

/// What a name leads to.
pub fn find_entry(read: &dyn Read, parent: InodeId, name: &Name) -> Outcome<Option<InodeId>> {
    Ok(dentry::find(read, parent, name)?.map(|dentry| dentry.inode))
}

/// A page of a directory in listing order.
pub fn read_dir(read: &dyn Read, request: ReadDir) -> Outcome<DirPage> {
    let directory = inode::get_directory(read, request.inode)?;
    let limit = request.limit.min(MAX_DIR_PAGE) as usize;
    let listed = dentry::list(read, request.inode, request.after, limit)?;
    let end = listed.len() < limit;
    let entries = listed.into_iter().map(|(cookie, entry)| {
        let attr = if request.plus { Some(inode::of_entry(read, entry.inode)?.attr()) } else { None };
        Ok(DirEntry { name: entry.name, inode: entry.inode, kind: entry.kind, cookie, attr, leased: false })
    });
    let entries = entries.collect::<Outcome<_>>()?;
    Ok(DirPage { entries, end, parent: directory.home.parent, leased: false, keeps: !directory.retention.is_off() })
}

/// The inode at a path from the root; symlinks are not followed.
pub fn resolve(read: &dyn Read, path: &[Name]) -> Outcome<InodeId> {
    let mut at = InodeId::ROOT;
    for name in path {
        at = match dentry::find(read, at, name)? {
            Some(dentry) => dentry.inode,
            None => {
                inode::get_directory(read, at)?;
                return Err(FsError::NotFound.into());
            }
        };
    }
    Ok(at)
}

/// A path that leads to the inode: one of them, where it has several names. `None` where it is gone or has none.
pub fn path_of(read: &dyn Read, inode: InodeId) -> Result<Option<Vec<Name>>, StoreError> {
    let mut path = Vec::new();
    let mut at = inode;
    while at != InodeId::ROOT {
        let Some(inode) = inode::find(read, at)? else {
            return Ok(None);
        };
        match dentry::find_listed(read, inode.home)? {
            Some(listed) if listed.inode == at && path.len() < MAX_DEPTH => path.push(listed.name),
            _ => return Ok(None),
        }
        at = inode.home.parent;
    }
    path.reverse();
    Ok(Some(path))
}
