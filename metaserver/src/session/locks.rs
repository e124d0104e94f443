//! File locks of all sessions: who holds what ([`file`]), and who waits for it ([`waits`]).
//!
//! In memory only: after a restart the sessions that were there say again what they hold, and before the last of them has, or is
//! gone, nobody gets a lock. A lock that is granted is held, whether its answer arrives or not: a client that does not wait for
//! the answer unlocks.

pub mod file;
pub mod waits;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cairn_proto::error::FsError;
use cairn_proto::ids::{InodeId, SessionId};
use cairn_proto::lock::{Lock, LockKind, LockOutcome, LockRange, LockSpace, LocksOf};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;

use file::{Claimant, FileLocks};
use waits::{Files, Place, Waits};

/// Locks that a session holds at most, where each range counts.
pub const MAX_LOCKS: usize = 65_536;
/// Calls of a session that wait for locks at most: a part of those that it may have under way, as the one that unlocks has to get through.
pub const MAX_WAITS: usize = 1024;
/// Between two looks at a lock that is waited for, should nothing be heard of it. Of all that lets somebody go ahead of others who
/// came earlier, one thing is not told to those whom it concerns: that those others have begun to wait for them elsewhere.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The locks of all sessions.
#[derive(Debug, Default)]
pub struct Locks {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: HashMap<SessionId, Tally>,
    /// Those on which somebody holds a lock.
    files: Files,
    waits: Waits,
    /// Sessions from before the restart that have not yet said what they hold.
    unclaimed: HashSet<SessionId>,
}

/// How many locks a session holds.
#[derive(Debug, Default)]
struct Tally {
    count: usize,
    files: HashMap<InodeId, usize>,
}

/// What becomes of a call that is ready to wait.
enum Arrival {
    Answered(LockOutcome),
    Waits(Place, Arc<Notify>),
}

/// A place in a queue, given up when its call is answered or nobody waits for the answer any more.
struct Queued<'a> {
    locks: &'a Locks,
    place: Place,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.locks.inner.lock().waits.leave(self.place);
    }
}

impl Locks {
    /// `unclaimed`: the sessions that may hold locks from before a restart. They are admitted.
    pub fn new(unclaimed: impl IntoIterator<Item = SessionId>) -> Self {
        let unclaimed: HashSet<_> = unclaimed.into_iter().collect();
        let sessions = unclaimed.iter().map(|&session| (session, Tally::default())).collect();
        Self { inner: Mutex::new(Inner { sessions, unclaimed, ..Inner::default() }) }
    }

    /// From now on `session` may lock files.
    pub fn admit(&self, session: SessionId) {
        self.inner.lock().sessions.entry(session).or_default();
    }

    /// Ends all locks of a session, and all its waiting, and takes no more.
    pub fn drop_session(&self, session: SessionId) {
        self.inner.lock().drop_session(session);
    }

    /// Sets a lock unless one that is held is in the way. Those that wait for a lock are not: somebody who asks without waiting could
    /// make no sense of it.
    ///
    /// An `flock` that is to be converted, and cannot be, is lost, as on Linux. `NoSpace` (for `fcntl(2)`: `ENOLCK`) where the session
    /// would hold more than [`MAX_LOCKS`]; `NotReady` after a restart.
    pub fn set(&self, session: SessionId, lock: Lock) -> Result<LockOutcome, FsError> {
        self.inner.lock().set(session, &lock)
    }

    /// The same for somebody who waits up to `limit`, and asks again after a [`LockOutcome::StillHeld`]. Locks that exclude each other
    /// are granted in the order of arrival. `NoSpace` also where the session waits for more than [`MAX_WAITS`].
    ///
    /// A circle is looked for when a call begins to wait. One that threads of a process close by what they are granted while other
    /// threads wait shows at the next call.
    pub async fn set_waiting(&self, session: SessionId, lock: Lock, limit: Duration) -> Result<LockOutcome, FsError> {
        self.wait(session, lock, limit, LOOK_AGAIN).await
    }

