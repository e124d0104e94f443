//! What workers wrote down, sorted by object, and checked.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Result, bail, ensure};

use super::checker::{Call, Model, Stuck, Verdict, check};
use super::model::{Name, NameOp, Register, RegisterOp, Token, TokenOp, UNKNOWN};
use super::record::{Attempt, Entry, Object, Outcome};

/// All calls on all objects.
#[derive(Debug, Default)]
pub struct History {
    registers: BTreeMap<Object, Vec<Call<RegisterOp>>>,
    names: BTreeMap<Object, Vec<Call<NameOp>>>,
    tokens: BTreeMap<Object, Vec<Call<TokenOp>>>,
    names_in_all: u8,
    wrong: Vec<String>,
    pub summary: Summary,
}

/// How much happened.
#[derive(Debug, Default, Clone, Copy)]
pub struct Summary {
    pub calls: usize,
    /// Calls of which nobody knows whether they happened.
    pub unknown: usize,
    /// Calls that failed.
    pub failed: usize,
    /// Reads that met a write and were repeated.
    pub torn: usize,
}

impl std::ops::AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.unknown += other.unknown;
        self.failed += other.failed;
        self.torn += other.torn;
    }
}

/// What should not be, in words.
#[derive(Debug)]
pub struct Violation(pub String);

impl History {
    /// `names`: how many there are, for listings show those that are absent by not showing them.
    pub fn new(names: u8) -> Self {
        Self { names_in_all: names, ..Self::default() }
    }

    /// Takes what a worker has written down.
    pub fn add(&mut self, worker: usize, entries: &[Entry]) -> Result<()> {
        let mut begun: Option<(u64, Attempt)> = None;
        for entry in entries {
            match entry {
                Entry::Began { at, attempt } => {
                    ensure!(begun.is_none(), "worker {worker} began a call before another had ended");
                    begun = Some((*at, *attempt));
                }
                Entry::Ended { at, outcome } => {
                    let Some((start, attempt)) = begun.take() else {
                        bail!("worker {worker} ended what it never began")
                    };
                    self.ended(worker, attempt, outcome, start, *at)?;
                }
                Entry::Tore => self.summary.torn += 1,
            }
        }
        if let Some((start, attempt)) = begun {
            self.unknown(worker, attempt, start);
        }
        Ok(())
    }

    /// Takes the log of a worker.
    pub fn add_log(&mut self, worker: usize, path: &Path) -> Result<()> {
        self.add(worker, &super::record::read(path)?)
    }

    fn ended(&mut self, worker: usize, attempt: Attempt, outcome: &Outcome, start: u64, end: u64) -> Result<()> {
        self.summary.calls += 1;
        let end = Some(end);
        match (attempt, outcome) {
            (Attempt::Read { file }, Outcome::Saw(saw)) => {
                self.register(file, Call { worker, op: RegisterOp::Read { saw: *saw }, start, end });
            }
            (Attempt::Write { file, put }, Outcome::Done) => {
                self.register(file, Call { worker, op: RegisterOp::Write { put }, start, end });
            }
            (Attempt::Swap { file, .. }, Outcome::Swapped { saw, put }) => {
                let op = RegisterOp::Swap { saw: Some(*saw), put: *put };
                self.register(file, Call { worker, op, start, end });
            }
            (Attempt::Create { name }, Outcome::Inode(made)) => {
                self.name(name, Call { worker, op: NameOp::Create { made: Some(*made) }, start, end });
            }
            (Attempt::Create { name }, Outcome::Exists) => {
                self.name(name, Call { worker, op: NameOp::Create { made: None }, start, end });
            }
            (Attempt::Unlink { name }, Outcome::Done | Outcome::Absent) => {
                self.name(name, Call { worker, op: NameOp::Unlink { done: *outcome == Outcome::Done }, start, end });
            }
            (Attempt::Look { name }, Outcome::Inode(saw)) => {
                self.name(name, Call { worker, op: NameOp::Look { saw: Some(*saw) }, start, end });
            }
            (Attempt::Look { name }, Outcome::Absent) => {
                self.name(name, Call { worker, op: NameOp::Look { saw: None }, start, end });
            }
            (Attempt::List, Outcome::Listed(found)) => {
                for name in 0..self.names_in_all {
                    let saw = found.iter().find(|(n, _)| *n == name).map(|(_, inode)| *inode);
                    self.name(name, Call { worker, op: NameOp::Look { saw }, start, end });
                }
            }
            (Attempt::Rename { token, from, to }, Outcome::Done | Outcome::Absent) => {
                let op = TokenOp::Rename { from, to, done: *outcome == Outcome::Done, beside: false };
                self.token(token, Call { worker, op, start, end });
            }
            // Linux looks whether there is something of the new name before the file system is asked.
            (Attempt::Rename { token, to, .. }, Outcome::Exists) => {
                self.token(token, Call { worker, op: TokenOp::Look { name: to, there: true }, start, end });
            }
            (Attempt::Peek { token, name }, Outcome::There | Outcome::Absent) => {
                let op = TokenOp::Look { name, there: *outcome == Outcome::There };
                self.token(token, Call { worker, op, start, end });
            }
            (_, Outcome::Lost(_)) => {
                self.summary.failed += 1;
                self.unknown(worker, attempt, start);
            }
            (_, Outcome::Refused(_)) => self.summary.failed += 1,
            (_, Outcome::Wrong(what)) => {
                self.wrong.push(format!("worker {worker}: {attempt:?} came to {what}"));
                self.unknown(worker, attempt, start);
            }
            _ => bail!("worker {worker}: {outcome:?} is nothing that {attempt:?} comes to"),
        }
        Ok(())
    }

