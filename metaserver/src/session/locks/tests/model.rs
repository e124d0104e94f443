//! The table against one that notes for each byte who has locked it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Bytes 0 to 40, then all up to the last three at once, then those.
const CELLS: usize = 45;
const GAP: usize = 41;

fn first_of(cell: usize) -> u64 {
    if cell <= GAP { cell as u64 } else { u64::MAX - (CELLS - 1 - cell) as u64 }
}

fn last_of(cell: usize) -> u64 {
    if cell < CELLS - 1 { first_of(cell + 1) - 1 } else { u64::MAX }
}

type Cells = [Option<LockKind>; CELLS];

#[derive(Default)]
struct Model {
    held: BTreeMap<Claimant, Cells>,
}

impl Model {
    /// Neighbours that one claimant has locked alike are one lock.
    fn locks(&self) -> Vec<(SessionId, Lock)> {
        let mut locks: Vec<(SessionId, Lock)> = Vec::new();
        for (claimant, cells) in &self.held {
            let of = LocksOf { inode: FILE, space: claimant.space, owner: claimant.owner };
            let mut before = None;
            for (cell, &kind) in cells.iter().enumerate() {
                match kind {
                    Some(_) if kind == before => locks.last_mut().unwrap().1.range.last = last_of(cell),
                    Some(kind) => {
                        let range = LockRange { first: first_of(cell), last: last_of(cell) };
                        locks.push((claimant.session, of.lock(range, kind, claimant.owner.0 as u32)));
                    }
                    None => {}
                }
                before = kind;
            }
        }
        locks
    }

    fn conflict(&self, me: Claimant, from: usize, to: usize, kind: LockKind) -> Option<Lock> {
        let (first, last) = (first_of(from), last_of(to));
        let others = self.locks().into_iter().filter(|(session, lock)| {
            let other = Claimant::of(*session, lock);
            other.space == me.space && other != me
        });
        let in_the_way = others.map(|(_, lock)| lock).filter(|lock| {
            let alone = kind == Write || lock.kind == Write;
            alone && !(lock.range.last < first || last < lock.range.first)
        });
        in_the_way.min_by_key(|lock| lock.range.first)
    }

    fn put(&mut self, claimant: Claimant, from: usize, to: usize, kind: Option<LockKind>) {
        self.held.entry(claimant).or_insert([None; CELLS])[from..=to].fill(kind);
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Set(LockKind),
    Test(LockKind),
    Unset,
    DropOwner,
    EndSession,
}

fn kind() -> impl Strategy<Value = LockKind> {
    prop_oneof![Just(Read), Just(Write)]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => kind().prop_map(Op::Set),
        2 => kind().prop_map(Op::Test),
        6 => Just(Op::Unset),
        1 => Just(Op::DropOwner),
        1 => Just(Op::EndSession),
    ]
}

/// Mostly of few bytes, so that several fit.
fn cells() -> impl Strategy<Value = (usize, usize)> {
    let length = prop_oneof![4 => 0..6_usize, 1 => 0..CELLS];
    (0..CELLS, length).prop_map(|(from, length)| (from, (from + length).min(CELLS - 1)))
}

fn claimant() -> impl Strategy<Value = Claimant> {
    let space = prop_oneof![4 => Just(Posix), 1 => Just(Flock)];
    (prop_oneof![Just(A), Just(B)], space, 1..3_u64).prop_map(|(session, space, owner)| Claimant {
        session,
        space,
        owner: LockOwner(owner),
    })
}

fn step(locks: &Locks, model: &mut Model, me: Claimant, (from, to): (usize, usize), op: Op) {
    let of = LocksOf { inode: FILE, space: me.space, owner: me.owner };
    let range = LockRange { first: first_of(from), last: last_of(to) };
    let lock = |kind| of.lock(range, kind, me.owner.0 as u32);
    let (from, to) = if me.space == Flock { (0, CELLS - 1) } else { (from, to) };
    match op {
        Op::Set(kind) => {
            let held = model.conflict(me, from, to, kind);
            let expected = held.map_or(LockOutcome::Granted, LockOutcome::Held);
            assert_eq!(locks.set(me.session, lock(kind)), Ok(expected));
            match (held, me.space) {
                (None, _) => model.put(me, from, to, Some(kind)),
                (Some(_), Flock) => model.put(me, from, to, None),
                (Some(_), Posix) => {}
            }
        }
        Op::Test(kind) => {
            assert_eq!(locks.test(me.session, lock(kind)), Ok(model.conflict(me, from, to, kind)));
        }
        Op::Unset => {
            locks.unset(me.session, of, range).unwrap();
            model.put(me, from, to, None);
        }
        Op::DropOwner => {
            locks.drop_owner(me.session, of);
            model.put(me, 0, CELLS - 1, None);
        }
        Op::EndSession => {
            locks.drop_session(me.session);
            locks.admit(me.session);
            model.held.retain(|claimant, _| claimant.session != me.session);
        }
    }
}

proptest! {
    #[test]
    fn as_if_each_byte_were_noted(ops in prop::collection::vec((claimant(), cells(), op()), 1..120)) {
        let locks = table();
        let mut model = Model::default();
        for (claimant, cells, op) in ops {
            step(&locks, &mut model, claimant, cells, op);
            let expected = model.locks();
            prop_assert_eq!(locks.count(), expected.len());
            prop_assert_eq!(locks.held(FILE), expected);
        }
        for session in [A, B] {
            locks.drop_session(session);
        }
        prop_assert_eq!(locks.count(), 0);
        prop_assert!(locks.inner.lock().files.is_empty());
    }
}
