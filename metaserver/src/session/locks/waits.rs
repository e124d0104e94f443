//! Who waits for whose locks: a queue for each file, and what follows from all of them together.
//!
//! There are two reasons to wait. A lock of somebody else is **held**: waiting for that in a circle would never end, and is what
//! `fcntl(2)` refuses by `EDEADLK`. Or somebody who wants a contrary lock came **earlier**: that is good manners, so that
//! writers do not starve among readers, and nothing that a program could have foreseen. So manners end where they would
//! close a circle: nobody queues behind one that waits for them. With that, every circle that is left consists of held locks.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use cairn_proto::ids::{InodeId, SessionId};
use cairn_proto::lock::Lock;
use tokio::sync::Notify;

use super::file::{Claimant, FileLocks, is_contrary};

/// The locks that are held.
pub type Files = HashMap<InodeId, FileLocks>;

/// All that wait.
#[derive(Default, Debug)]
pub struct Waits {
    queues: HashMap<InodeId, Queue>,
    /// Where each waits: threads of one process may wait in several places.
    claimants: BTreeMap<Claimant, Vec<Place>>,
    next: u64,
}

/// Those that wait for locks on one inode, in the order of their arrival; never empty.
#[derive(Default, Debug)]
struct Queue {
    waits: BTreeMap<u64, Wait>,
    /// Something that they waited for may be there.
    changed: Arc<Notify>,
}

/// Somebody who waits.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    pub session: SessionId,
    pub lock: Lock,
}

/// A place in a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    inode: InodeId,
    /// Ascending in the order of arrival.
    ticket: u64,
}

impl Place {
    /// Behind everybody who waits for a lock on `inode` now.
    pub fn at_the_end(inode: InodeId) -> Self {
        Self { inode, ticket: u64::MAX }
    }
}

/// What makes one wait for another, in a search for circles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reasons {
    Held,
    HeldOrEarlier,
}

impl Waits {
    /// Answers the place, and what tells of changes to what is waited for there.
    pub fn join(&mut self, session: SessionId, lock: Lock) -> (Place, Arc<Notify>) {
        let place = Place { inode: lock.inode, ticket: self.next };
        self.next += 1;
        let queue = self.queues.entry(lock.inode).or_default();
        queue.waits.insert(place.ticket, Wait { session, lock });
        self.claimants.entry(Claimant::of(session, &lock)).or_default().push(place);
        (place, queue.changed.clone())
    }

    /// Gives up a place, if it is not given up yet; those behind it may look again.
    pub fn leave(&mut self, place: Place) {
        let Some(queue) = self.queues.get_mut(&place.inode) else { return };
        let Some(wait) = queue.waits.remove(&place.ticket) else { return };
        queue.changed.notify_waiters();
        if queue.waits.is_empty() {
            self.queues.remove(&place.inode);
        }
        let claimant = Claimant::of(wait.session, &wait.lock);
        let Some(places) = self.claimants.get_mut(&claimant) else { return };
        places.retain(|&other| other != place);
        if places.is_empty() {
            self.claimants.remove(&claimant);
        }
    }

    /// None of its waits is left.
    pub fn drop_session(&mut self, session: SessionId) {
        let places: Vec<_> = self.places(session).collect();
        for place in places {
            self.leave(place);
        }
    }

    pub fn get(&self, place: Place) -> Option<Wait> {
        self.queues.get(&place.inode)?.waits.get(&place.ticket).copied()
    }

    /// Has everybody who waits for locks on `inode` look again.
    pub fn wake(&self, inode: InodeId) {
        if let Some(queue) = self.queues.get(&inode) {
            queue.changed.notify_waiters();
        }
    }

    /// Waits of one session.
    pub fn count(&self, session: SessionId) -> usize {
        self.places(session).count()
    }

    /// Whether somebody who holds a lock in the way of this one waits, directly or through others, for who wants it.
    pub fn would_deadlock(&self, files: &Files, session: SessionId, lock: &Lock) -> bool {
        let wait = Wait { session, lock: *lock };
        holders(files, &wait).any(|holder| self.waits_for(files, holder, Claimant::of(session, lock), Reasons::Held))
    }

    /// Whether this lock, which nothing that is held is in the way of, is to wait at `place` for others that came earlier.
    pub fn is_behind(&self, files: &Files, place: Place, session: SessionId, lock: &Lock) -> bool {
        let wait = Wait { session, lock: *lock };
        let me = Claimant::of(session, lock);
        self.earlier(&wait, place).any(|other| !self.waits_for(files, other, me, Reasons::HeldOrEarlier))
    }

    fn places(&self, session: SessionId) -> impl Iterator<Item = Place> {
        self.claimants.range(Claimant::all_of(session)).flat_map(|(_, places)| places).copied()
    }

    /// Whether `one` is `other`, or waits for it, directly or through others.
    fn waits_for(&self, files: &Files, one: Claimant, other: Claimant, reasons: Reasons) -> bool {
        let mut seen = HashSet::new();
        let mut next = vec![one];
        while let Some(claimant) = next.pop() {
            if claimant == other {
                return true;
            }
            if !seen.insert(claimant) {
                continue;
            }
            for &place in self.claimants.get(&claimant).into_iter().flatten() {
                let Some(wait) = self.get(place) else { continue };
                if reasons == Reasons::HeldOrEarlier {
                    next.extend(self.earlier(&wait, place));
                }
                // Looked at first: there are few of them where there is a long queue.
                next.extend(holders(files, &wait));
            }
        }
        false
    }

