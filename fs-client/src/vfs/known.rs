//! Everything that is remembered of the metaserver's answers, and how an answer is entered.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cairn_proto::attr::{Attr, FileKind};
use cairn_proto::ids::{InodeId, SessionId};
use cairn_proto::name::Name;
use cairn_proto::time::Timestamp;

use super::VfsOptions;
use crate::cache::{
    Asked, AttrCache, Contents, DirEpoch, Drops, Learned, MAX_CONTENTS, MAX_XATTR_INODES, NameCache, Named, XattrCache,
};
use crate::meta::Term;

/// The caches, and the leases that they stand on.
pub struct Known {
    term: Arc<Term>,
    /// The session that all of it was granted in.
    session: AtomicU64,
    drops: Drops,
    attrs: AttrCache,
    names: NameCache,
    pub(super) xattrs: XattrCache,
    pub(super) contents: Contents,
}

impl Known {
    pub(super) fn new(options: &VfsOptions, term: Arc<Term>) -> Self {
        Self {
            session: AtomicU64::new(term.session().0),
            term,
            drops: Drops::default(),
            attrs: AttrCache::new(options.cached_attrs),
            names: NameCache::new(options.cached_names),
            xattrs: XattrCache::new(MAX_XATTR_INODES),
            contents: Contents::new(MAX_CONTENTS),
        }
    }

    /// To be taken before the metaserver is asked: see [`Drops`].
    pub(super) fn asked(&self) -> Asked {
        self.drops.asked()
    }

    /// Whether no lease on `inode` has ended since.
    pub(super) fn is_current(&self, inode: InodeId, asked: Asked) -> bool {
        self.drops.is_current(inode, asked)
    }

    /// For how long what is right now may be believed without asking again.
    pub(super) fn validity(&self) -> Duration {
        self.term.remaining(SessionId(self.session.load(Ordering::SeqCst)))
    }

    /// Whether leases are to be relied on.
    pub(super) fn is_alive(&self) -> bool {
        !self.validity().is_zero()
    }

    /// Attributes that are right.
    pub(super) fn attr(&self, inode: InodeId) -> Option<Attr> {
        self.attrs.get(inode).filter(|_| self.is_alive())
    }

    /// Whether this mount has a lease on an inode.
    pub(super) fn is_leased(&self, inode: InodeId) -> bool {
        self.attrs.is_leased(inode) && self.is_alive()
    }

    /// The newest attributes seen, however long ago.
    pub(super) fn last_seen(&self, inode: InodeId) -> Option<Attr> {
        self.attrs.last_seen(inode)
    }

    /// What a name leads to, if that is known for sure.
    pub(super) fn name(&self, parent: InodeId, name: &Name) -> Option<Named> {
        self.names.get(parent, name).filter(|_| self.is_alive())
    }

    /// See [`NameCache::epoch`].
    pub(super) fn epoch(&self, parent: InodeId) -> DirEpoch {
        self.names.epoch(parent)
    }

    /// What a commit of written data brought back. The observer of [`crate::io::Io`].
    pub fn committed(&self, attr: &Attr) {
        // Without a lease, this makes nothing believable that is not.
        self.changed(attr, self.asked());
    }

    /// Attributes that the metaserver answered to a question of `asked`, with a lease or without.
    pub(super) fn learn(&self, attr: &Attr, leased: bool, asked: Asked) -> Learned {
        self.attrs.learn(attr, leased, asked, &self.drops)
    }

    /// Attributes as a mutation of this mount, sent at `asked`, has left them.
    pub(super) fn changed(&self, attr: &Attr, asked: Asked) {
        self.learn(attr, false, asked);
        if attr.kind == FileKind::File {
            self.contents.wrote(attr);
        }
    }

    /// A later access time.
    pub(super) fn touched(&self, inode: InodeId, atime: Timestamp) {
        self.attrs.touched(inode, atime);
    }

    /// This mount has a lease on a directory, by the answer to a question of `asked`.
    pub(super) fn dir_leased(&self, dir: InodeId, asked: Asked) {
        self.names.leased(dir, asked, &self.drops);
    }

    /// Whether this mount has a lease on a directory's names.
    pub(super) fn is_dir_leased(&self, dir: InodeId) -> bool {
        self.names.is_leased(dir)
    }

    /// What a name leads to, by the answer to a question of `asked`.
    pub(super) fn learn_name(&self, parent: InodeId, name: Name, named: Named, asked: Asked, epoch: DirEpoch) {
        self.names.learn(parent, name, named, asked, epoch, &self.drops);
    }

    /// A name as a mutation of this mount, sent at `asked`, has left it.
    pub(super) fn named(&self, parent: InodeId, name: Name, named: Named, asked: Asked) {
        self.names.changed(parent, name, named, asked, &self.drops);
    }

    /// A mutation of a name failed: perhaps because of what was believed of it.
    pub(super) fn doubt(&self, parent: InodeId, name: &Name) {
        self.names.forget(parent, name);
        self.attrs.doubt(parent);
    }

    /// Others may look at a file from now on. Whatever is on its way from before says nothing else.
    pub(super) fn no_longer_exclusive(&self, inode: InodeId) {
        self.drops.dropped(inode);
    }

    /// The lease on an inode ends: nothing of it is believed from now on.
    pub(super) fn drop_lease(&self, inode: InodeId) {
        self.drops.dropped(inode);
        self.attrs.doubt(inode);
        self.names.forget_dir(inode);
    }

    /// All leases end, as their session may have. Answers on which inodes there were any.
    pub(super) fn drop_all(&self) -> Vec<InodeId> {
        let session = self.term.session();
        self.drops.dropped_all();
        self.names.clear();
        let dropped = self.attrs.doubt_all();
        // Last: what was granted in the one before is not believed in this one.
        self.session.store(session.0, Ordering::SeqCst);
        dropped
    }

    /// Leases that nobody needs any more.
    pub(super) fn take_spare(&self, most: usize) -> Vec<InodeId> {
        self.attrs.take_spare(most)
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").field("term", &self.term).finish_non_exhaustive()
    }
}
