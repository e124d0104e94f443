//! The locks on one inode: who holds what, and what is in the way of whom.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use cairn_proto::ids::{InodeId, SessionId};
use cairn_proto::lock::{Lock, LockKind, LockOwner, LockRange, LockSpace, LocksOf, Ranges};

/// Who holds locks, or waits for them. What one claimant holds is never in its own way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Claimant {
    // First, so that in order those of a session stand together.
    pub session: SessionId,
    pub space: LockSpace,
    pub owner: LockOwner,
}

impl Claimant {
    pub fn of(session: SessionId, lock: &Lock) -> Self {
        Self { session, space: lock.space, owner: lock.owner }
    }

    pub fn of_all(session: SessionId, locks: LocksOf) -> Self {
        Self { session, space: locks.space, owner: locks.owner }
    }

    /// From the first to the last that a session may have.
    pub fn all_of(session: SessionId) -> RangeInclusive<Self> {
        let first = Self { session, space: LockSpace::Posix, owner: LockOwner(0) };
        first..=Self { session, space: LockSpace::Flock, owner: LockOwner(u64::MAX) }
    }
}

/// Whether two locks cannot be held, on the same bytes, by two owners.
pub fn is_contrary(one: &Lock, other: &Lock) -> bool {
    let both_read = one.kind == LockKind::Read && other.kind == LockKind::Read;
    one.space == other.space && !both_read && extent(one.space, one.range).overlaps(extent(other.space, other.range))
}

/// What a range is about: `flock(2)` knows only whole files.
fn extent(space: LockSpace, range: LockRange) -> LockRange {
    match space {
        LockSpace::Posix => range,
        LockSpace::Flock => LockRange::WHOLE,
    }
}

/// The locks on one inode, of both spaces.
#[derive(Debug)]
pub struct FileLocks {
    inode: InodeId,
    holders: BTreeMap<Claimant, Held>,
}

#[derive(Default, Debug)]
struct Held {
    /// Of whoever set one last. Processes that share an owner are threads to each other, or share a description.
    pid: u32,
    /// Never empty.
    ranges: Ranges,
}

impl FileLocks {
    pub fn new(inode: InodeId) -> Self {
        Self { inode, holders: BTreeMap::new() }
    }

    /// Of each holder that is in the way of `wanted`, the first lock that is.
    pub fn conflicts(&self, session: SessionId, wanted: &Lock) -> impl Iterator<Item = (SessionId, Lock)> {
        let me = Claimant::of(session, wanted);
        let others = self.holders.iter().filter(move |(other, _)| other.space == me.space && **other != me);
        others.filter_map(move |(other, held)| {
            let mut overlapping = held.ranges.overlapping(extent(me.space, wanted.range));
            let lock = overlapping.find_map(|(range, kind)| {
                let lock = self.lock(other, held, range, kind);
                is_contrary(&lock, wanted).then_some(lock)
            })?;
            Some((other.session, lock))
        })
    }

    /// The lock in the way of `wanted` that begins first.
    pub fn conflict(&self, session: SessionId, wanted: &Lock) -> Option<(SessionId, Lock)> {
        self.conflicts(session, wanted).min_by_key(|(_, lock)| lock.range.first)
    }

    /// How many locks more there would be if `claimant` set `range` to `kind`, or unlocked it.
    pub fn growth(&self, claimant: Claimant, range: LockRange, kind: Option<LockKind>) -> isize {
        let range = extent(claimant.space, range);
        self.holders.get(&claimant).map_or(isize::from(kind.is_some()), |held| held.ranges.growth(range, kind))
    }

    /// Sets a lock that nothing is in the way of, in place of what its owner held there.
    pub fn set(&mut self, session: SessionId, lock: &Lock) {
        let held = self.holders.entry(Claimant::of(session, lock)).or_default();
        held.pid = lock.pid;
        held.ranges.set(extent(lock.space, lock.range), lock.kind);
    }

    pub fn unset(&mut self, claimant: Claimant, range: LockRange) {
        let Some(held) = self.holders.get_mut(&claimant) else { return };
        held.ranges.unset(extent(claimant.space, range));
        if held.ranges.is_empty() {
            self.holders.remove(&claimant);
        }
    }

    /// Answers how many locks there were.
    pub fn drop_owner(&mut self, claimant: Claimant) -> usize {
        self.holders.remove(&claimant).map_or(0, |held| held.ranges.len())
    }