    /// Those before `place` that want a lock contrary to this one.
    fn earlier(&self, wait: &Wait, place: Place) -> impl Iterator<Item = Claimant> {
        let me = Claimant::of(wait.session, &wait.lock);
        let queue = self.queues.get(&place.inode).into_iter();
        let before = queue.flat_map(move |queue| queue.waits.range(..place.ticket));
        let contrary = before.filter(move |(_, other)| is_contrary(&other.lock, &wait.lock));
        contrary.map(|(_, other)| Claimant::of(other.session, &other.lock)).filter(move |&other| other != me)
    }
}

/// Those that hold what is waited for.
fn holders(files: &Files, wait: &Wait) -> impl Iterator<Item = Claimant> {
    let file = files.get(&wait.lock.inode).into_iter();
    let held = file.flat_map(move |file| file.conflicts(wait.session, &wait.lock));
    held.map(|(session, lock)| Claimant::of(session, &lock))
}

#[cfg(test)]
mod tests {
    use cairn_proto::lock::{LockKind, LockOwner, LockRange, LockSpace};

    use super::*;

    const A: SessionId = SessionId(1);

    fn lock(owner: u64, inode: u64, kind: LockKind) -> Lock {
        let (space, owner) = (LockSpace::Posix, LockOwner(owner));
        Lock { inode: InodeId(inode), space, owner, range: LockRange::WHOLE, kind, pid: 1 }
    }

    fn write(owner: u64, inode: u64) -> Lock {
        lock(owner, inode, LockKind::Write)
    }

    fn read(owner: u64, inode: u64) -> Lock {
        lock(owner, inode, LockKind::Read)
    }

    fn held(locks: &[Lock]) -> Files {
        let mut files = Files::new();
        for lock in locks {
            files.entry(lock.inode).or_insert_with(|| FileLocks::new(lock.inode)).set(A, lock);
        }
        files
    }

    #[test]
    fn circles_of_two_three_and_none() {
        let files = held(&[write(1, 1), write(2, 2), write(3, 3)]);
        let mut waits = Waits::default();
        waits.join(A, write(1, 2));
        assert!(waits.would_deadlock(&files, A, &read(2, 1)));
        assert!(!waits.would_deadlock(&files, A, &read(2, 3)));
        let (second, _) = waits.join(A, write(2, 3));
        assert!(waits.would_deadlock(&files, A, &read(3, 1)));
        assert!(waits.would_deadlock(&files, A, &read(3, 2)));
        assert!(!waits.would_deadlock(&files, A, &read(4, 1)), "outside of the circle");
        assert!(!waits.would_deadlock(&files, A, &read(3, 4)), "not locked");
        assert!(!waits.would_deadlock(&files, SessionId(2), &read(3, 1)), "a namesake");
        waits.leave(second);
        assert!(!waits.would_deadlock(&files, A, &read(3, 1)));
    }

    #[test]
    fn every_holder_is_followed() {
        let files = held(&[read(1, 1), read(2, 1), read(3, 1), write(9, 2)]);
        let mut waits = Waits::default();
        waits.join(A, write(2, 2));
        assert!(waits.would_deadlock(&files, A, &write(9, 1)));
        assert!(!waits.would_deadlock(&files, A, &read(9, 1)));
    }

    #[test]
    fn two_that_upgrade_are_a_circle() {
        let files = held(&[read(1, 1), read(2, 1)]);
        let mut waits = Waits::default();
        waits.join(A, write(1, 1));
        assert!(waits.would_deadlock(&files, A, &write(2, 1)));
    }

    #[test]
    fn behind_whoever_came_earlier_unless_they_wait_for_oneself() {
        let files = held(&[read(1, 1), write(3, 3)]);
        let mut waits = Waits::default();
        waits.join(A, write(2, 1));
        let end = Place::at_the_end(InodeId(1));
        assert!(waits.is_behind(&files, end, A, &read(3, 1)));
        assert!(!waits.is_behind(&files, end, A, &read(1, 1)), "2 waits for 1");
        let (third, _) = waits.join(A, read(3, 1));
        waits.join(A, write(1, 3));
        assert!(!waits.is_behind(&files, third, A, &read(3, 1)), "2 waits for 1, and 1 for 3");
        assert!(!waits.would_deadlock(&files, A, &write(1, 3)), "3 need not wait");
    }

    #[test]
    fn who_left_is_waited_for_no_longer() {
        let files = held(&[read(1, 1)]);
        let mut waits = Waits::default();
        let (place, _) = waits.join(A, write(2, 1));
        waits.join(SessionId(2), write(2, 1));
        assert_eq!(waits.count(A), 1);
        waits.leave(place);
        waits.leave(place);
        assert_eq!(waits.count(A), 0);
        let end = Place::at_the_end(InodeId(1));
        assert!(waits.is_behind(&files, end, A, &read(3, 1)));
        waits.drop_session(SessionId(2));
        assert!(!waits.is_behind(&files, end, A, &read(3, 1)));
        assert!(waits.queues.is_empty() && waits.claimants.is_empty());
    }
}
