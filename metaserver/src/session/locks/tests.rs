//! One table of locks, as several sessions see it. Waiting runs on paused time.

use std::pin::pin;

use LockKind::{Read, Write};
use LockSpace::{Flock, Posix};
use cairn_proto::lock::LockOwner;
use futures::poll;
use tokio::time::Instant;

use super::*;

mod model;

const A: SessionId = SessionId(1);
const B: SessionId = SessionId(2);
const C: SessionId = SessionId(3);
const FILE: InodeId = InodeId(7);
const OTHER: InodeId = InodeId(8);
const LONG: Duration = Duration::from_secs(60);

fn table() -> Locks {
    let locks = Locks::default();
    for session in [A, B, C] {
        locks.admit(session);
    }
    locks
}

fn posix(inode: InodeId, first: u64, last: u64, kind: LockKind) -> Lock {
    Lock { inode, space: Posix, owner: LockOwner(1), range: LockRange { first, last }, kind, pid: 4 }
}

fn whole(inode: InodeId, kind: LockKind) -> Lock {
    posix(inode, 0, u64::MAX, kind)
}

fn flock(kind: LockKind) -> Lock {
    Lock { space: Flock, ..whole(FILE, kind) }
}

fn unlock(locks: &Locks, session: SessionId, lock: Lock) {
    locks.unset(session, lock.of(), lock.range).unwrap();
}

#[test]
fn held_or_granted() {
    let locks = table();
    let held = posix(FILE, 10, 19, Write);
    assert_eq!(locks.set(A, held), Ok(LockOutcome::Granted));
    assert_eq!(locks.set(B, posix(FILE, 0, 12, Read)), Ok(LockOutcome::Held(held)));
    assert_eq!(locks.test(B, whole(FILE, Read)), Ok(Some(held)));
    assert_eq!(locks.test(A, whole(FILE, Write)), Ok(None));
    assert_eq!(locks.set(B, posix(FILE, 0, 9, Write)), Ok(LockOutcome::Granted));
    assert_eq!(locks.set(B, flock(Write)), Ok(LockOutcome::Granted));
    assert_eq!((locks.count(), locks.held(FILE).len()), (3, 3));
    locks.drop_owner(A, held.of());
    assert_eq!(locks.test(B, whole(FILE, Write)), Ok(None));
    locks.drop_session(B);
    assert_eq!(locks.count(), 0);
    assert!(locks.inner.lock().files.is_empty());
}

#[test]
fn only_for_sessions_and_ranges_that_are() {
    let locks = Locks::default();
    assert_eq!(locks.set(A, whole(FILE, Read)), Err(FsError::SessionUnknown(A)));
    assert_eq!(locks.test(A, whole(FILE, Read)), Err(FsError::SessionUnknown(A)));
    assert_eq!(locks.reclaim(A, &[], true), Err(FsError::SessionUnknown(A)));
    locks.admit(A);
    let none = posix(FILE, 5, 4, Read);
    assert_eq!(locks.set(A, none), Err(FsError::InvalidArgument));
    assert_eq!(locks.test(A, none), Err(FsError::InvalidArgument));
    assert_eq!(locks.unset(A, none.of(), none.range), Err(FsError::InvalidArgument));
    assert_eq!(locks.unset(B, none.of(), LockRange::WHOLE), Ok(()));
    locks.drop_session(A);
    assert_eq!(locks.set(A, whole(FILE, Read)), Err(FsError::SessionUnknown(A)));
}

#[test]
fn so_many_and_no_more() {
    let locks = table();
    let byte = |at| posix(FILE, at, at, Write);
    for at in 0..MAX_LOCKS as u64 {
        assert_eq!(locks.set(A, byte(2 * at)), Ok(LockOutcome::Granted));
    }
    assert_eq!(locks.count(), MAX_LOCKS);
    assert_eq!(locks.set(A, whole(OTHER, Read)), Err(FsError::NoSpace));
    assert_eq!(locks.set(B, whole(OTHER, Read)), Ok(LockOutcome::Granted), "another session");
    assert_eq!(locks.set(A, byte(1)), Ok(LockOutcome::Granted), "one instead of two");
    assert_eq!(locks.set(A, whole(OTHER, Read)), Ok(LockOutcome::Granted));
    assert_eq!(locks.unset(A, byte(1).of(), byte(1).range), Err(FsError::NoSpace), "two instead of one");
    assert_eq!(locks.unset(A, byte(1).of(), LockRange::WHOLE), Ok(()));
    assert_eq!(locks.count(), 2);
}

