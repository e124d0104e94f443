//! The file system, free of FUSE: what `open`, `rename`, `write` … mean, for the kernel's requests and for programs that use this
//! crate as a library.
//!
//! One file per group of operations; each adds its methods to [`Vfs`]. What stands under them: [`Known`], everything remembered of
//! the metaserver's answers, with the rules by which answers, mutations of this mount and local writes are brought
//! together; the tables of open files and directories; and the lazily sent access times.
//!
//! # Coherence
//!
//! What was learnt is believed for as long as this mount has a lease on what it is about; the kernel is never given more time than
//! what is left of the session's term. When others want to change it, the lease ends ([`leases`]), and with it everything that is remembered,
//! here and in the kernel. A mutation enters its reply at once. [`Attr::changed_at`] orders answers that overtake each other. Writes
//! wait in the buffer under an exclusive lease; others who want to see the file have it flushed first.
//!
//! [`Attr::changed_at`]: cairn_proto::attr::Attr::changed_at

mod atime;
mod attributes;
mod caller;
mod close;
mod copy;
mod create;
mod data;
mod delegated;
mod directory;
mod endings;
mod errno;
mod error;
mod files;
mod kernel;
mod kernel_names;
mod known;
mod leases;
mod locks;
mod lookup;
mod offline;
mod old_pages;
mod open;
mod remove;
mod rename;
mod seek;
mod space;
mod statfs;
mod trash;
mod xattr;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use caller::Caller;
pub use create::NewInode;
pub use data::WriteHow;
pub use directory::Listed;
pub use error::VfsError;
pub use files::{DirHandle, FileHandle};
pub use kernel::KernelCache;
pub use known::Known;
pub use lookup::{Looked, Lookup};
pub use open::Opening;
pub use seek::Whence;

use crate::delegation::Delegations;
use crate::io::Io;
use crate::meta::{MetaClient, Term};

use self::atime::AtimeUpdates;
use self::close::LazyCloses;
use self::directory::OpenDirs;
use self::endings::Endings;
use self::files::OpenFiles;
use self::kernel_names::KernelNames;
use self::locks::LockedBy;
use self::offline::LastKnown;
use self::old_pages::OldPages;

/// How a file system behaves.
#[derive(Clone, Debug)]
pub struct VfsOptions {
    /// Attributes remembered, in inodes.
    pub cached_attrs: usize,
    /// Names remembered.
    pub cached_names: usize,
    /// Keep access times, by the rules of `relatime`.
    pub atime: bool,
}

/// What is not on stable storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsaved {
    /// Changes of names and attributes that the metaserver has not got.
    pub changes: usize,
    /// Files with written bytes.
    pub files: usize,
}

impl Unsaved {
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl std::fmt::Display for Unsaved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "changes of names: {}, files with written bytes: {}", self.changes, self.files)
    }
}

/// The file system.
#[derive(Debug)]
pub struct Vfs {
    meta: Arc<MetaClient>,
    delegations: Arc<Delegations>,
    io: Arc<Io>,
    known: Arc<Known>,
    files: OpenFiles,
    dirs: OpenDirs,
    /// Where access times are kept.
    atimes: Option<AtimeUpdates>,
    lazy_closes: LazyCloses,
    locked_by: LockedBy,
    kernel_names: KernelNames,
    endings: Endings,
    old_pages: OldPages,
    last_known: LastKnown,
    kernel: OnceLock<Box<dyn KernelCache>>,
}

impl Vfs {
    /// `known` is what the observer of `io` enters committed attributes into: see [`Known::committed`].
    pub fn new(
        meta: Arc<MetaClient>,
        delegations: Arc<Delegations>,
        io: Arc<Io>,
        known: Arc<Known>,
        options: &VfsOptions,
    ) -> Self {
        Self {
            meta,
            delegations,
            io,
            known,
            files: OpenFiles::default(),
            dirs: OpenDirs::default(),
            atimes: options.atime.then(AtimeUpdates::default),
            lazy_closes: LazyCloses::default(),
            locked_by: LockedBy::default(),
            kernel_names: KernelNames::default(),
            endings: Endings::default(),
            old_pages: OldPages::default(),
            last_known: LastKnown::default(),
            kernel: OnceLock::new(),
        }
    }

    /// Has `kernel` told what it must drop, from now on.
    pub fn attach_kernel(&self, kernel: Box<dyn KernelCache>) {
        if kernel.can_forget_names() {
            self.kernel_names.can_be_forgotten();
        }
        // A second kernel cannot come: a file system is mounted once.
        let _ = self.kernel.set(kernel);
    }

    /// The session below.
    pub fn meta(&self) -> &Arc<MetaClient> {
        &self.meta
    }

    /// Everything done and written so far is made durable, the lazily sent access times included.
    pub async fn sync_all(&self) -> Result<(), VfsError> {
        let losses = self.delegations.losses();
        self.delegations.flush().await?;
        self.send_atimes().await;
        self.io.sync_all(|inode| self.files.io_of(inode).is_some()).await?;
        if self.delegations.losses() > losses { Err(VfsError::LostSomething) } else { Ok(()) }
    }

    /// The same for a program, which is also told of what was lost since the last one asked.
    pub async fn sync(&self) -> Result<(), VfsError> {
        let synced = self.sync_all().await;
        if self.delegations.take_any_loss() { Err(VfsError::LostSomething) } else { synced }
    }

    /// What would be lost if this process ended now.
    pub fn unsaved(&self) -> Unsaved {
        Unsaved { changes: self.delegations.unsent(), files: self.io.unsaved_files() }
    }

    /// What is done from time to time, for as long as it is polled.
    pub async fn run_background(&self) {
        let atimes = async {
            loop {
                tokio::time::sleep(ATIME_PERIOD).await;
                self.send_atimes().await;
            }
        };
        tokio::join!(atimes, self.watch_space(), self.look_after_leases());
    }
}

/// How long an access time may stay unsent.
const ATIME_PERIOD: Duration = Duration::from_secs(5);

/// What [`Vfs::new`] needs besides the two layers below. `term`: of the session.
pub fn known(options: &VfsOptions, term: Arc<Term>) -> Arc<Known> {
    Arc::new(Known::new(options, term))
}
