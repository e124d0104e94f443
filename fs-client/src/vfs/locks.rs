//! File locks: `fcntl` locks of processes and of open file descriptions, and `flock`.
//!
//! The kernel leaves them to the metaserver, which knows those of all mounts. A lock of a process goes when the process closes any
//! descriptor of the file, so it goes at a flush; one of an open file description goes with that.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::lock::{Lock, LockOutcome, LockOwner, LockRange, LockSpace, LocksOf};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::Vfs;
use super::error::VfsError;
use super::files::FileHandle;
use crate::meta::{MetaClient, MetaError};

/// How long a program whose wait was interrupted waits for its lock to be given up for sure. After that, it is given up behind its back.
const GIVE_UP: Duration = Duration::from_millis(500);

/// Which owners have set `fcntl` locks by which open file: what is left of them when that is released are locks of the open file
/// description.
#[derive(Debug, Default)]
pub(super) struct LockedBy {
    owners: Mutex<HashMap<FileHandle, HashSet<LocksOf>>>,
}

impl LockedBy {
    fn note(&self, handle: FileHandle, of: LocksOf) {
        self.owners.lock().entry(handle).or_default().insert(of);
    }

    fn take(&self, handle: FileHandle) -> HashSet<LocksOf> {
        self.owners.lock().remove(&handle).unwrap_or_default()
    }
}

impl Vfs {
    /// `F_SETLK` and `F_OFD_SETLK`, and `flock` with `LOCK_NB`.
    pub async fn set_lock(&self, handle: FileHandle, lock: Lock) -> Result<(), VfsError> {
        self.locked_by.note(handle, lock.of());
        match self.meta.set_lock(lock, false).await.map_err(refused)? {
            LockOutcome::Granted => self.look_again(lock.inode).await,
            LockOutcome::Held(_) | LockOutcome::StillHeld => Err(VfsError::Locked),
            LockOutcome::Deadlock => Err(VfsError::Deadlock),
        }
    }

    /// The same with waiting, until `interrupted`.
    pub async fn wait_for_lock(
        &self,
        handle: FileHandle,
        lock: Lock,
        interrupted: CancellationToken,
    ) -> Result<(), VfsError> {
        self.locked_by.note(handle, lock.of());
        loop {
            let asked = interrupted.run_until_cancelled(self.meta.set_lock(lock, true)).await;
            match asked.transpose().map_err(refused)? {
                Some(LockOutcome::Granted) => return self.look_again(lock.inode).await,
                Some(LockOutcome::Held(_) | LockOutcome::StillHeld) => {}
                Some(LockOutcome::Deadlock) => return Err(VfsError::Deadlock),
                None => {
                    give_up(&self.meta, lock).await;
                    return Err(VfsError::Interrupted);
                }
            }
        }
    }

    /// `F_GETLK`: what is in the way of `lock`.
    pub async fn test_lock(&self, lock: Lock) -> Result<Option<Lock>, VfsError> {
        Ok(self.meta.test_lock(lock).await?)
    }

    /// What was written under the lock is where the next one finds it before the lock goes.
    pub async fn unlock(&self, of: LocksOf, range: LockRange) -> Result<(), VfsError> {
        if self.meta.held_locks().has(of)
            && let Some(io) = self.files.io_of(of.inode)
            && io.is_dirty()
        {
            self.delegations.settle(&[of.inode]).await?;
            if let Err(error) = io.flush().await {
                // The next `fsync` or `close` of the program says so; keeping everybody out would help nobody.
                tracing::error!(inode = %of.inode, %error, "what was written under a lock could not be written out");
            }
        }
        self.meta.unset_lock(of, range).await.map_err(refused)
    }

    /// Whoever has got a lock sees what the one before has written.
    async fn look_again(&self, inode: InodeId) -> Result<(), VfsError> {
        // Where this mount answers for the file, nobody else can have changed it.
        if self.delegations.attr(inode).is_some() {
            return Ok(());
        }
        let asked = self.known.now();
        let attr = self.meta.get_attr(inode).await?;
        self.saw(attr, asked);
        if let Some(kernel) = self.kernel.get() {
            kernel.settled().await;
        }
        Ok(())
    }

    /// A process closes a descriptor: its `fcntl` locks on the file go.
    pub(super) async fn closed_by(&self, handle: FileHandle, owner: LockOwner) -> Result<(), VfsError> {
        let inode = self.files.get(handle)?.inode;
        self.drop_locks(LocksOf { inode, space: LockSpace::Posix, owner }).await
    }

    /// An open file description is gone, and its locks with it.
    pub(super) async fn released(&self, handle: FileHandle) {
        for of in self.locked_by.take(handle) {
            if let Err(error) = self.drop_locks(of).await {
                tracing::warn!(inode = %of.inode, %error, "locks of a closed file were not given back");
            }
        }
    }

    async fn drop_locks(&self, of: LocksOf) -> Result<(), VfsError> {
        if self.meta.held_locks().has(of) {
            self.unlock(of, LockRange::WHOLE).await?;
        }
        Ok(())
    }
}

fn refused(error: MetaError) -> VfsError {
    match error {
        MetaError::Refused(FsError::NoSpace) => VfsError::TooManyLocks,
        error => error.into(),
    }
}

/// Nobody knows whether the metaserver has granted a lock that nobody wants any more.
async fn give_up(meta: &Arc<MetaClient>, lock: Lock) {
    let meta = meta.clone();
    let restoring = tokio::spawn(async move {
        if let Err(error) = meta.restore_locks(lock.of(), lock.range).await {
            tracing::warn!(inode = %lock.inode, %error, "a lock that is not wanted any more may still be held");
        }
    });
    let _ = tokio::time::timeout(GIVE_UP, restoring).await;
}