#[test]
fn a_conversion_that_fails_loses_the_lock() {
    let locks = table();
    locks.set(A, flock(Read)).unwrap();
    locks.set(B, flock(Read)).unwrap();
    assert_eq!(locks.set(A, flock(Write)), Ok(LockOutcome::Held(flock(Read))));
    assert_eq!(locks.held(FILE), [(B, flock(Read))]);
    assert_eq!(locks.set(B, flock(Write)), Ok(LockOutcome::Granted));
    assert_eq!(locks.set(B, flock(Read)), Ok(LockOutcome::Granted));
    assert_eq!(locks.set(A, flock(Read)), Ok(LockOutcome::Granted));
    locks.set(A, whole(FILE, Read)).unwrap();
    locks.set(B, whole(FILE, Read)).unwrap();
    assert!(matches!(locks.set(A, whole(FILE, Write)), Ok(LockOutcome::Held(_))));
    assert_eq!(locks.count(), 4, "one of `fcntl` stays");
}

#[tokio::test(start_paused = true)]
async fn waits_until_it_is_free() {
    let locks = table();
    let start = Instant::now();
    locks.set(A, whole(FILE, Write)).unwrap();
    assert_eq!(locks.set_waiting(B, whole(FILE, Read), LONG).await, Ok(LockOutcome::StillHeld));
    assert_eq!(start.elapsed(), LONG);
    assert_eq!(locks.set_waiting(B, whole(FILE, Read), Duration::ZERO).await, Ok(LockOutcome::StillHeld));
    assert_eq!(locks.inner.lock().waits.count(B), 0);
    let mut wanted = pin!(locks.set_waiting(B, posix(FILE, 0, 9, Read), LONG));
    assert!(poll!(&mut wanted).is_pending());
    unlock(&locks, A, posix(FILE, 5, 20, Write));
    assert!(poll!(&mut wanted).is_pending(), "just a part");
    locks.set(A, posix(FILE, 0, 4, Read)).unwrap();
    let start = Instant::now();
    assert_eq!(wanted.await, Ok(LockOutcome::Granted));
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(locks.set_waiting(B, whole(OTHER, Write), LONG).await, Ok(LockOutcome::Granted));
}

#[tokio::test(start_paused = true)]
async fn first_come_first_served() {
    let locks = table();
    locks.admit(SessionId(4));
    locks.set(A, whole(FILE, Read)).unwrap();
    let mut writer = pin!(locks.set_waiting(B, whole(FILE, Write), LONG));
    assert!(poll!(&mut writer).is_pending());
    let mut reader = pin!(locks.set_waiting(C, whole(FILE, Read), LONG));
    let mut last = pin!(locks.set_waiting(SessionId(4), whole(FILE, Write), LONG));
    assert!(poll!(&mut reader).is_pending(), "behind the writer");
    assert!(poll!(&mut last).is_pending());
    unlock(&locks, A, whole(FILE, Read));
    assert!(poll!(&mut last).is_pending());
    assert!(poll!(&mut reader).is_pending(), "though nothing is held");
    assert_eq!(writer.await, Ok(LockOutcome::Granted));
    unlock(&locks, B, whole(FILE, Write));
    assert!(poll!(&mut last).is_pending());
    assert_eq!(reader.await, Ok(LockOutcome::Granted));
    assert!(poll!(&mut last).is_pending());
    unlock(&locks, C, whole(FILE, Read));
    assert_eq!(last.await, Ok(LockOutcome::Granted));
}

#[tokio::test(start_paused = true)]
async fn who_is_not_contrary_does_not_queue() {
    let locks = table();
    locks.set(A, posix(FILE, 0, 9, Read)).unwrap();
    let mut writer = pin!(locks.set_waiting(B, posix(FILE, 0, 9, Write), LONG));
    assert!(poll!(&mut writer).is_pending());
    assert_eq!(locks.set_waiting(C, posix(FILE, 10, 19, Write), LONG).await, Ok(LockOutcome::Granted));
    assert_eq!(locks.set(C, posix(FILE, 0, 9, Read)), Ok(LockOutcome::Granted), "who does not wait sees no queue");
    assert_eq!(locks.set_waiting(A, posix(FILE, 0, 30, Read), Duration::ZERO).await, Ok(LockOutcome::StillHeld));
    let more = locks.set_waiting(A, posix(FILE, 5, 8, Read), LONG).await;
    assert_eq!(more, Ok(LockOutcome::Granted), "the writer waits for them");
}

