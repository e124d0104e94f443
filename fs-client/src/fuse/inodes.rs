//! Inodes that the kernel has, or is about to have.
//!
//! What is remembered of an inode can be taken back only from a kernel that has it. Between the answer that names an inode for the first
//! time and the moment when the kernel has entered it there is nothing to take back from, and then there is: attributes that were right
//! when they were sent, to be believed for a session's term. So answers that name inodes are counted before they are sent, and what the kernel
//! has no inode for, although it was named one and has not forgotten it, is taken back again until it has.
//!
//! [`Naming`] is the other half: a lease that ended before the answer was counted gives it no validity.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use cairn_proto::ids::InodeId;
use fuser::{Errno, FileHandle, ReplyCreate, ReplyDirectoryPlus, ReplyEntry};
use parking_lot::Mutex;

use super::answer::{Answer, GENERATION, Handle, Listing, open_flags};
use super::convert;
use crate::cache::Asked;
use crate::vfs::{Listed, Looked, Lookup, Opening, Vfs};

/// So that lookups of different inodes do not wait for each other.
const SHARDS: usize = 16;

/// How often each inode was named to the kernel and not forgotten by it (`nlookup` of the FUSE protocol).
#[derive(Debug, Default)]
pub struct KernelInodes {
    shards: [Mutex<HashMap<InodeId, u64>>; SHARDS],
}

impl KernelInodes {
    fn shard(&self, inode: InodeId) -> &Mutex<HashMap<InodeId, u64>> {
        &self.shards[inode.0 as usize % SHARDS]
    }

    /// To be told before an answer that names the inode is sent.
    pub fn named(&self, inode: InodeId) {
        *self.shard(inode).lock().entry(inode).or_default() += 1;
    }

    /// The kernel has forgotten an inode that it was told of so often.
    pub fn forgotten(&self, inode: InodeId, times: u64) {
        if let Entry::Occupied(mut count) = self.shard(inode).lock().entry(inode) {
            *count.get_mut() = count.get().saturating_sub(times);
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// Whether the kernel has the inode, or is about to.
    pub fn contain(&self, inode: InodeId) -> bool {
        self.shard(inode).lock().contains_key(&inode)
    }
}

/// An answer that names inodes to the kernel, for which it may remember attributes if they are right still.
pub(super) struct Naming<R> {
    pub reply: R,
    pub namer: Namer,
}

/// See [`Naming`].
#[derive(Clone)]
pub(super) struct Namer {
    inodes: Arc<KernelInodes>,
    vfs: Arc<Vfs>,
    /// When the kernel asked.
    asked: Asked,
}

impl Namer {
    /// For the answer to something that the kernel asks now.
    pub fn new(inodes: Arc<KernelInodes>, vfs: Arc<Vfs>) -> Self {
        let asked = vfs.asked();
        Self { inodes, vfs, asked }
    }

    /// For how long the kernel may remember the attributes. In this order: a lease that ends later finds the inode counted.
    fn name(&self, looked: &Looked) -> Duration {
        let inode = looked.attr.inode;
        self.inodes.named(inode);
        if self.vfs.is_current(inode, self.asked) { looked.attr_validity } else { Duration::ZERO }
    }
}

impl Answer for Naming<ReplyEntry> {
    type Value = Lookup;

    fn send(self, lookup: Lookup) {
        match lookup {
            Lookup::Found(looked) => {
                let validity = self.namer.name(&looked);
                let attr = convert::attr(&looked.attr);
                self.reply.entry_with_ttls(&validity, &looked.name_validity, &attr, GENERATION);
            }
            Lookup::Absent(Duration::ZERO) => self.reply.error(Errno::ENOENT),
            // Inode 0: there is no such name, and the kernel may remember that.
            Lookup::Absent(validity) => self.reply.entry(&validity, &convert::absent(), GENERATION),
        }
    }

    fn fail(self, errno: Errno) {
        self.reply.error(errno);
    }
}

impl Answer for Naming<ReplyCreate> {
    type Value = (Looked, Opening);

    fn send(self, (looked, opening): (Looked, Opening)) {
        // One time for both the name and the attributes.
        let validity = self.namer.name(&looked).min(looked.name_validity);
        let handle = FileHandle(opening.handle.0);
        self.reply.created(&validity, &convert::attr(&looked.attr), GENERATION, handle, open_flags(&opening));
    }

    fn fail(self, errno: Errno) {
        self.reply.error(errno);
    }

    fn opened((_, opening): &Self::Value) -> Option<Handle> {
        Some(Handle::File(opening.handle))
    }
}

impl Namer {
    /// Adds an entry of a directory with its attributes; says whether there was no room for it.
    pub fn list(&self, listing: &Listing<ReplyDirectoryPlus>, entry: &Listed<'_>) -> bool {
        listing.add(|reply| {
            let (ino, name) = (convert::ino(entry.inode), OsStr::from_bytes(entry.name));
            // `.` and `..` are names of nothing that the kernel would count.
            let Some(looked) = &entry.looked else {
                let attr = convert::bare(entry.inode, entry.kind);
                return reply.add(ino, entry.next, name, &Duration::ZERO, &attr, GENERATION);
            };
            let validity = self.name(looked).min(looked.name_validity);
            let is_full = reply.add(ino, entry.next, name, &validity, &convert::attr(&looked.attr), GENERATION);
            if is_full {
                self.inodes.forgotten(entry.inode, 1);
            }
            is_full
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inode_is_there_until_it_was_forgotten_as_often_as_named() {
        let inodes = KernelInodes::default();
        let [a, b] = [1, 1 + SHARDS as u64].map(InodeId);
        inodes.named(a);
        inodes.named(a);
        inodes.named(b);
        inodes.forgotten(a, 1);
        assert!(inodes.contain(a) && inodes.contain(b));
        inodes.forgotten(a, 1);
        assert!(!inodes.contain(a) && inodes.contain(b));
        // The root is forgotten without having been named.
        inodes.forgotten(a, u64::MAX);
        assert!(!inodes.contain(a));
    }
}
