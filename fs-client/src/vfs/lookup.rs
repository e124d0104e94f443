//! `lookup` and `readlink`, and how attributes are shown.

use std::ffi::OsStr;
use std::time::Duration;

use cairn_proto::attr::{Attr, FileKind};
use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::name::Name;

use super::Vfs;
use super::error::VfsError;
use crate::cache::{Change, Learned, Moment, Named};
use crate::delegation::{Found, Use};

/// Attributes as they are shown, and for how long they may be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    pub attr: Attr,
    pub attr_validity: Duration,
    /// For the name that led here.
    pub name_validity: Duration,
}

/// What a name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    Found(Looked),
    /// Nothing, and for how long that may be believed.
    Absent(Duration),
}

impl Vfs {
    pub async fn lookup(&self, parent: InodeId, name: &OsStr) -> Result<Lookup, VfsError> {
        let name = Name::from_os(name)?;
        match self.delegations.find(parent, &name) {
            Some(Found::Absent) => return Ok(Lookup::Absent(self.known.name_validity(self.known.now()))),
            Some(Found::Inode(_, Some(attr))) => return Ok(Lookup::Found(self.seen_here(attr))),
            Some(Found::Inode(inode, None)) => return self.getattr(inode).await.map(Lookup::Found),
            None => {}
        }
        if let Some(found) = self.cached_lookup(parent, &name) {
            return Ok(found);
        }
        self.delegations.used(parent, Use::Read);
        self.delegations.settle(&[parent]).await?;
        let (asked, epoch) = (self.known.now(), self.known.names.epoch(parent));
        match self.meta.lookup(parent, &name).await.map_err(VfsError::from) {
            Ok(attr) => {
                self.known.names.learn(parent, name, Named::Inode(attr.inode), asked, epoch);
                Ok(Lookup::Found(self.saw(attr, asked)))
            }
            Err(error) if error.refusal() == Some(&FsError::NotFound) => {
                self.known.names.learn(parent, name, Named::Absent, asked, epoch);
                Ok(Lookup::Absent(self.known.name_validity(asked)))
            }
            Err(error) => Err(error),
        }
    }

    fn cached_lookup(&self, parent: InodeId, name: &Name) -> Option<Lookup> {
        let now = self.known.now();
        let named = self.known.names.get(parent, name, now)?;
        match named.value {
            Named::Absent => Some(Lookup::Absent(named.remaining)),
            Named::Inode(inode) => {
                let (attr, attr_validity) = match self.known.attrs.get(inode, now) {
                    Some(attr) => (attr.value, attr.remaining),
                    None => (self.attr_of_doomed(parent, inode, now)?, Duration::ZERO),
                };
                let looked = Looked { attr: self.shown(attr), attr_validity, name_validity: named.remaining };
                Some(Lookup::Found(looked))
            }
        }
    }

    /// Old attributes of a file in a directory that is being changed: the kernel looks a name up before it removes or moves it, and
    /// wants to know only where it leads. It asks again before it shows them to anybody.
    fn attr_of_doomed(&self, parent: InodeId, inode: InodeId, now: Moment) -> Option<Attr> {
        self.known.names.dir(parent, now).filter(|dir| dir.changing)?;
        self.last_seen(inode).filter(|attr| attr.kind != FileKind::Directory)
    }

    pub async fn readlink(&self, inode: InodeId) -> Result<Vec<u8>, VfsError> {
        self.touch_inode(inode);
        self.delegations.settle(&[inode]).await?;
        Ok(self.meta.read_link(inode).await?)
    }

    /// Enters attributes that answer a question asked at `asked`, and shows the newest that are known.
    pub(super) fn saw(&self, attr: Attr, asked: Moment) -> Looked {
        let learned = self.learn(&attr, asked);
        match attr.kind {
            FileKind::File if learned == Learned::Newest => self.saw_contents(&attr),
            FileKind::Directory => self.known.names.saw_dir(&attr, asked, self.known.now()),
            _ => {}
        }
        let newest = self.last_seen(attr.inode).unwrap_or(attr);
        Looked {
            attr: self.shown(newest),
            attr_validity: self.known.attr_validity(asked),
            name_validity: self.known.name_validity(asked),
        }
    }

    /// Drops what is cached of a file that somebody else has written to.
    fn saw_contents(&self, attr: &Attr) {
        let contents = &self.known.contents;
        if self.io.find(attr.inode).is_some_and(|io| io.is_dirty()) {
            return;
        }
        match self.files.io_of(attr.inode) {
            // Its own writes are on their way, and the answer may or may not know of them.
            Some(io) if io.is_dirty() => {}
            Some(io) if contents.saw(attr) != Change::None => {
                tracing::debug!(inode = %attr.inode, "changed by somebody else; dropping what is cached");
                io.refresh(attr);
                self.drop_pages(attr.inode);
            }
            Some(_) => {}
            // The next open will say so to the kernel.
            None if contents.knows(attr.inode) && contents.saw(attr) == Change::Changed => contents.forget(attr.inode),
            None => {}
        }
    }

    pub(super) fn drop_pages(&self, inode: InodeId) {
        if let Some(kernel) = self.kernel.get() {
            kernel.drop_pages(inode);
        }
    }

    /// Attributes with what this mount knows and the metaserver does not, yet: writes under way, access times not sent.
    pub(super) fn shown(&self, mut attr: Attr) -> Attr {
        if attr.kind == FileKind::File
            && let Some(io) = self.io.find(attr.inode)
        {
            io.overlay(&mut attr);
        }
        if let Some(atimes) = &self.atimes {
            atimes.overlay(&mut attr);
        }
        attr
    }
}
