//! The search of Wing and Gong (1993) for an order of calls that explains what they saw, with Lowe's memory of the states that it
//! has been in (2017).
//!
//! A call takes effect at one moment between its start and its end. One that never ended, or ended with an error that leaves open
//! whether it happened, may take effect at any time after its start, or never. Histories of different objects are checked one by
//! one: together they are linearizable if each of them is.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;

#[cfg(test)]
mod tests;

/// Orders that are found before the search gives up.
const MEMORY: usize = 4_000_000;

/// What an object is and does. A call that two states allow either leaves both as they are, or leads both to the same: nothing is gained by
/// putting a call that may not have happened before one that was possible without it.
pub trait Model {
    type State: Clone + Eq + Hash + Debug;
    type Op: PartialEq + Debug;

    fn initial(&self) -> Self::State;

    /// The state after `op`, results included; `None` if it cannot have had its results in this state.
    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State>;
}

/// One call, in nanoseconds of any clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Call<Op> {
    pub worker: usize,
    pub op: Op,
    pub start: u64,
    /// None: nobody knows whether it happened.
    pub end: Option<u64>,
}

/// What the search came to.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    Linearizable,
    Violation(Stuck),
    /// Too many orders to remember.
    Undecided,
}

/// Where the search got furthest.
#[derive(Debug, PartialEq)]
pub struct Stuck {
    /// Calls in the order that was found, by index; the last ones of it.
    pub order: Vec<usize>,
    /// How long the whole order is.
    pub placed: usize,
    /// The state after them.
    pub state: String,
    /// The call that fits nowhere behind them.
    pub call: usize,
}

/// Calls of [`Stuck::order`] that are kept.
const SHOWN: usize = 12;

/// Looks for an order in which `model` explains `calls`.
pub fn check<M: Model>(model: &M, calls: &[Call<M::Op>]) -> Verdict {
    Search::new(model, calls).run()
}

/// A set of small numbers; empty words at its end are not kept.
#[derive(Debug, Default, Clone)]
struct Bits(Vec<u64>);

impl Bits {
    fn has(&self, i: usize) -> bool {
        self.0.get(i / 64).is_some_and(|word| word >> (i % 64) & 1 == 1)
    }

    fn with(&self, i: usize) -> Self {
        let mut words = self.0.clone();
        words.resize(words.len().max(i / 64 + 1), 0);
        words[i / 64] |= 1 << (i % 64);
        Self(words)
    }

    fn is_within(&self, other: &Self) -> bool {
        let theirs = other.0.iter().chain(std::iter::repeat(&0));
        self.0.iter().zip(theirs).all(|(ours, theirs)| ours & !theirs == 0)
    }
}

/// Which calls with an end are in the order. They are counted by their starts, and few are placed long before an earlier one.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
struct Prefix {
    /// All before this one.
    len: u32,
    /// And these behind it, in order.
    beyond: Vec<u32>,
}

impl Prefix {
    fn has(&self, i: u32) -> bool {
        i < self.len || self.beyond.binary_search(&i).is_ok()
    }

    fn with(&self, i: u32) -> Self {
        let mut more = self.clone();
        let at = more.beyond.partition_point(|placed| *placed < i);
        more.beyond.insert(at, i);
        while more.beyond.first() == Some(&more.len) {
            more.beyond.remove(0);
            more.len += 1;
        }
        more
    }

    fn placed(&self) -> usize {
        self.len as usize + self.beyond.len()
    }
}

/// An order of some of the calls: one more than another order has.
struct Order<State> {
    prefix: Prefix,
    /// Which of the calls without an end are in it.
    used: Bits,
    state: State,
    /// The last call, and the order without it.
    last: Option<(usize, usize)>,
}

