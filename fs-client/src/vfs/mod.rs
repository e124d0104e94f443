//! The file system, free of FUSE: what `open`, `rename`, `write` … mean, for the kernel's requests and for programs that use this
//! crate as a library.
//!
//! One file per group of operations; each adds its methods to [`Vfs`]. What stands under them: [`Known`], everything remembered of
//! the metaserver's answers, with the rules by which answers, mutations of this mount and local writes are brought
//! together; the tables of open files and directories; and the lazily sent access times.
//!
//! # Coherence
//!
//! Until clients hold leases, what was learnt is believed for [`Validity`], counted from the moment it was asked for; the kernel is
//! never given more than what is left of that. A mutation enters its reply at once. [`Attr::changed_at`] orders
//! answers that overtake each other. Contents: a file changed by somebody else is noticed when its attributes are next
//! asked for; then the cached blocks of [`crate::io`] and the kernel's pages are dropped.
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
mod errno;
mod error;
mod files;
mod kernel;
mod known;
mod locks;
mod lookup;
mod open;
mod remove;
mod rename;
mod seek;
mod space;
mod statfs;
mod xattr;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cairn_runtime::clock::Clock;

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

use crate::cache::Validity;
use crate::delegation::Delegations;
use crate::io::Io;
use crate::meta::MetaClient;

use self::atime::AtimeUpdates;
use self::close::LazyCloses;
use self::directory::OpenDirs;
use self::files::OpenFiles;
use self::locks::LockedBy;

/// How a file system behaves.
#[derive(Clone, Debug)]
pub struct VfsOptions {
    pub validity: Validity,
    /// Attributes remembered, in inodes.
    pub cached_attrs: usize,
    /// Names remembered.
    pub cached_names: usize,
    /// Keep access times, by the rules of `relatime`.
    pub atime: bool,
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
            kernel: OnceLock::new(),
        }
    }

    /// Has `kernel` told what it must drop, from now on.
    pub fn attach_kernel(&self, kernel: Box<dyn KernelCache>) {
        // A second kernel cannot come: a file system is mounted once.
        let _ = self.kernel.set(kernel);
    }

    /// The session below.
    pub fn meta(&self) -> &Arc<MetaClient> {
        &self.meta
    }

    /// Everything done and written so far is made durable, the lazily sent access times included.
    pub async fn sync_all(&self) -> Result<(), VfsError> {
        self.delegations.flush().await?;
        self.send_atimes().await;
        Ok(self.io.sync_all(|inode| self.files.io_of(inode).is_some()).await?)
    }

    /// What is done from time to time, for as long as it is polled.
    pub async fn run_background(&self) {
        let atimes = async {
            loop {
                tokio::time::sleep(ATIME_PERIOD).await;
                self.send_atimes().await;
            }
        };
        tokio::join!(atimes, self.watch_space());
    }
}

/// How long an access time may stay unsent.
const ATIME_PERIOD: Duration = Duration::from_secs(5);

/// What [`Vfs::new`] needs besides the two layers below.
pub fn known(options: &VfsOptions, clock: Arc<dyn Clock>) -> Arc<Known> {
    Arc::new(Known::new(options, clock))
}
