//! `lookup` and `readlink`, and how attributes are shown.

use std::ffi::OsStr;
use std::time::Duration;

use cairn_proto::attr::{Attr, FileKind};
use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::meta::Granted;
use cairn_proto::name::Name;
use futures::FutureExt;
use futures::future::{self, BoxFuture};

use super::Vfs;
use super::error::VfsError;
use super::trash::{Place, is_reserved, trash_itself};
use crate::cache::{Asked, Learned, Named};
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
        if Place::of(parent) != Place::Outside {
            return self.lookup_in_trash(parent, &name).await;
        }
        let is_trash = is_reserved(parent, &name);
        match self.lookup_entry(parent, name).await? {
            Lookup::Absent(_) if is_trash => Ok(Lookup::Found(trash_itself())),
            found => Ok(found),
        }
    }

    async fn lookup_entry(&self, parent: InodeId, name: Name) -> Result<Lookup, VfsError> {
        match self.delegations.find(parent, &name) {
            Some(Found::Absent) => return Ok(Lookup::Absent(self.name_validity(parent))),
            Some(Found::Inode(_, Some(attr))) => return Ok(Lookup::Found(self.named_here(parent, attr))),
            Some(Found::Inode(inode, None)) => {
                let looked = self.getattr(inode).await?;
                return Ok(Lookup::Found(Looked { name_validity: self.name_validity(parent), ..looked }));
            }
            None => {}
        }
        if let Some(found) = self.cached_lookup(parent, &name) {
            return Ok(found);
        }
        self.delegations.used(parent, Use::Read);
        self.delegations.settle(&[parent]).await?;
        let (asked, epoch) = (self.known.asked(), self.known.epoch(parent));
        let found = self.meta.lookup(parent, &name).await;
        let found = found.map_err(|error| VfsError::from(error).in_directory(parent))?;
        if found.dir_leased {
            self.known.dir_leased(parent, asked);
        }
        let named = found.entry.as_ref().map_or(Named::Absent, |entry| Named::Inode(entry.value.inode));
        self.known.learn_name(parent, name.clone(), named, asked, epoch);
        // What is believed of the name now is what the kernel may believe.
        let is_known = self.known.name(parent, &name) == Some(named);
        let name_validity = if is_known { self.name_validity(parent) } else { Duration::ZERO };
        Ok(match found.entry {
            Some(Granted { value, leased }) => {
                Lookup::Found(Looked { name_validity, ..self.saw(value, leased, asked) })
            }
            None => Lookup::Absent(name_validity),
        })
    }

    /// For how long the kernel may remember a name in a directory that this mount has a lease on.
    pub(super) fn name_validity(&self, dir: InodeId) -> Duration {
        // In this order: a lease that ends meanwhile ends before what was given is taken back.
        let is_given = self.kernel_names.give(dir);
        let is_ours = || self.known.is_dir_leased(dir) || self.delegations.holds(dir);
        if is_given && is_ours() { self.known.validity() } else { Duration::ZERO }
    }

    fn cached_lookup(&self, parent: InodeId, name: &Name) -> Option<Lookup> {
        match self.known.name(parent, name)? {
            Named::Absent => Some(Lookup::Absent(self.name_validity(parent))),
            Named::Inode(inode) => Some(Lookup::Found(self.named_here(parent, self.known.attr(inode)?))),
        }
    }

    pub async fn readlink(&self, inode: InodeId) -> Result<Vec<u8>, VfsError> {
        let inode = Place::real(inode).ok_or(FsError::InvalidArgument)?;
        self.touch_inode(inode);
        self.delegations.settle(&[inode]).await?;
        Ok(self.meta.read_link(inode).await?)
    }

    /// Enters attributes that answer a question asked at `asked`, with a lease or without, and shows the newest that are known.
    pub(super) fn saw(&self, attr: Attr, leased: bool, asked: Asked) -> Looked {
        let learned = self.learn(&attr, leased, asked);
        if attr.kind == FileKind::File
            && learned == Learned::Newest
            && let Some(io) = self.io.find(attr.inode)
        {
            io.seen(&attr);
        }
        let newest = self.last_seen(attr.inode).unwrap_or(attr);
        let attr_validity = self.attr_validity(newest.inode);
        Looked { attr: self.shown(newest), attr_validity, name_validity: Duration::ZERO }
    }

    /// Attributes that are right now, of something whose name is.
    pub(super) fn named_here(&self, parent: InodeId, attr: Attr) -> Looked {
        Looked { name_validity: self.name_validity(parent), ..self.seen_here(attr) }
    }

    /// For how long the kernel may remember attributes.
    pub(super) fn attr_validity(&self, inode: InodeId) -> Duration {
        if self.known.is_leased(inode) { self.known.validity() } else { Duration::ZERO }
    }

    /// See [`super::KernelCache::drop_pages`].
    pub(super) fn drop_pages(&self, inode: InodeId) -> BoxFuture<'static, ()> {
        self.kernel.get().map_or_else(|| future::ready(()).boxed(), |kernel| kernel.drop_pages(inode))
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