    /// A call that may have happened, at any time after its start.
    fn unknown(&mut self, worker: usize, attempt: Attempt, start: u64) {
        self.summary.unknown += 1;
        let end = None;
        match attempt {
            Attempt::Write { file, put } => {
                self.register(file, Call { worker, op: RegisterOp::Write { put }, start, end });
            }
            Attempt::Swap { file, put } => {
                let op = RegisterOp::Swap { saw: None, put: Some(put) };
                self.register(file, Call { worker, op, start, end });
            }
            Attempt::Create { name } => {
                self.name(name, Call { worker, op: NameOp::Create { made: Some(UNKNOWN) }, start, end });
            }
            Attempt::Unlink { name } => {
                self.name(name, Call { worker, op: NameOp::Unlink { done: true }, start, end });
            }
            Attempt::Rename { token, from, to } => {
                let op = TokenOp::Rename { from, to, done: true, beside: false };
                self.token(token, Call { worker, op, start, end });
            }
            Attempt::Read { .. } | Attempt::Look { .. } | Attempt::List | Attempt::Peek { .. } => {}
        }
    }

    fn register(&mut self, file: Object, call: Call<RegisterOp>) {
        self.registers.entry(file).or_default().push(call);
    }

    fn name(&mut self, name: u8, call: Call<NameOp>) {
        self.names.entry(Object::Name(name)).or_default().push(call);
    }

    fn token(&mut self, token: u8, call: Call<TokenOp>) {
        self.tokens.entry(Object::Token(token)).or_default().push(call);
    }

    /// Calls that came to what no call may come to, and objects whose calls no order explains.
    pub fn violations(&self) -> Result<Vec<Violation>> {
        let mut found = Vec::new();
        if let Some(first) = self.wrong.first() {
            found.push(Violation(format!("{first}; and {} more like that", self.wrong.len() - 1)));
        }
        for (object, calls) in &self.registers {
            found.extend(explain(*object, &Register, calls)?);
        }
        for (object, calls) in &self.names {
            found.extend(explain(*object, &Name, calls)?);
        }
        for (object, calls) in &self.tokens {
            found.extend(explain(*object, &Token, &beside_others(calls))?);
        }
        Ok(found)
    }
}

/// The same calls, with those marked that moved a file to where another call moved it at the same time.
fn beside_others(calls: &[Call<TokenOp>]) -> Vec<Call<TokenOp>> {
    let is_beside = |call: &Call<TokenOp>| {
        let TokenOp::Rename { to, done: true, .. } = call.op else { return false };
        calls.iter().any(|other| {
            let is_to_the_same = matches!(other.op, TokenOp::Rename { to: theirs, done: true, .. } if theirs == to);
            is_to_the_same && other.worker != call.worker && overlap(call, other)
        })
    };
    let mut marked = calls.to_vec();
    for (call, marked) in calls.iter().zip(&mut marked) {
        if let TokenOp::Rename { beside, .. } = &mut marked.op {
            *beside = is_beside(call);
        }
    }
    marked
}

fn overlap<Op>(one: &Call<Op>, other: &Call<Op>) -> bool {
    let starts_before_end = |a: &Call<Op>, b: &Call<Op>| b.end.is_none_or(|end| a.start <= end);
    starts_before_end(one, other) && starts_before_end(other, one)
}

fn explain<M: Model>(object: Object, model: &M, calls: &[Call<M::Op>]) -> Result<Option<Violation>> {
    match check(model, calls) {
        Verdict::Linearizable => Ok(None),
        Verdict::Undecided => bail!("{object:?}: {} calls are too many to decide", calls.len()),
        Verdict::Violation(stuck) => Ok(Some(Violation(describe(object, calls, &stuck)))),
    }
}