    async fn wait(
        &self,
        session: SessionId,
        lock: Lock,
        limit: Duration,
        look_again: Duration,
    ) -> Result<LockOutcome, FsError> {
        let arrival = self.inner.lock().arrive(session, &lock)?;
        let (place, changed) = match arrival {
            Arrival::Answered(outcome) => return Ok(outcome),
            Arrival::Waits(place, changed) => (place, changed),
        };
        let queued = Queued { locks: self, place };
        let late = sleep(limit);
        tokio::pin!(late);
        loop {
            // Before the look, so that nothing changes unnoticed in between.
            let notified = changed.notified();
            if self.inner.lock().take(session, queued.place)? {
                return Ok(LockOutcome::Granted);
            }
            tokio::select! {
                () = notified => {}
                () = sleep(look_again) => {}
                () = &mut late => {
                    let granted = self.inner.lock().take(session, queued.place)?;
                    return Ok(if granted { LockOutcome::Granted } else { LockOutcome::StillHeld });
                }
            }
        }
    }

    /// The lock in the way of this one that begins first; `F_GETLK`.
    pub fn test(&self, session: SessionId, lock: Lock) -> Result<Option<Lock>, FsError> {
        let inner = self.inner.lock();
        inner.check(session, lock.range)?;
        Ok(inner.conflict(session, &lock))
    }

    /// Unlocks `range`, of which maybe nothing is locked. `NoSpace` where that would leave more than [`MAX_LOCKS`], because it splits one.
    pub fn unset(&self, session: SessionId, of: LocksOf, range: LockRange) -> Result<(), FsError> {
        if !range.is_valid() {
            return Err(FsError::InvalidArgument);
        }
        self.inner.lock().unset(session, of, range)
    }

    /// Ends all locks of one owner on one file.
    #[cfg(test)]
    fn drop_owner(&self, session: SessionId, of: LocksOf) {
        self.inner.lock().drop_owner(session, of);
    }

    /// A session that may have outlived a restart says what it holds, with the `last` call that this is all. What it holds already
    /// stays. `Stale` where somebody else has a lock in the way of one of them meanwhile; the others are granted none the less.
    pub fn reclaim(&self, session: SessionId, held: &[Lock], last: bool) -> Result<(), FsError> {
        let mut inner = self.inner.lock();
        if !inner.sessions.contains_key(&session) {
            return Err(FsError::SessionUnknown(session));
        }
        let mut answer = Ok(());
        for lock in held {
            answer = answer.and(inner.reclaim(session, lock));
        }
        if last {
            inner.unclaimed.remove(&session);
        }
        answer
    }

    /// Sessions that have yet to say what they hold. While there are any, nobody gets a lock.
    #[cfg(test)]
    fn unclaimed(&self) -> usize {
        self.inner.lock().unclaimed.len()
    }

    /// Locks that are held.
    #[cfg(test)]
    fn count(&self) -> usize {
        self.inner.lock().sessions.values().map(|tally| tally.count).sum()
    }

    /// The locks that are held on one file.
    #[cfg(test)]
    fn held(&self, inode: InodeId) -> Vec<(SessionId, Lock)> {
        self.inner.lock().files.get(&inode).into_iter().flat_map(FileLocks::iter).collect()
    }
}

impl Inner {
    /// Whether a session may ask for a lock now.
    fn check(&self, session: SessionId, range: LockRange) -> Result<(), FsError> {
        if !self.sessions.contains_key(&session) {
            return Err(FsError::SessionUnknown(session));
        }
        if !range.is_valid() {
            return Err(FsError::InvalidArgument);
        }
        if self.unclaimed.is_empty() { Ok(()) } else { Err(FsError::NotReady) }
    }

    fn conflict(&self, session: SessionId, lock: &Lock) -> Option<Lock> {
        let (_, held) = self.files.get(&lock.inode)?.conflict(session, lock)?;
        Some(held)
    }

    fn set(&mut self, session: SessionId, lock: &Lock) -> Result<LockOutcome, FsError> {
        self.check(session, lock.range)?;
        if let Some(held) = self.conflict(session, lock) {
            self.lose_converted(session, lock);
            return Ok(LockOutcome::Held(held));
        }
        self.grant(session, lock)?;
        Ok(LockOutcome::Granted)
    }

    fn arrive(&mut self, session: SessionId, lock: &Lock) -> Result<Arrival, FsError> {
        self.check(session, lock.range)?;
        if self.conflict(session, lock).is_some() {
            if lock.space == LockSpace::Posix && self.waits.would_deadlock(&self.files, session, lock) {
                return Ok(Arrival::Answered(LockOutcome::Deadlock));
            }
            self.lose_converted(session, lock);
        } else if !self.waits.is_behind(&self.files, Place::at_the_end(lock.inode), session, lock) {
            self.grant(session, lock)?;
            return Ok(Arrival::Answered(LockOutcome::Granted));
        }
        if self.waits.count(session) >= MAX_WAITS {
            return Err(FsError::NoSpace);
        }
        let (place, changed) = self.waits.join(session, *lock);
        Ok(Arrival::Waits(place, changed))
    }