struct Search<'a, M: Model> {
    model: &'a M,
    calls: &'a [Call<M::Op>],
    /// Calls with an end and without, by start.
    ended: Vec<usize>,
    open: Vec<usize>,
    /// All that were found.
    orders: Vec<Order<M::State>>,
    /// Those that are still to be continued; and those that use one more of the calls without an end, which come later: nothing is
    /// used up without need.
    now: Vec<usize>,
    later: Vec<usize>,
    /// Where it has been, and what was used up to get there.
    seen: HashMap<(Prefix, M::State), Vec<Bits>>,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, calls: &'a [Call<M::Op>]) -> Self {
        let mut by_start: Vec<usize> = (0..calls.len()).collect();
        by_start.sort_by_key(|i| calls[*i].start);
        let (ended, open) = by_start.into_iter().partition(|i| calls[*i].end.is_some());
        let (orders, now, later, seen) = Default::default();
        Self { model, calls, ended, open, orders, now, later, seen }
    }

    fn run(mut self) -> Verdict {
        self.add(Order { prefix: Prefix::default(), used: Bits::default(), state: self.model.initial(), last: None });
        let mut furthest = 0;
        loop {
            let Some(order) = self.now.pop() else {
                if self.later.is_empty() {
                    return Verdict::Violation(self.stuck(furthest));
                }
                self.now.append(&mut self.later);
                continue;
            };
            let placed = self.orders[order].prefix.placed();
            if placed == self.ended.len() {
                return Verdict::Linearizable;
            }
            if placed > self.orders[furthest].prefix.placed() {
                furthest = order;
            }
            if self.orders.len() > MEMORY {
                return Verdict::Undecided;
            }
            self.go_on(order);
        }
    }

    /// Adds all orders that have one more call.
    fn go_on(&mut self, order: usize) {
        let (next, first_end) = self.next(&self.orders[order].prefix);
        let Order { prefix, used, state, .. } = &self.orders[order];
        let others: Vec<usize> = next.iter().map(|i| self.ended[*i as usize]).collect();
        let mut found = Vec::new();
        // The first to start is to be the first that is tried.
        for i in next.into_iter().rev() {
            let call = self.ended[i as usize];
            if let Some(state) = self.model.step(state, &self.calls[call].op) {
                found.push(Order { prefix: prefix.with(i), used: used.clone(), state, last: Some((call, order)) });
            }
        }
        for (i, call) in self.open.iter().copied().enumerate() {
            if self.calls[call].start > first_end {
                break;
            }
            // Of several that do the same, one is as good as the other from now on.
            let same = |j: usize| !used.has(j) && self.calls[self.open[j]].op == self.calls[call].op;
            if used.has(i) || (0..i).any(same) {
                continue;
            }
            let Some(new) = self.model.step(state, &self.calls[call].op) else { continue };
            let possible = |call: &usize, state| self.model.step(state, &self.calls[*call].op).is_some();
            if others.iter().chain(&self.open).any(|call| possible(call, &new) && !possible(call, state)) {
                found.push(Order { prefix: prefix.clone(), used: used.with(i), state: new, last: Some((call, order)) });
            }
        }
        found.into_iter().for_each(|order| self.add(order));
    }

    /// Calls with an end that can be the next: those that start before any other ends; and when that is.
    fn next(&self, prefix: &Prefix) -> (Vec<u32>, u64) {
        let mut first_end = u64::MAX;
        let mut next = Vec::new();
        for i in prefix.len..self.ended.len() as u32 {
            let call = &self.calls[self.ended[i as usize]];
            if call.start > first_end {
                break;
            }
            if !prefix.has(i) {
                first_end = call.end.map_or(first_end, |end| end.min(first_end));
                next.push(i);
            }
        }
        (next, first_end)
    }

    /// Unless it has been there, with no more used up: what was not is still to be had.
    fn add(&mut self, order: Order<M::State>) {
        let before = self.seen.entry((order.prefix.clone(), order.state.clone())).or_default();
        if before.iter().any(|used| used.is_within(&order.used)) {
            return;
        }
        before.push(order.used.clone());
        let uses_one = order.last.is_some_and(|(call, _)| self.calls[call].end.is_none());
        if uses_one {
            self.later.push(self.orders.len())
        } else {
            self.now.push(self.orders.len())
        }
        self.orders.push(order);
    }

    /// The longest order, in words.
    fn stuck(&self, furthest: usize) -> Stuck {
        let Order { prefix, state, last, .. } = &self.orders[furthest];
        let mut order = Vec::new();
        let mut back = *last;
        while let Some((call, before)) = back {
            order.push(call);
            back = self.orders[before].last;
        }
        let placed = order.len();
        order.truncate(SHOWN);
        order.reverse();
        let (next, _) = self.next(prefix);
        let waiting = next.into_iter().map(|i| self.ended[i as usize]);
        let call = waiting.min_by_key(|call| self.calls[*call].end).unwrap_or_default();
        Stuck { order, placed, state: format!("{state:?}"), call }
    }
}
