//! Inodes: the entries that name them, their link counts, xattrs, and what their type adds.

use cairn_proto::ids::InodeId;

use super::Check;
use crate::namespace::inode::{self, Content, Inode};
use crate::namespace::value::Stored;
use crate::namespace::{dentry, keys, link, orphan, slot, trash, xattr};
use crate::store::StoreError;

/// Slots and further links of one inode that are gone through at once; of an inode with more, the sums are not checked.
const MAX_ROWS_OF_INODE: usize = 1 << 16;

/// Directories above an inode that are gone through.
const MAX_DEPTH: usize = 1 << 16;

impl Check<'_> {
    pub(super) fn check_inode(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.progress.counted.inodes += 1;
        let Some(inode) = self.decoded(Inode::from_stored(key, value))? else {
            return Ok(());
        };
        if *keys::inode(inode.id) != *key {
            self.found("misplaced-inode", Some(inode.id), None, format!("{} stands under another's number", inode.id));
            return Ok(());
        }
        self.check_number(inode.id)?;
        match inode.nlink {
            0 => self.check_removed(&inode)?,
            _ => self.check_links(&inode)?,
        }
        self.check_xattr_list(&inode)?;
        match inode.content {
            Content::File(file) => self.check_allocated(inode.id, file.allocated),
            Content::Directory(directory) => self.check_emptiness(inode.id, directory.entries),
            _ => Ok(()),
        }
    }

    fn check_number(&mut self, id: InodeId) -> Result<(), StoreError> {
        let next = crate::namespace::counters::get(self.read)?.next_inode;
        if id >= next {
            self.found(
                "number-not-given-out",
                Some(id),
                None,
                format!("{id} exists, but the next one would be {next}"),
            );
        }
        Ok(())
    }

    fn check_removed(&mut self, inode: &Inode) -> Result<(), StoreError> {
        let trashed = trash::find(self.read, inode.id);
        let kept = self.decoded(trashed)?.is_none_or(|trashed| trashed.is_some());
        match (orphan::contains(self.read, inode.id)?, kept) {
            (false, false) => {
                let what =
                    format!("{} has no name and is neither in the trash nor an orphan: it is never freed", inode.id);
                self.found("lost-inode", Some(inode.id), None, what);
            }
            (true, true) => {
                let what = format!("{} is in the trash, and yet among the orphans: it is not kept", inode.id);
                self.found("orphan-in-trash", Some(inode.id), None, what);
            }
            _ => {}
        }
        Ok(())
    }

    fn check_links(&mut self, inode: &Inode) -> Result<(), StoreError> {
        if inode.id == InodeId::ROOT {
            return Ok(());
        }
        let id = inode.id;
        if orphan::contains(self.read, id)? {
            self.found("living-orphan", Some(id), None, format!("{id} has a name, yet is among the orphans"));
        }
        self.check_link(id, inode.home)?;
        let further = link::further(self.read, id, MAX_ROWS_OF_INODE)?;
        if inode.is_directory() {
            if !further.is_empty() {
                self.found("linked-directory", Some(id), None, format!("directory {id} has several names"));
            }
            return self.check_ancestors(inode);
        }
        let links = further.len() as u64 + 1;
        if further.len() < MAX_ROWS_OF_INODE && u64::from(inode.nlink) != links {
            let what = format!("{id} has {links} names and a link count of {}", inode.nlink);
            self.found("wrong-nlink", Some(id), None, what);
        }
        Ok(())
    }

    pub(super) fn check_link(&mut self, id: InodeId, link: link::Link) -> Result<(), StoreError> {
        let listed = dentry::find_listed(self.read, link);
        match self.decoded(listed)? {
            Some(Some(listed)) if listed.inode == id => {}
            _ => {
                let what = format!("{id} should be named by {} of {}, which does not", link.cookie, link.parent);
                self.found("unnamed-inode", Some(id), None, what);
            }
        }
        Ok(())
    }

    /// Every directory hangs below the root.
    fn check_ancestors(&mut self, directory: &Inode) -> Result<(), StoreError> {
        let mut at = directory.home.parent;
        for _ in 0..MAX_DEPTH {
            if at == InodeId::ROOT {
                return Ok(());
            }
            let parent = inode::find(self.read, at);
            match self.decoded(parent)?.flatten() {
                Some(parent) if parent.is_directory() && parent.nlink > 0 => at = parent.home.parent,
                _ => break,
            }
        }
        let what = format!("no way leads from the root to directory {}", directory.id);
        self.found("unreachable-directory", Some(directory.id), None, what);
        Ok(())
    }

    fn check_xattr_list(&mut self, inode: &Inode) -> Result<(), StoreError> {
        let names = xattr::names(self.read, inode.id, usize::MAX)?;
        let bytes: u32 = names.iter().map(|name| xattr::listed_bytes(name.as_bytes())).sum();
        if bytes != inode.xattr_bytes {
            let what = format!("the xattr list of {} has {bytes} bytes, noted are {}", inode.id, inode.xattr_bytes);
            self.found("wrong-xattr-list", Some(inode.id), None, what);
        }
        Ok(())
    }

    fn check_allocated(&mut self, id: InodeId, noted: u64) -> Result<(), StoreError> {
        let slots = slot::from(self.read, id, cairn_proto::ids::ChunkIndex(0), MAX_ROWS_OF_INODE)?;
        if slots.len() == MAX_ROWS_OF_INODE {
            return Ok(());
        }
        let mut sum = 0;
        for (_, slot) in slots {
            let chunk = crate::namespace::chunk::find(self.read, slot.handle);
            sum += self.decoded(chunk)?.flatten().map_or(0, |chunk| u64::from(chunk.allocated));
        }
        if sum != noted {
            let what = format!("the chunks of {id} have {sum} bytes allocated, noted are {noted}");
            self.found("wrong-allocated", Some(id), None, what);
        }
        Ok(())
    }

    /// Directories with entries are counted when the entries are gone through; those without never come up there.
    fn check_emptiness(&mut self, id: InodeId, entries: u64) -> Result<(), StoreError> {
        let range = keys::dentries_of(id);
        let empty = self.read.scan_page(&range.start, &range.end, 1)?.is_empty();
        if empty != (entries == 0) {
            let what = format!(
                "directory {id} should have {entries} entries, and is {}empty",
                if empty { "" } else { "not " }
            );
            self.found("wrong-entry-count", Some(id), None, what);
        }
        Ok(())
    }
}
