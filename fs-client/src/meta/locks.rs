//! File locks: asking for them, and what this mount holds, to be claimed again from a metaserver that has restarted.

use std::collections::{BTreeMap, BTreeSet};

use cairn_proto::lock::{Lock, LockOutcome, LockRange, LockSpace, LocksOf, Ranges};
use parking_lot::Mutex;

use super::client::MetaClient;
use super::error::MetaError;

/// The locks of all programs on this mount.
#[derive(Debug, Default)]
pub struct HeldLocks {
    owners: Mutex<BTreeMap<LocksOf, Held>>,
    /// Who held locks in sessions that are gone, and was not told yet.
    lost: Mutex<BTreeSet<LocksOf>>,
}

#[derive(Debug, Default)]
struct Held {
    ranges: Ranges,
    /// Of whoever set one last.
    pid: u32,
}

impl HeldLocks {
    pub fn granted(&self, lock: &Lock) {
        let mut owners = self.owners.lock();
        let held = owners.entry(lock.of()).or_default();
        held.ranges.set(lock.range, lock.kind);
        held.pid = lock.pid;
    }

    pub fn unlocked(&self, of: LocksOf, range: LockRange) {
        let mut owners = self.owners.lock();
        if let Some(held) = owners.get_mut(&of) {
            held.ranges.unset(range);
            if held.ranges.is_empty() {
                owners.remove(&of);
            }
        }
    }

    /// Whether an owner holds any lock on a file.
    pub fn has(&self, of: LocksOf) -> bool {
        self.owners.lock().contains_key(&of)
    }

    /// What an owner holds within `range`, in order, cut to it.
    pub fn within(&self, of: LocksOf, range: LockRange) -> Vec<Lock> {
        let owners = self.owners.lock();
        let Some(held) = owners.get(&of) else { return Vec::new() };
        let cut =
            |found: LockRange| LockRange { first: found.first.max(range.first), last: found.last.min(range.last) };
        held.ranges.overlapping(range).map(|(found, kind)| of.lock(cut(found), kind, held.pid)).collect()
    }

    /// Everything.
    pub fn all(&self) -> Vec<Lock> {
        let owners = self.owners.lock();
        let of_one = |(of, held): (&LocksOf, &Held)| {
            let (of, pid) = (*of, held.pid);
            held.ranges.iter().map(move |(range, kind)| of.lock(range, kind, pid)).collect::<Vec<_>>()
        };
        owners.iter().flat_map(of_one).collect()
    }

    /// The session they were held in is gone. Says how many there were.
    pub fn lose(&self) -> usize {
        let lost = std::mem::take(&mut *self.owners.lock());
        self.lost.lock().extend(lost.keys());
        lost.values().map(|held| held.ranges.len()).sum()
    }

    /// Who has lost locks since this was last asked.
    pub fn take_lost(&self) -> BTreeSet<LocksOf> {
        std::mem::take(&mut *self.lost.lock())
    }
}

impl MetaClient {
    /// The locks of this mount.
    pub fn held_locks(&self) -> &HeldLocks {
        &self.locks
    }

    /// Asks for a lock; to `wait` for it means to be answered `StillHeld` after a while, and to ask again.
    pub async fn set_lock(&self, lock: Lock, wait: bool) -> Result<LockOutcome, MetaError> {
        let outcome = self
            .with_session("set_lock", async |rpc, context, session| rpc.set_lock(context, session, lock, wait).await)
            .await?;
        if outcome == LockOutcome::Granted {
            self.locks.granted(&lock);
        } else if lock.space == LockSpace::Flock {
            // One that was to be converted is gone: see `flock(2)`.
            self.locks.unlocked(lock.of(), LockRange::WHOLE);
        }
        Ok(outcome)
    }

    /// The first lock of somebody else that is in the way of `lock`.
    pub async fn test_lock(&self, lock: Lock) -> Result<Option<Lock>, MetaError> {
        self.with_session("test_lock", async |rpc, context, session| rpc.test_lock(context, session, lock).await).await
    }

    pub async fn unset_lock(&self, of: LocksOf, range: LockRange) -> Result<(), MetaError> {
        self.with_session("unset_lock", async |rpc, context, session| {
            rpc.unset_lock(context, session, of, range).await
        })
        .await?;
        self.locks.unlocked(of, range);
        Ok(())
    }

    /// Makes the metaserver's idea of what an owner holds within `range` this mount's again, after a call whose answer nobody waited
    /// for.
    pub async fn restore_locks(&self, of: LocksOf, range: LockRange) -> Result<(), MetaError> {
        let mut next = Some(range.first);
        for held in self.locks.within(of, range) {
            if let Some(first) = next.filter(|first| *first < held.range.first) {
                self.unset_lock(of, LockRange { first, last: held.range.first - 1 }).await?;
            }
            // What is held already, or less than was granted: nothing can be in its way.
            self.set_lock(held, false).await?;
            next = held.range.last.checked_add(1);
        }
        match next.filter(|first| *first <= range.last) {
            Some(first) => self.unset_lock(of, LockRange { first, last: range.last }).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use cairn_proto::ids::InodeId;
    use cairn_proto::lock::{LockKind, LockOwner};

    use super::*;

    #[test]
    fn what_is_held_is_what_was_granted_and_not_unlocked() {
        let held = HeldLocks::default();
        let of = LocksOf { inode: InodeId(5), space: LockSpace::Posix, owner: LockOwner(1) };
        let range = |first, last| LockRange { first, last };
        held.granted(&of.lock(range(0, 99), LockKind::Write, 7));
        held.granted(&of.lock(range(200, u64::MAX), LockKind::Read, 7));
        held.unlocked(of, range(10, 19));
        let written = |first, last| of.lock(range(first, last), LockKind::Write, 7);
        let rest = of.lock(range(200, u64::MAX), LockKind::Read, 7);
        assert_eq!(held.all(), [written(0, 9), written(20, 99), rest]);
        assert_eq!(held.within(of, range(5, 30)), [written(5, 9), written(20, 30)]);
        held.unlocked(of, range(0, 99));
        assert!(held.has(of));
        assert_eq!(held.lose(), 1);
        assert!(!held.has(of) && held.within(of, LockRange::WHOLE).is_empty());
        assert!(held.take_lost() == BTreeSet::from([of]) && held.take_lost().is_empty());
    }
}
