//! Everything that is remembered of the metaserver's answers, and how an answer is entered.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cairn_proto::attr::{Attr, FileKind};
use cairn_proto::ids::InodeId;
use cairn_proto::meta::ChangedDir;
use cairn_proto::name::Name;
use cairn_runtime::clock::Clock;

use super::VfsOptions;
use crate::cache::{
    AttrCache, Contents, MAX_CONTENTS, MAX_XATTR_INODES, Moment, NameCache, Named, Validity, XattrCache,
};

/// The caches, and the clock they go by.
pub struct Known {
    clock: Arc<dyn Clock>,
    validity: Validity,
    pub(super) attrs: AttrCache,
    pub(super) names: NameCache,
    pub(super) xattrs: XattrCache,
    pub(super) contents: Contents,
}

impl Known {
    pub(super) fn new(options: &VfsOptions, clock: Arc<dyn Clock>) -> Self {
        let validity = options.validity;
        Self {
            clock,
            validity,
            attrs: AttrCache::new(options.cached_attrs, validity.attrs),
            names: NameCache::new(options.cached_names, validity.names),
            xattrs: XattrCache::new(MAX_XATTR_INODES),
            contents: Contents::new(MAX_CONTENTS),
        }
    }

    pub(super) fn now(&self) -> Moment {
        Moment::now(&*self.clock)
    }

    /// What a commit of written data brought back. The observer of [`crate::io::Io`].
    pub fn committed(&self, attr: &Attr) {
        self.changed(attr, self.now());
    }

    /// Attributes as a mutation of this mount, sent at `asked`, has left them.
    pub(super) fn changed(&self, attr: &Attr, asked: Moment) {
        self.attrs.learn(attr, asked);
        if attr.kind == FileKind::File {
            self.contents.wrote(attr);
        }
    }

    /// A directory as a mutation of this mount, sent at `asked`, has left it. Its names are entered first.
    pub(super) fn changed_dir(&self, dir: &ChangedDir, asked: Moment) {
        self.attrs.learn(&dir.attr, asked);
        self.names.changed_dir(dir, asked);
    }

    /// A mutation of a name failed: perhaps because of what was believed of it.
    pub(super) fn doubt(&self, parent: InodeId, name: &Name) {
        self.names.forget(parent, name);
        self.attrs.doubt(parent);
    }

    /// A name as a mutation of this mount, sent at `asked`, has left it.
    pub(super) fn named(&self, parent: InodeId, name: Name, named: Named, asked: Moment) {
        self.names.changed(parent, name, named, asked);
    }

    /// Nothing that is remembered is to be believed.
    pub(super) fn clear(&self) {
        self.attrs.clear();
        self.names.clear();
    }

    /// How long attributes asked for at `asked` may still be believed.
    pub(super) fn attr_validity(&self, asked: Moment) -> Duration {
        asked.after(self.validity.attrs).since(self.now())
    }

    /// How long a name asked for at `asked` may still be believed.
    pub(super) fn name_validity(&self, asked: Moment) -> Duration {
        asked.after(self.validity.names).since(self.now())
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").field("validity", &self.validity).finish_non_exhaustive()
    }
}