fn describe<Op: std::fmt::Debug>(object: Object, calls: &[Call<Op>], stuck: &Stuck) -> String {
    let zero = calls.iter().map(|call| call.start).min().unwrap_or(0);
    let ms = |at: u64| at.saturating_sub(zero) as f64 / 1e6;
    let line = |i: usize| {
        let Call { worker, op, start, end } = &calls[i];
        let end = end.map_or("…".to_owned(), |end| format!("{:.3}", ms(end)));
        format!("  worker {worker}, {:.3} to {end} ms: {op:?}\n", ms(*start))
    };
    let blocked = &calls[stuck.call];
    let mut text = format!("{object:?}: no order explains its {} calls; the longest ends with\n", calls.len());
    stuck.order.iter().for_each(|i| text += &line(*i));
    let _ = writeln!(
        text,
        "after {} calls, in state {}, and does not go on to\n{}",
        stuck.placed,
        stuck.state,
        line(stuck.call)
    );
    let others = (0..calls.len()).filter(|i| *i != stuck.call && overlap(&calls[*i], blocked));
    for (n, i) in others.take(20).enumerate() {
        text += if n == 0 { "while there were\n" } else { "" };
        text += &line(i);
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "these are tests")]

    use super::*;

    fn began(at: u64, attempt: Attempt) -> Entry {
        Entry::Began { at, attempt }
    }

    fn ended(at: u64, outcome: Outcome) -> Entry {
        Entry::Ended { at, outcome }
    }

    fn violations(logs: &[&[Entry]]) -> Vec<Violation> {
        let mut history = History::new(2);
        for (worker, entries) in logs.iter().enumerate() {
            history.add(worker, entries).unwrap();
        }
        history.violations().unwrap()
    }

    #[test]
    fn a_stale_read_is_told_from_a_late_one() {
        let file = Object::Plain(0);
        let writer = [began(0, Attempt::Write { file, put: 7 }), ended(10, Outcome::Done)];
        let read = |start, end, saw| [began(start, Attempt::Read { file }), ended(end, Outcome::Saw(saw))];
        assert!(violations(&[&writer, &read(5, 6, 0)]).is_empty());
        let found = violations(&[&writer, &read(11, 12, 0)]);
        assert!(found[0].0.contains("Read { saw: 0 }"), "{}", found[0].0);
    }

    #[test]
    fn a_write_that_was_cut_off_may_be_seen_or_not() {
        let file = Object::Plain(0);
        let killed = [began(0, Attempt::Write { file, put: 7 })];
        let reader = |first, second| {
            let calls = [(20, first), (30, second)];
            let entries = calls.map(|(at, saw)| [began(at, Attempt::Read { file }), ended(at + 1, Outcome::Saw(saw))]);
            entries.into_iter().flatten().collect::<Vec<_>>()
        };
        for (first, second, right) in [(0, 0, true), (0, 7, true), (7, 7, true), (7, 0, false)] {
            assert_eq!(violations(&[&killed, &reader(first, second)]).is_empty(), right, "{first}, then {second}");
        }
    }

    #[test]
    fn a_listing_looks_at_every_name() {
        let maker = [began(0, Attempt::Create { name: 1 }), ended(1, Outcome::Inode(9))];
        let list = |found: Vec<(u8, u64)>| [began(2, Attempt::List), ended(3, Outcome::Listed(found))];
        assert!(violations(&[&maker, &list(vec![(1, 9)])]).is_empty());
        assert_eq!(violations(&[&maker, &list(vec![])]).len(), 1);
        assert_eq!(violations(&[&maker, &list(vec![(1, 8)])]).len(), 1);
        assert_eq!(violations(&[&maker, &list(vec![(0, 9), (1, 9)])]).len(), 1);
    }

    #[test]
    fn two_that_both_rename_one_file_are_found() {
        let rename = |to| [began(0, Attempt::Rename { token: 0, from: 0, to }), ended(9, Outcome::Done)];
        assert!(violations(&[&rename(1)]).is_empty());
        assert_eq!(violations(&[&rename(1), &rename(2)]).len(), 1);
    }

    #[test]
    fn two_may_both_say_that_they_moved_a_file_to_one_name_only_at_the_same_time() {
        let rename =
            |start, end| [began(start, Attempt::Rename { token: 0, from: 0, to: 1 }), ended(end, Outcome::Done)];
        assert!(violations(&[&rename(0, 9), &rename(8, 12)]).is_empty());
        assert_eq!(violations(&[&rename(0, 9), &rename(10, 12)]).len(), 1);
    }
}