    /// Grants what is waited for at `place` if it is its turn. Answers whether it was.
    fn take(&mut self, session: SessionId, place: Place) -> Result<bool, FsError> {
        // Only the end of its session takes a place away from somebody.
        let lock = self.waits.get(place).ok_or(FsError::SessionUnknown(session))?.lock;
        if self.conflict(session, &lock).is_some() || self.waits.is_behind(&self.files, place, session, &lock) {
            return Ok(false);
        }
        self.waits.leave(place);
        self.grant(session, &lock)?;
        Ok(true)
    }

    /// `flock(2)` converts by removing the old lock first, and does not bring it back.
    fn lose_converted(&mut self, session: SessionId, lock: &Lock) {
        if lock.space == LockSpace::Flock {
            self.drop_owner(session, lock.of());
        }
    }

    fn reclaim(&mut self, session: SessionId, lock: &Lock) -> Result<(), FsError> {
        if !lock.range.is_valid() {
            return Err(FsError::InvalidArgument);
        }
        if self.conflict(session, lock).is_some() {
            return Err(FsError::Stale(lock.inode));
        }
        self.grant(session, lock)
    }

    /// Sets a lock that nothing is in the way of. Those that wait look again: it may be a smaller one than before.
    fn grant(&mut self, session: SessionId, lock: &Lock) -> Result<(), FsError> {
        self.tally(session, lock.of(), lock.range, Some(lock.kind))?;
        self.files.entry(lock.inode).or_insert_with(|| FileLocks::new(lock.inode)).set(session, lock);
        self.waits.wake(lock.inode);
        Ok(())
    }

    fn unset(&mut self, session: SessionId, of: LocksOf, range: LockRange) -> Result<(), FsError> {
        if !self.holds(session, of.inode) {
            return Ok(());
        }
        self.tally(session, of, range, None)?;
        self.change(of.inode, |file| file.unset(Claimant::of_all(session, of), range));
        Ok(())
    }

    fn drop_owner(&mut self, session: SessionId, of: LocksOf) {
        let Some(gone) = self.change(of.inode, |file| file.drop_owner(Claimant::of_all(session, of))) else { return };
        if let Some(tally) = self.sessions.get_mut(&session) {
            tally.add(of.inode, -(gone as isize));
        }
    }

    fn drop_session(&mut self, session: SessionId) {
        self.unclaimed.remove(&session);
        self.waits.drop_session(session);
        for inode in self.sessions.remove(&session).unwrap_or_default().files.into_keys() {
            self.change(inode, |file| file.drop_session(session));
        }
    }

    fn holds(&self, session: SessionId, inode: InodeId) -> bool {
        self.sessions.get(&session).is_some_and(|tally| tally.files.contains_key(&inode))
    }

    /// Takes something away from the locks on a file.
    fn change<T>(&mut self, inode: InodeId, change: impl FnOnce(&mut FileLocks) -> T) -> Option<T> {
        let file = self.files.get_mut(&inode)?;
        let answer = change(file);
        if file.is_empty() {
            self.files.remove(&inode);
        }
        self.waits.wake(inode);
        Some(answer)
    }

    /// Counts what is about to be set, or unlocked. `NoSpace` where that is too much.
    fn tally(
        &mut self,
        session: SessionId,
        of: LocksOf,
        range: LockRange,
        kind: Option<LockKind>,
    ) -> Result<(), FsError> {
        let tally = self.sessions.get_mut(&session).ok_or(FsError::SessionUnknown(session))?;
        let growth = match self.files.get(&of.inode) {
            Some(file) => file.growth(Claimant::of_all(session, of), range, kind),
            None => isize::from(kind.is_some()),
        };
        if growth > 0 && tally.count.saturating_add_signed(growth) > MAX_LOCKS {
            return Err(FsError::NoSpace);
        }
        tally.add(of.inode, growth);
        Ok(())
    }
}

impl Tally {
    fn add(&mut self, inode: InodeId, growth: isize) {
        self.count = self.count.saturating_add_signed(growth);
        let in_file = self.files.entry(inode).or_default();
        *in_file = in_file.saturating_add_signed(growth);
        if *in_file == 0 {
            self.files.remove(&inode);
        }
    }
}

#[cfg(test)]
mod tests;
