//! File locks: `fcntl` locks of processes and of open file descriptions, and `flock`.
//!
//! The kernel leaves them to the metaserver, which knows those of all mounts. A lock of a process goes when the process closes any
//! descriptor of the file, so it goes at a flush; one of an open file description goes with that.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cairn_proto::error::FsError;
use cairn_proto::ids::SessionId;
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

    /// The open files by which one of `owners` may have set locks.
    fn by(&self, owners: &BTreeSet<LocksOf>) -> Vec<FileHandle> {
        let noted = self.owners.lock();
        let is_theirs = |(_, of): &(&FileHandle, &HashSet<LocksOf>)| of.iter().any(|of| owners.contains(of));
        noted.iter().filter(is_theirs).map(|(&handle, _)| handle).collect()
    }

    fn take(&self, handle: FileHandle) -> HashSet<LocksOf> {
        self.owners.lock().remove(&handle).unwrap_or_default()
    }
}

impl Vfs {
    /// `F_SETLK` and `F_OFD_SETLK`, and `flock` with `LOCK_NB`, unless the question itself is `given_up`.
    pub async fn set_lock(&self, handle: FileHandle, lock: Lock, given_up: &CancellationToken) -> Result<(), VfsError> {
        self.locked_by.note(handle, lock.of());
        let asked = given_up.run_until_cancelled(self.meta.set_lock(lock, false)).await;
        match asked.transpose().map_err(refused)? {
            Some(LockOutcome::Granted) => Ok(()),
            Some(LockOutcome::Held(_) | LockOutcome::StillHeld) => Err(VfsError::Locked),
            Some(LockOutcome::Deadlock) => Err(VfsError::Deadlock),
            None => {
                give_up(&self.meta, lock).await;
                Err(VfsError::Interrupted)
            }
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
                Some(LockOutcome::Granted) => return Ok(()),
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

    /// What was written under the lock is seen by whoever looks, lock or not: leases see to that.
    pub async fn unlock(&self, of: LocksOf, range: LockRange) -> Result<(), VfsError> {
        self.meta.unset_lock(of, range).await.map_err(refused)
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

    /// Whoever had set locks that are lost with their session takes the file for its own, and must not write to it any more.
    pub(super) fn fence_lost_locks(&self, now: SessionId) {
        let lost = self.meta.held_locks().take_lost();
        for handle in self.locked_by.by(&lost) {
            if let Ok(file) = self.files.get(handle) {
                file.fence(now);
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