    pub fn drop_session(&mut self, session: SessionId) {
        let gone: Vec<_> = self.holders.range(Claimant::all_of(session)).map(|(&claimant, _)| claimant).collect();
        for claimant in gone {
            self.holders.remove(&claimant);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.holders.is_empty()
    }

    /// All locks; those of one owner in the order of their ranges.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, Lock)> {
        self.holders.iter().flat_map(move |(claimant, held)| {
            let locks = held.ranges.iter().map(move |(range, kind)| self.lock(claimant, held, range, kind));
            locks.map(|lock| (claimant.session, lock))
        })
    }

    fn lock(&self, claimant: &Claimant, held: &Held, range: LockRange, kind: LockKind) -> Lock {
        Lock { inode: self.inode, space: claimant.space, owner: claimant.owner, range, kind, pid: held.pid }
    }
}

#[cfg(test)]
mod tests {
    use LockKind::{Read, Write};
    use LockSpace::{Flock, Posix};

    use super::*;

    const A: SessionId = SessionId(1);
    const B: SessionId = SessionId(2);
    const FILE: InodeId = InodeId(7);

    fn lock(space: LockSpace, owner: u64, first: u64, last: u64, kind: LockKind) -> Lock {
        Lock { inode: FILE, space, owner: LockOwner(owner), range: LockRange { first, last }, kind, pid: 4 }
    }

    #[test]
    fn only_readers_share_and_only_with_others_of_their_space() {
        let mut file = FileLocks::new(FILE);
        let held = lock(Posix, 1, 10, 19, Read);
        file.set(A, &held);
        assert_eq!(file.conflict(B, &lock(Posix, 1, 0, 99, Read)), None);
        assert_eq!(file.conflict(B, &lock(Posix, 1, 0, 10, Write)), Some((A, held)), "an owner is one of its session");
        assert_eq!(file.conflict(A, &lock(Posix, 2, 19, 99, Write)), Some((A, held)));
        assert_eq!(file.conflict(A, &lock(Posix, 2, 20, 99, Write)), None);
        assert_eq!(file.conflict(A, &lock(Posix, 1, 0, 99, Write)), None);
        assert_eq!(file.conflict(B, &lock(Flock, 1, 10, 19, Write)), None);
    }

    #[test]
    fn the_first_in_the_way() {
        let mut file = FileLocks::new(FILE);
        file.set(A, &lock(Posix, 1, 50, 59, Write));
        file.set(A, &lock(Posix, 1, 10, 19, Read));
        file.set(B, &lock(Posix, 1, 30, 39, Write));
        let first = |wanted| file.conflict(B, &lock(Posix, 2, 0, 99, wanted)).map(|(_, lock)| lock.range.first);
        assert_eq!(first(Write), Some(10));
        assert_eq!(first(Read), Some(30));
        assert_eq!(file.conflicts(B, &lock(Posix, 2, 0, 99, Read)).count(), 2);
    }

    #[test]
    fn flock_is_of_the_whole_file() {
        let mut file = FileLocks::new(FILE);
        file.set(A, &lock(Flock, 1, 5, 5, Read));
        assert_eq!(file.growth(Claimant::of(A, &lock(Flock, 1, 8, 9, Write)), LockRange::WHOLE, Some(Write)), 0);
        let (_, held) = file.conflict(B, &lock(Flock, 1, 8, 9, Write)).unwrap();
        assert_eq!(held.range, LockRange::WHOLE);
        file.unset(Claimant::of(A, &held), LockRange { first: 0, last: 0 });
        assert!(file.is_empty());
    }

    #[test]
    fn owners_and_sessions_end() {
        let mut file = FileLocks::new(FILE);
        for (session, space, owner) in
            [(A, Posix, 1), (A, Posix, u64::MAX), (A, Flock, 1), (B, Posix, 0), (B, Flock, 1)]
        {
            file.set(session, &lock(space, owner, 0, 9, Read));
        }
        assert_eq!(file.iter().count(), 5);
        assert_eq!(file.drop_owner(Claimant { session: A, space: Posix, owner: LockOwner(1) }), 1);
        assert_eq!(file.drop_owner(Claimant { session: A, space: Posix, owner: LockOwner(1) }), 0);
        file.drop_session(A);
        assert!(file.iter().all(|(session, _)| session == B) && file.iter().count() == 2);
        file.drop_session(B);
        assert!(file.is_empty());
    }
}