#[tokio::test(start_paused = true)]
async fn manners_do_not_close_a_circle() {
    let locks = table();
    locks.set(A, whole(FILE, Read)).unwrap();
    locks.set(C, whole(OTHER, Write)).unwrap();
    let mut writer = pin!(locks.set_waiting(B, whole(FILE, Write), LONG));
    assert!(poll!(&mut writer).is_pending());
    let mut reader = pin!(locks.set_waiting(C, whole(FILE, Read), LONG));
    assert!(poll!(&mut reader).is_pending(), "behind the writer");
    let mut holder = pin!(locks.set_waiting(A, whole(OTHER, Write), LONG));
    assert!(poll!(&mut holder).is_pending(), "no deadlock: the reader need not wait");
    assert_eq!(reader.await, Ok(LockOutcome::Granted));
    unlock(&locks, C, whole(OTHER, Write));
    assert_eq!(holder.await, Ok(LockOutcome::Granted));
    assert!(poll!(&mut writer).is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_circle_is_refused() {
    let locks = table();
    let third = InodeId(9);
    for (session, inode) in [(A, FILE), (B, OTHER), (C, third)] {
        locks.set(session, whole(inode, Write)).unwrap();
    }
    let mut first = pin!(locks.set_waiting(A, whole(OTHER, Read), LONG));
    assert!(poll!(&mut first).is_pending());
    assert_eq!(locks.set_waiting(B, whole(FILE, Read), LONG).await, Ok(LockOutcome::Deadlock));
    let mut second = pin!(locks.set_waiting(B, whole(third, Read), LONG));
    assert!(poll!(&mut second).is_pending());
    assert_eq!(locks.set_waiting(C, whole(FILE, Read), LONG).await, Ok(LockOutcome::Deadlock));
    locks.drop_session(C);
    assert_eq!(second.await, Ok(LockOutcome::Granted));
    unlock(&locks, B, whole(OTHER, Write));
    assert_eq!(first.await, Ok(LockOutcome::Granted));
}

#[tokio::test(start_paused = true)]
async fn flocks_in_a_circle_wait() {
    let locks = table();
    let other = Lock { inode: OTHER, ..flock(Write) };
    locks.set(A, flock(Write)).unwrap();
    locks.set(B, other).unwrap();
    let mut first = pin!(locks.set_waiting(A, other, LONG));
    assert!(poll!(&mut first).is_pending());
    assert_eq!(locks.set_waiting(B, flock(Write), LONG / 2).await, Ok(LockOutcome::StillHeld));
}

#[tokio::test(start_paused = true)]
async fn conversions_of_two_do_not_hang() {
    let locks = table();
    locks.set(A, flock(Read)).unwrap();
    locks.set(B, flock(Read)).unwrap();
    let mut first = pin!(locks.set_waiting(A, flock(Write), LONG));
    assert!(poll!(&mut first).is_pending());
    assert_eq!(locks.held(FILE), [(B, flock(Read))]);
    assert_eq!(locks.set_waiting(B, flock(Write), LONG).await, Ok(LockOutcome::Granted));
    unlock(&locks, B, flock(Write));
    assert_eq!(first.await, Ok(LockOutcome::Granted));
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_is_in_nobodys_way() {
    let locks = table();
    locks.set(A, whole(FILE, Read)).unwrap();
    let mut reader = Box::pin(locks.set_waiting(C, whole(FILE, Read), LONG));
    let start = Instant::now();
    {
        let mut writer = pin!(locks.set_waiting(B, whole(FILE, Write), LONG));
        assert!(poll!(&mut writer).is_pending());
        assert!(poll!(&mut reader).is_pending());
        unlock(&locks, A, whole(FILE, Read));
    }
    assert_eq!(reader.await, Ok(LockOutcome::Granted));
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(locks.held(FILE), [(C, whole(FILE, Read))]);
    assert_eq!(locks.inner.lock().waits.count(B), 0);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_session_wakes() {
    let locks = table();
    let start = Instant::now();
    locks.set(A, whole(FILE, Write)).unwrap();
    let mut own = pin!(locks.set_waiting(B, whole(FILE, Write), LONG));
    let mut next = pin!(locks.set_waiting(C, whole(FILE, Write), LONG));
    assert!(poll!(&mut own).is_pending());
    assert!(poll!(&mut next).is_pending());
    locks.drop_session(A);
    locks.drop_session(B);
    assert_eq!(next.await, Ok(LockOutcome::Granted));
    assert_eq!(own.await, Err(FsError::SessionUnknown(B)));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_wait() {
    let locks = table();
    locks.set(A, whole(FILE, Write)).unwrap();
    let as_owner = |owner| Lock { owner: LockOwner(owner), ..whole(FILE, Write) };
    let mut waiting = Vec::new();
    for owner in 0..MAX_WAITS as u64 {
        let mut wait = Box::pin(locks.set_waiting(B, as_owner(owner), LONG));
        assert!(poll!(&mut wait).is_pending());
        waiting.push(wait);
    }
    assert_eq!(locks.set_waiting(B, as_owner(0), LONG).await, Err(FsError::NoSpace));
    let mut other = pin!(locks.set_waiting(C, as_owner(0), LONG));
    assert!(poll!(&mut other).is_pending());
    waiting.pop();
    assert_eq!(locks.set_waiting(B, as_owner(0), Duration::ZERO).await, Ok(LockOutcome::StillHeld));
}

/// Each adds to a count that only a lock guards.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_at_a_time() {
    let (locks, counted) = (Arc::new(table()), Arc::new(Mutex::new(0_u32)));
    let tasks = (0..8).map(|owner| {
        let (locks, counted) = (locks.clone(), counted.clone());
        tokio::spawn(async move {
            let lock = Lock { owner: LockOwner(owner), ..flock(Write) };
            let session = [A, B, C][owner as usize % 3];
            for _ in 0..300 {
                assert_eq!(locks.set_waiting(session, lock, LONG).await, Ok(LockOutcome::Granted));
                let before = *counted.lock();
                tokio::task::yield_now().await;
                *counted.lock() = before + 1;
                unlock(&locks, session, lock);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(*counted.lock(), 8 * 300);
    assert_eq!(locks.count(), 0);
}

/// Unlocks just when somebody begins to wait, who looks again only when told.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn no_wake_up_is_lost() {
    let locks = Arc::new(table());
    let start = Instant::now();
    for round in 0..2000 {
        locks.set(A, flock(Write)).unwrap();
        let waiter = tokio::spawn({
            let locks = locks.clone();
            async move { locks.wait(B, flock(Write), LONG, LONG).await }
        });
        while locks.inner.lock().waits.count(B) == 0 {
            std::hint::spin_loop();
        }
        for _ in 0..round % 50 {
            std::hint::spin_loop();
        }
        unlock(&locks, A, flock(Write));
        assert_eq!(waiter.await.unwrap(), Ok(LockOutcome::Granted));
        unlock(&locks, B, flock(Write));
    }
    assert!(start.elapsed() < LONG / 2, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn nobody_locks_before_all_have_claimed() {
    let locks = Locks::new([A, B]);
    locks.admit(C);
    assert_eq!(locks.unclaimed(), 2);
    assert_eq!(locks.reclaim(A, &[posix(FILE, 0, 9, Write)], false), Ok(()));
    assert_eq!(locks.unclaimed(), 2, "there are more to come");
    assert_eq!(locks.reclaim(A, &[posix(FILE, 20, 29, Write), flock(Read)], true), Ok(()));
    assert_eq!(locks.set(A, whole(OTHER, Read)), Err(FsError::NotReady));
    assert_eq!(locks.set_waiting(C, whole(OTHER, Read), LONG).await, Err(FsError::NotReady));
    assert_eq!(locks.test(C, whole(OTHER, Read)), Err(FsError::NotReady));
    unlock(&locks, A, posix(FILE, 20, 29, Write));
    locks.drop_owner(A, flock(Read).of());
    locks.drop_session(B);
    assert_eq!(locks.unclaimed(), 0);
    assert_eq!(locks.held(FILE), [(A, posix(FILE, 0, 9, Write))]);
    assert_eq!(locks.set(C, whole(OTHER, Read)), Ok(LockOutcome::Granted));
}

#[test]
fn what_somebody_else_has_is_not_claimed() {
    let locks = Locks::new([A, B]);
    locks.reclaim(A, &[posix(FILE, 0, 9, Write), flock(Read)], true).unwrap();
    locks.reclaim(A, &[posix(FILE, 0, 9, Write)], true).unwrap();
    let claimed = [posix(OTHER, 0, 0, Read), posix(FILE, 9, 20, Read), flock(Write), posix(FILE, 10, 20, Write)];
    assert_eq!(locks.reclaim(B, &claimed, true), Err(FsError::Stale(FILE)));
    assert_eq!((locks.unclaimed(), locks.count()), (0, 4));
    assert_eq!(locks.held(OTHER), [(B, posix(OTHER, 0, 0, Read))]);
    assert_eq!(locks.test(C, whole(FILE, Read)), Err(FsError::SessionUnknown(C)));
}
