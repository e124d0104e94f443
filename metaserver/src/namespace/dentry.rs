//! Directory entries, in two tables that say the same: by name, to look one up, and in listing order, to list them with
//! offsets that stay valid whatever changes.
//!
//! An entry's cookie is its place in the listing. It is given out once per directory, ascending. An entry keeps it while its
//! name stays, when a rename replaces or exchanges what the name means too, and when it is renamed within its directory: so one
//! that is there during a whole listing is listed exactly once.

use cairn_proto::attr::FileKind;
use cairn_proto::error::FsError;
use cairn_proto::ids::{DirCookie, InodeId};
use cairn_proto::name::Name;
use serde::{Deserialize, Serialize};

use super::error::Outcome;
use super::inode::Inode;
use super::keys;
use super::link::Link;
use super::value::{Stored, load, page, save};
use crate::store::{Read, StoreError, Txn};

/// What a name in a directory stands for: the value by name.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Dentry {
    pub inode: InodeId,
    pub kind: FileKind,
    pub cookie: DirCookie,
}

/// The same entry in listing order.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Listed {
    pub name: Name,
    pub inode: InodeId,
    pub kind: FileKind,
}

impl Stored for Dentry {
    const FORMAT: u8 = 1;
    const NOUN: &'static str = "directory entry";
}

impl Stored for Listed {
    const FORMAT: u8 = 1;
    const NOUN: &'static str = "listed directory entry";
}

impl Dentry {
    pub(super) fn is_directory(&self) -> bool {
        self.kind == FileKind::Directory
    }

    pub(super) fn link(&self, parent: InodeId) -> Link {
        Link { parent, cookie: self.cookie }
    }
}

/// The entry, if there is one.
pub(super) fn find(read: &dyn Read, parent: InodeId, name: &Name) -> Result<Option<Dentry>, StoreError> {
    load(read, &keys::dentry(parent, name))
}

/// The entry; `NotFound` where there is none.
pub(super) fn get(read: &dyn Read, parent: InodeId, name: &Name) -> Outcome<Dentry> {
    Ok(find(read, parent, name)?.ok_or(FsError::NotFound)?)
}

/// The entry at a place in the listing.
pub(super) fn find_listed(read: &dyn Read, link: Link) -> Result<Option<Listed>, StoreError> {
    load(read, &keys::listed(link))
}

/// Entries of `parent` after `after` in listing order.
pub(super) fn list(
    read: &dyn Read,
    parent: InodeId,
    after: DirCookie,
    limit: usize,
) -> Result<Vec<(DirCookie, Listed)>, StoreError> {
    page(read, &keys::listing(parent, after), limit, |(key, value)| {
        Ok((keys::parse_listed(key)?.cookie, Listed::from_stored(key, value)?))
    })
}

/// Takes the next place in `parent`, which the caller saves.
pub(super) fn next_link(parent: &mut Inode) -> Result<Link, FsError> {
    let id = parent.id;
    let directory = parent.as_directory_mut()?;
    let cookie = directory.next_cookie;
    directory.next_cookie = DirCookie(cookie.0 + 1);
    Ok(Link { parent: id, cookie })
}

/// Adds an entry at a place from [`next_link`]; `parent` is saved by the caller.
pub(super) fn insert(
    txn: &mut Txn<'_>,
    parent: &mut Inode,
    name: &Name,
    target: &Inode,
    link: Link,
) -> Result<(), FsError> {
    parent.as_directory_mut()?.entries += 1;
    write(txn, link, name, target.id, target.kind());
    Ok(())
}

/// Removes an entry; `parent` is saved by the caller.
pub(super) fn remove(txn: &mut Txn<'_>, parent: &mut Inode, name: &Name, dentry: &Dentry) -> Result<(), FsError> {
    parent.as_directory_mut()?.entries -= 1;
    txn.delete(keys::dentry(parent.id, name));
    txn.delete(keys::listed(dentry.link(parent.id)));
    Ok(())
}

/// Makes `link`, an existing place, say that `name` is `inode`.
pub(super) fn write(txn: &mut Txn<'_>, link: Link, name: &Name, inode: InodeId, kind: FileKind) {
    save(txn, keys::dentry(link.parent, name), &Dentry { inode, kind, cookie: link.cookie });
    save(txn, keys::listed(link), &Listed { name: name.clone(), inode, kind });
}

/// Gives an entry another name in the same directory. It keeps its place.
pub(super) fn rename(txn: &mut Txn<'_>, parent: InodeId, old: &Name, new: &Name, dentry: &Dentry) {
    txn.delete(keys::dentry(parent, old));
    write(txn, dentry.link(parent), new, dentry.inode, dentry.kind);
}
