//! What a file has written and chunkservers have not acknowledged: gathered into pieces, and sent piece by piece.
//!
//! A *slot* is an aligned range of [`SLOT_BYTES`]: a piece never leaves its slot, so it never leaves its chunk and never
//! exceeds what one call may carry. Writes that touch or overlap within a slot become one *run*; a run that is sent becomes a
//! *flight* and does not change any more. What is written over a flight is a new run above it, and waits for it: two flights
//! never share a block, so the order of overlapping writes is kept, whatever the network does.
//!
//! No I/O here, no locks, no time: see [`super::write_back`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use cairn_proto::chunk::{BLOCK_SIZE, MAX_PIECE_BYTES};

use super::piece_buffer::PieceBuffer;
use super::runs::{Parts, clip};
use super::view;

/// Bytes in a slot.
pub(super) const SLOT_BYTES: u64 = MAX_PIECE_BYTES as u64;

/// A run of at least so many bytes that ends where its slot ends is sent at once: its writer has moved on.
const WORTH_SENDING_BYTES: usize = 64 << 10;

/// Runs looked at when the first in line overlap flights. Another look follows when a flight ends.
const MAX_LOOKED_AT: usize = 64;

/// What a run costs at least, in bytes of the budget: bookkeeping is memory too.
const MIN_CHARGE_BYTES: usize = 512;

/// Number of a write within its file, ascending from 1.
pub(super) type WriteSeq = u64;

/// Bytes of one slot that wait to be sent.
#[derive(Debug)]
struct Run {
    data: RunData,
    /// The oldest write in it.
    seq: WriteSeq,
}

#[derive(Debug)]
enum RunData {
    /// As it was written.
    Shared(Bytes),
    /// Several writes.
    Gathered(PieceBuffer),
}

/// A piece on its way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) start: u64,
    pub(super) data: Bytes,
    /// The oldest write in it.
    seq: WriteSeq,
}

/// The runs and flights of one file.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    runs: BTreeMap<u64, Run>,
    /// The same runs by their oldest write.
    by_age: BTreeSet<(WriteSeq, u64)>,
    /// Those of them that are worth sending now.
    full: BTreeSet<u64>,
    flights: BTreeMap<u64, Flight>,
    flights_by_age: BTreeSet<(WriteSeq, u64)>,
    flight_bytes: usize,
    /// The last write.
    seq: WriteSeq,
    /// Writes up to this one are to be sent, full or not.
    push_until: WriteSeq,
    charged: usize,
}

impl Pieces {
    /// The most that [`Self::write`] of `len` bytes can add to [`Self::charged`].
    pub(super) fn most_charge(len: usize) -> usize {
        len + (len / MAX_PIECE_BYTES + 2) * MIN_CHARGE_BYTES
    }

    /// Bytes of the budget that this takes up.
    pub(super) fn charged(&self) -> usize {
        self.charged
    }

    /// The number of the last write.
    pub(super) fn last_seq(&self) -> WriteSeq {
        self.seq
    }

    /// The oldest write of which something is not acknowledged.
    pub(super) fn oldest(&self) -> Option<WriteSeq> {
        let first = |set: &BTreeSet<(WriteSeq, u64)>| set.first().map(|(seq, _)| *seq);
        [first(&self.by_age), first(&self.flights_by_age)].into_iter().flatten().min()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.flights.is_empty()
    }

