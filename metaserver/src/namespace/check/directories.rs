//! Directory entries: that they name what there is, and that the two tables of them agree.

use cairn_proto::ids::{InodeId, LogIndex};
use serde::{Deserialize, Serialize};

use super::Check;
use crate::namespace::dentry::{self, Dentry, Listed};
use crate::namespace::inode::{self, Content, Inode};
use crate::namespace::keys;
use crate::namespace::link::Link;
use crate::namespace::value::Stored;
use crate::store::StoreError;

/// The entries of one directory, as far as they are counted.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) struct Count {
    parent: InodeId,
    /// Of the directory, when the count began: it is worth something only if that is the same at the end.
    changed_at: LogIndex,
    entries: u64,
    subdirectories: u64,
}

impl Check<'_> {
    pub(super) fn check_entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let row =
            keys::parse_dentry(key).and_then(|(parent, name)| Ok((parent, name, Dentry::from_stored(key, value)?)));
        let Some((parent, name, dentry)) = self.decoded(row)? else {
            return Ok(());
        };
        self.count_entry(parent, &dentry)?;
        let link = dentry.link(parent);
        let inode = inode::find(self.read, dentry.inode);
        match self.decoded(inode)?.flatten() {
            None => {
                let what = format!("{name} in {parent} names {}, which does not exist", dentry.inode);
                self.found("dangling-entry", Some(parent), None, what);
            }
            Some(inode) => {
                if inode.kind() != dentry.kind {
                    let what =
                        format!("{name} in {parent} names a {:?}, {} is a {:?}", dentry.kind, inode.id, inode.kind());
                    self.found("wrong-kind", Some(parent), None, what);
                }
                self.check_back_link(&inode, link)?;
            }
        }
        let listed = dentry::find_listed(self.read, link);
        let same = Listed { name: name.clone(), inode: dentry.inode, kind: dentry.kind };
        if self.decoded(listed)?.flatten() != Some(same) {
            let what = format!("{name} in {parent} is not at its place {} in the listing", dentry.cookie);
            self.found("unlisted-entry", Some(parent), None, what);
        }
        Ok(())
    }

    /// The inode knows that this entry names it.
    fn check_back_link(&mut self, inode: &Inode, link: Link) -> Result<(), StoreError> {
        let known = inode.home == link || self.read.get(&keys::further_link(inode.id, link))?.is_some();
        if !known || inode.nlink == 0 {
            let what = format!("{} of {} names {}, which does not count it", link.cookie, link.parent, inode.id);
            self.found("uncounted-entry", Some(inode.id), None, what);
        }
        Ok(())
    }

    fn count_entry(&mut self, parent: InodeId, dentry: &Dentry) -> Result<(), StoreError> {
        if self.progress.directory.is_none_or(|count| count.parent != parent) {
            self.end_directory()?;
            let directory = inode::find(self.read, parent);
            match self.decoded(directory)?.flatten() {
                Some(Inode { content: Content::Directory(_), changed_at, .. }) => {
                    self.progress.directory = Some(Count { parent, changed_at, entries: 0, subdirectories: 0 });
                }
                _ => {
                    let what = format!("there are entries in {parent}, which is no directory");
                    self.found("entry-without-directory", Some(parent), None, what);
                }
            }
        }
        if let Some(count) = &mut self.progress.directory {
            count.entries += 1;
            count.subdirectories += u64::from(dentry.is_directory());
        }
        Ok(())
    }

    /// All entries of a directory have been seen.
    pub(super) fn end_directory(&mut self) -> Result<(), StoreError> {
        let Some(count) = self.progress.directory.take() else {
            return Ok(());
        };
        let Ok(Some(inode)) = inode::find(self.read, count.parent) else {
            return Ok(());
        };
        let (Content::Directory(directory), true) = (&inode.content, inode.changed_at == count.changed_at) else {
            return Ok(());
        };
        let id = inode.id;
        if directory.entries != count.entries {
            let what = format!("directory {id} has {} entries, noted are {}", count.entries, directory.entries);
            self.found("wrong-entry-count", Some(id), None, what);
        }
        if u64::from(inode.nlink) != count.subdirectories + 2 {
            let what = format!(
                "directory {id} has {} subdirectories and a link count of {}",
                count.subdirectories, inode.nlink
            );
            self.found("wrong-nlink", Some(id), None, what);
        }
        Ok(())
    }

    pub(super) fn check_listed(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let row = keys::parse_listed(key).and_then(|link| Ok((link, Listed::from_stored(key, value)?)));
        let Some((link, listed)) = self.decoded(row)? else {
            return Ok(());
        };
        let dentry = dentry::find(self.read, link.parent, &listed.name);
        let same = Dentry { inode: listed.inode, kind: listed.kind, cookie: link.cookie };
        if self.decoded(dentry)?.flatten() != Some(same) {
            let what = format!("{} of {} lists {}, which is not there", link.cookie, link.parent, listed.name);
            self.found("phantom-listing", Some(link.parent), None, what);
        }
        let parent = inode::find(self.read, link.parent);
        if let Some(Inode { content: Content::Directory(directory), .. }) = self.decoded(parent)?.flatten()
            && directory.next_cookie <= link.cookie
        {
            let what = format!("{} gives out {} again", link.parent, link.cookie);
            self.found("cookie-not-given-out", Some(link.parent), None, what);
        }
        Ok(())
    }

    pub(super) fn check_further_link(&mut self, key: &[u8]) -> Result<(), StoreError> {
        if let Some((id, link)) = self.decoded(keys::parse_further_link(key))? {
            self.check_link(id, link)?;
        }
        Ok(())
    }
}
