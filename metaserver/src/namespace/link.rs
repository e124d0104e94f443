//! Links: from an inode back to the directory entries that name it.
//!
//! The first link, the *home*, stands in the inode itself, so that a file with one name costs no further key; only an inode
//! with hard links has rows in the table of further links. So a path of any inode is found, and the link count of each inode is
//! checked, without looking through directories.

use cairn_proto::ids::{DirCookie, InodeId};
use serde::{Deserialize, Serialize};

use super::inode::Inode;
use super::value::{Stored, save};
use super::{keys, value};
use crate::store::{Read, StoreError, Txn};

/// The place of a directory entry: its directory and its cookie there. The entry's name may change under it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Debug)]
pub struct Link {
    pub parent: InodeId,
    pub cookie: DirCookie,
}

/// The row of a link that is not the home. All that it says is in its key.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct FurtherLink;

impl Stored for FurtherLink {
    const FORMAT: u8 = 1;
    const NOUN: &'static str = "link";
}

/// `inode`, which has at least one link, gets another one. The caller counts it in `nlink`.
pub(super) fn add(txn: &mut Txn<'_>, inode: &Inode, link: Link) {
    save(txn, keys::further_link(inode.id, link), &FurtherLink);
}

/// `inode` loses a link, which its `nlink` no longer counts. If it was the home, another link becomes it; where there is none the home stays, as the place where the
/// inode last was.
pub(super) fn remove(txn: &mut Txn<'_>, inode: &mut Inode, link: Link) -> Result<(), StoreError> {
    if inode.home != link {
        txn.delete(keys::further_link(inode.id, link));
        return Ok(());
    }
    // The common case, and a scan is the dearest thing in a removal.
    if inode.nlink == 0 {
        return Ok(());
    }
    if let Some(&next) = further(txn, inode.id, 1)?.first() {
        txn.delete(keys::further_link(inode.id, next));
        inode.home = next;
    }
    Ok(())
}

/// The entry that was at `from` is at `to` from now on.
pub(super) fn relocate(txn: &mut Txn<'_>, inode: &mut Inode, from: Link, to: Link) {
    if inode.home == from {
        inode.home = to;
    } else {
        txn.delete(keys::further_link(inode.id, from));
        add(txn, inode, to);
    }
}

/// The directory with the lowest number above `after` that has a further link of `inode`: how to find all directories of an inode
/// without looking at all of its names, which may be a million in one of them.
pub(super) fn next_parent(read: &dyn Read, inode: InodeId, after: InodeId) -> Result<Option<InodeId>, StoreError> {
    let range = keys::further_links_beyond(inode, after);
    let found = value::page(read, &range, 1, |(key, _)| Ok(keys::parse_further_link(key)?.1.parent))?;
    Ok(found.first().copied())
}

/// Links of `inode` besides its home, at most `limit`.
pub(super) fn further(read: &dyn Read, inode: InodeId, limit: usize) -> Result<Vec<Link>, StoreError> {
    value::page(read, &keys::further_links_of(inode), limit, |(key, _)| Ok(keys::parse_further_link(key)?.1))
}