    /// Where the flights begin.
    pub(super) fn flights(&self) -> impl Iterator<Item = u64> + '_ {
        self.flights.keys().copied()
    }

    /// End of the last byte.
    pub(super) fn end(&self) -> Option<u64> {
        let run = self.runs.last_key_value().map(|(start, run)| start + run.data.len() as u64);
        let flight = self.flights.last_key_value().map(|(start, flight)| start + flight.data.len() as u64);
        run.max(flight)
    }

    /// The first byte at or after `offset`.
    pub(super) fn first_from(&self, offset: u64) -> Option<u64> {
        fn first<V>(map: &BTreeMap<u64, V>, offset: u64, len: impl Fn(&V) -> usize) -> Option<u64> {
            let over = map.range(..=offset).next_back().filter(|(start, v)| **start + len(v) as u64 > offset);
            over.map(|_| offset).or_else(|| map.range(offset..).next().map(|(start, _)| *start))
        }
        let run = first(&self.runs, offset, |run| run.data.len());
        let flight = first(&self.flights, offset, |flight| flight.data.len());
        [run, flight].into_iter().flatten().min()
    }

    /// Takes a write in. Answers its number.
    pub(super) fn write(&mut self, offset: u64, data: Bytes) -> WriteSeq {
        self.seq += 1;
        for part in split(offset, data.len()) {
            self.absorb(part.start, clip(offset, &data, &part).1, self.seq);
        }
        self.seq
    }

    /// Counts a change that goes past the buffer.
    pub(super) fn count_change(&mut self) -> WriteSeq {
        self.seq += 1;
        self.seq
    }

    /// Puts bytes that were acknowledged before under what has been written since, to be sent again. They count as older than
    /// everything.
    pub(super) fn put_under(&mut self, start: u64, data: &Bytes) {
        let range = start..start + data.len() as u64;
        let mut above = Parts::new();
        self.parts(&range, &mut above);
        for gap in view::gaps(&range, &above) {
            for part in split(gap.start, (gap.end - gap.start) as usize) {
                self.absorb(part.start, clip(start, data, &part).1, 0);
            }
        }
    }

    /// Everything written so far is to be sent, full or not.
    pub(super) fn push_all(&mut self) -> WriteSeq {
        self.push_until = self.seq;
        self.seq
    }

    /// Nothing is on its way, and nothing is to be sent.
    pub(super) fn is_at_rest(&self) -> bool {
        let pushed = self.by_age.first().is_some_and(|(seq, _)| *seq <= self.push_until);
        self.flights.is_empty() && self.full.is_empty() && !pushed
    }

    /// Takes the next run to be sent off the ground, if there is one and the limits allow it.
    pub(super) fn take_off(&mut self, max_flights: usize, max_bytes: usize) -> Option<Flight> {
        if self.flights.len() >= max_flights || self.flight_bytes >= max_bytes {
            return None;
        }
        let start = self.next_in_line()?;
        let run = self.remove_run(start);
        let flight = Flight { start, seq: run.seq, data: run.data.freeze() };
        self.charged += charge(flight.data.len());
        self.flight_bytes += flight.data.len();
        self.flights_by_age.insert((flight.seq, start));
        self.flights.insert(start, flight.clone());
        Some(flight)
    }

    /// As [`Self::take_off`], if it is all there is.
    pub(super) fn take_off_alone(&mut self) -> Option<Flight> {
        let alone = self.flights.is_empty() && self.runs.len() == 1;
        if alone { self.take_off(1, usize::MAX) } else { None }
    }

    /// The flight from `start` has ended, one way or the other.
    pub(super) fn land(&mut self, start: u64) -> Flight {
        let flight = self.flights.remove(&start).expect("a flight lands once");
        self.flights_by_age.remove(&(flight.seq, start));
        self.flight_bytes -= flight.data.len();
        self.charged -= charge(flight.data.len());
        flight
    }

    /// Forgets what has not been sent.
    pub(super) fn discard_runs(&mut self) {
        let lost: usize = self.runs.values().map(|run| charge(run.data.len())).sum();
        self.charged -= lost;
        self.runs.clear();
        self.by_age.clear();
        self.full.clear();
    }

    /// Appends what lies in `range` to `parts`, cut to it, newer bytes after older ones.
    pub(super) fn parts(&self, range: &Range<u64>, parts: &mut Parts) {
        let touching = |start: u64, len: usize| start < range.end && start + len as u64 > range.start;
        let from = range.start.saturating_sub(SLOT_BYTES);
        for (start, flight) in self.flights.range(from..range.end) {
            if touching(*start, flight.data.len()) {
                parts.push(clip(*start, &flight.data, range));
            }
        }
        for (start, run) in self.runs.range(from..range.end) {
            if touching(*start, run.data.len()) {
                parts.push(run.data.clip(*start, range));
            }
        }
    }

    /// Lays `data`, within one slot, over the runs there, and joins it with those that it touches.
    fn absorb(&mut self, start: u64, data: Bytes, seq: WriteSeq) {
        let end = start + data.len() as u64;
        let slot = start - start % SLOT_BYTES;
        let mut touched = Vec::new();
        if let Some((before, run)) = self.runs.range(slot..start).next_back()
            && before + run.data.len() as u64 >= start
        {
            touched.push(*before);
        }
        // A run that begins where this one ends is joined, unless the next slot begins there.
        let joined_to = if end == slot + SLOT_BYTES { end - 1 } else { end };
        touched.extend(self.runs.range(start..=joined_to).map(|(at, _)| *at));

        let mut joined = Run { data: RunData::Shared(data.clone()), seq };
        let mut joined_start = start;
        for at in touched {
            let old = self.remove_run(at);
            let old_end = at + old.data.len() as u64;
            joined.seq = joined.seq.min(old.seq);
            if at < start {
                // The only one that begins before: it comes first, and everything else goes on top of it.
                let mut buffer = old.data.into_buffer();
                buffer.write((start - at) as usize, &data);
                joined = Run { data: RunData::Gathered(buffer), seq: joined.seq };
                joined_start = at;
            } else if old_end > end {
                let mut buffer = joined.data.into_buffer();
                buffer.write(buffer.len(), &old.data.as_slice()[(end - at) as usize..]);
                joined = Run { data: RunData::Gathered(buffer), seq: joined.seq };
            }
        }
        self.insert_run(joined_start, joined);
    }

    fn insert_run(&mut self, start: u64, run: Run) {
        let len = run.data.len();
        self.charged += charge(len);
        self.by_age.insert((run.seq, start));
        if (start + len as u64).is_multiple_of(SLOT_BYTES) && len >= WORTH_SENDING_BYTES {
            self.full.insert(start);
        }
        self.runs.insert(start, run);
    }

    fn remove_run(&mut self, start: u64) -> Run {
        let run = self.runs.remove(&start).expect("it was just found there");
        self.by_age.remove(&(run.seq, start));
        self.full.remove(&start);
        self.charged -= charge(run.data.len());
        run
    }

    fn next_in_line(&self) -> Option<u64> {
        let pushed = self.by_age.iter().take_while(|(seq, _)| *seq <= self.push_until).map(|(_, start)| start);
        let mut line = pushed.take(MAX_LOOKED_AT).chain(self.full.iter().take(MAX_LOOKED_AT));
        line.find(|start| self.is_clear(**start)).copied()
    }

    /// No flight shares a block with the run.
    fn is_clear(&self, start: u64) -> bool {
        let block = BLOCK_SIZE as u64;
        let from = start - start % block;
        let to = (start + self.runs[&start].data.len() as u64).next_multiple_of(block);
        let before = self.flights.range(..to).next_back();
        before.is_none_or(|(at, flight)| (at + flight.data.len() as u64).next_multiple_of(block) <= from)
    }
}

