//! Histories of which it is known what they are, and random ones of an object that is right and of one that is not.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// A number that is written, read, and replaced by whoever knows it.
struct Register;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Op {
    Write(u32),
    Read(u32),
    Swap(u32, u32),
}
use Op::{Read, Swap, Write};

impl Model for Register {
    type State = u32;
    type Op = Op;

    fn initial(&self) -> u32 {
        0
    }

    fn step(&self, state: &u32, op: &Op) -> Option<u32> {
        match *op {
            Write(value) => Some(value),
            Read(value) => (*state == value).then_some(value),
            Swap(from, to) => (*state == from).then_some(to),
        }
    }
}

fn history(calls: &[(Op, u64, u64)]) -> Vec<Call<Op>> {
    let call = |(worker, (op, start, end)): (usize, &(Op, u64, u64))| Call {
        worker,
        op: *op,
        start: *start,
        end: (*end != NEVER).then_some(*end),
    };
    calls.iter().enumerate().map(call).collect()
}

const NEVER: u64 = u64::MAX;

fn good(calls: &[(Op, u64, u64)]) {
    assert_eq!(check(&Register, &history(calls)), Verdict::Linearizable);
}

fn bad(calls: &[(Op, u64, u64)]) -> Stuck {
    match check(&Register, &history(calls)) {
        Verdict::Violation(stuck) => stuck,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_after_the_other() {
    good(&[]);
    good(&[(Read(0), 0, 1), (Write(1), 2, 3), (Read(1), 4, 5), (Read(1), 4, 6)]);
    let stuck = bad(&[(Write(1), 0, 1), (Write(2), 2, 3), (Read(1), 4, 5)]);
    assert_eq!((stuck.placed, stuck.state.as_str(), stuck.call), (2, "2", 2));
    bad(&[(Read(1), 0, 1)]);
}

#[test]
fn at_the_same_time_in_any_order() {
    // Three writes that have to be taken from the last to the first.
    good(&[
        (Write(1), 0, 90),
        (Write(2), 1, 91),
        (Write(3), 2, 92),
        (Read(3), 10, 11),
        (Read(2), 20, 21),
        (Read(1), 30, 31),
    ]);
    good(&[(Write(1), 0, 5), (Read(1), 1, 4), (Read(0), 2, 3)]);
    // Seen once, a write cannot be unseen, by another reader neither.
    bad(&[(Write(1), 0, 9), (Read(1), 1, 2), (Read(0), 3, 4)]);
    // Sequentially consistent, and no more.
    bad(&[(Write(1), 0, 1), (Read(0), 2, 3)]);
    // Calls that meet at a moment overlap.
    good(&[(Write(1), 0, 5), (Read(0), 5, 6)]);
}

#[test]
fn what_never_ended_happened_at_any_time_or_never() {
    good(&[(Write(1), 0, NEVER), (Read(0), 5, 6)]);
    good(&[(Write(1), 0, NEVER), (Read(0), 5, 6), (Read(1), 7, 8)]);
    bad(&[(Write(1), 0, NEVER), (Read(1), 5, 6), (Read(0), 7, 8)]);
    bad(&[(Write(1), 4, NEVER), (Read(1), 1, 2)]);
    // Each of them happens once.
    good(&[(Swap(0, 1), 0, NEVER), (Write(0), 10, 11), (Swap(0, 1), 0, NEVER), (Read(1), 5, 6), (Read(1), 12, 13)]);
    bad(&[(Swap(0, 1), 0, NEVER), (Write(0), 10, 11), (Read(1), 5, 6), (Read(1), 12, 13)]);
}

#[test]
fn an_update_that_is_lost_is_found() {
    good(&[(Swap(0, 1), 0, 5), (Swap(1, 2), 1, 6), (Read(2), 7, 8)]);
    bad(&[(Swap(0, 1), 0, 5), (Swap(0, 2), 1, 6)]);
}

/// Calls of `workers` at random times on a register that works, each taking effect at a random moment.
fn random(rng: &mut StdRng, workers: usize, calls: usize) -> Vec<Call<Op>> {
    // Moments of starts, effects and ends, worker by worker; then the effects by time.
    let mut made: Vec<(u64, u64, u64, usize)> = Vec::new();
    for worker in 0..workers {
        let mut now = 0;
        for _ in 0..calls {
            let start = now + rng.random_range(0..20);
            let effect = start + rng.random_range(1..20);
            let end = effect + rng.random_range(1..20);
            made.push((effect, start, end, worker));
            now = end;
        }
    }
    made.sort_unstable();
    let mut state = 0;
    let mut history = Vec::new();
    for (i, (_, start, end, worker)) in made.into_iter().enumerate() {
        let new = i as u32 + 1;
        let op = match rng.random_range(0..4) {
            0 => Write(new),
            1 => Swap(state, new),
            _ => Read(state),
        };
        state = Register.step(&state, &op).unwrap();
        // Of some nobody is told, of some of those that did not happen, too.
        let lost = rng.random_range(0..50) == 0;
        history.push(Call { worker, op, start, end: (!lost).then_some(end) });
        if rng.random_range(0..50) == 0 {
            history.push(Call { worker, op: Write(1_000_000 + new), start, end: None });
        }
    }
    history
}

#[test]
fn long_histories_of_what_works() {
    let mut rng = StdRng::seed_from_u64(1);
    for workers in [1, 2, 4, 8] {
        let history = random(&mut rng, workers, 4_000 / workers);
        assert_eq!(check(&Register, &history), Verdict::Linearizable, "{workers} workers");
    }
}

#[test]
fn one_stale_read_in_a_long_history() {
    let mut rng = StdRng::seed_from_u64(2);
    for workers in [2, 4, 6] {
        let mut history = random(&mut rng, workers, 2_000 / workers);
        let (last, written) = history
            .iter()
            .enumerate()
            .rev()
            .find_map(|(i, call)| match call {
                Call { op: Write(value) | Swap(_, value), end: Some(end), .. } if i < 1_500 => Some((*value, *end)),
                _ => None,
            })
            .unwrap();
        // Long after it was overwritten somebody reads it.
        let late = written + 2_000;
        history.push(Call { worker: 99, op: Read(last), start: late, end: Some(late + 1) });
        assert!(matches!(check(&Register, &history), Verdict::Violation(_)), "{workers} workers");
    }
}