impl RunData {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Shared(data) => data,
            Self::Gathered(buffer) => buffer.as_slice(),
        }
    }

    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn into_buffer(self) -> PieceBuffer {
        match self {
            Self::Shared(data) => {
                let mut buffer = PieceBuffer::default();
                buffer.write(0, &data);
                buffer
            }
            Self::Gathered(buffer) => buffer,
        }
    }

    fn freeze(self) -> Bytes {
        match self {
            Self::Shared(data) => data,
            Self::Gathered(buffer) => buffer.freeze(),
        }
    }

    /// A run that still changes is copied.
    fn clip(&self, start: u64, range: &Range<u64>) -> (u64, Bytes) {
        match self {
            Self::Shared(data) => clip(start, data, range),
            Self::Gathered(buffer) => {
                let from = start.max(range.start);
                let to = (start + buffer.len() as u64).min(range.end);
                (from, Bytes::copy_from_slice(&buffer.as_slice()[(from - start) as usize..(to - start) as usize]))
            }
        }
    }
}

/// `[offset, offset + len)` cut at slots.
fn split(offset: u64, len: usize) -> impl Iterator<Item = Range<u64>> {
    let end = offset + len as u64;
    let mut at = offset;
    std::iter::from_fn(move || {
        let start = at;
        at = end.min((start / SLOT_BYTES + 1) * SLOT_BYTES);
        (start < end).then_some(start..at)
    })
}

fn charge(len: usize) -> usize {
    len.max(MIN_CHARGE_BYTES)
}

#[cfg(test)]
mod tests;
