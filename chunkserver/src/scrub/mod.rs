//! The scrub: every block of every copy here is read from the disk once in a period and compared with its sum, so that damage is found
//! while there is a good copy to repair it from, and not by the reader who needs it.
//!
//! A pass goes through the chunks in the order of their handles, in pieces of at most a megabyte, and rests after each of them as long
//! as it takes to fill its period ([`pace`]): longer while clients have requests here. How far it is stands in a small file on each disk
//! ([`progress`]), so that a restart does not begin it anew. What it finds goes the way of all damage: logged, counted, and told to
//! the metaservers, which have the copy made anew from a good one.
//!
//! An operator can have a pass begin at once, at full speed or a given one ([`Scrub::order`]).

mod pace;
mod progress;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use cairn_proto::chunk::BLOCK_SIZE;
use cairn_proto::error::ChunkError;
use cairn_proto::ids::ChunkHandle;
use cairn_proto::scrub::{ScrubOrder, ScrubPass, ScrubStatus, ScrubbedAll};
use cairn_proto::time::Timestamp;
use cairn_runtime::clock::Clock;
use cairn_runtime::worker::{WorkError, WorkState, Worker};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::load::Load;
use crate::store::Store;
use pace::{Goal, Pacing, Speed};
use progress::{Pass, Progress};

/// Chunks whose turn is known ahead at most.
const QUEUE_CHUNKS: usize = 1024;
/// How much work a restart repeats at most.
const SAVE_EVERY: Duration = Duration::from_secs(30);
/// Between two looks whether a pass is due.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// How the scrub is told what to do, and says how far it is. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Scrub(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    status: Mutex<ScrubStatus>,
    /// The last one that was not begun yet.
    order: Mutex<Option<ScrubOrder>>,
    ordered: Notify,
}

impl Scrub {
    /// A pass begins now, whatever pass is under way.
    pub fn order(&self, order: ScrubOrder) {
        *self.0.order.lock() = Some(order);
        self.0.ordered.notify_one();
    }

    pub fn status(&self) -> ScrubStatus {
        *self.0.status.lock()
    }
}

/// The worker that does it.
#[derive(Debug)]
pub struct ScrubWorker {
    store: Store,
    load: Load,
    scrub: Scrub,
    /// `None`: passes begin by order only.
    period: Option<Duration>,
    clock: Arc<dyn Clock>,
    /// As far as it was read; `None` before the first unit of work.
    progress: Option<Progress>,
    /// When it was saved last.
    saved: Duration,
    turns: Turns,
    speed: Speed,
}

/// What comes next in a pass.
#[derive(Debug, Default)]
struct Turns {
    chunks: VecDeque<ChunkHandle>,
    /// The chunk that is being read, and what is left of it.
    reading: Option<(ChunkHandle, VecDeque<Range<u32>>)>,
    /// Bytes that are left to read, as far as is known.
    left: u64,
}

impl ScrubWorker {
    /// Keeps its progress on the store's disks.
    pub fn new(store: Store, load: Load, scrub: Scrub, period: Option<Duration>, clock: Arc<dyn Clock>) -> Self {
        let saved = clock.monotonic();
        let (turns, speed) = (Turns::default(), Speed::new(saved));
        Self { store, load, scrub, period, clock, progress: None, saved, turns, speed }
    }

    fn now(&self) -> Timestamp {
        self.clock.wall().into()
    }

    /// Begins what is to begin. Answers the pass under way, or how long there is none.
    fn pass_or_wait(&mut self, progress: &mut Progress) -> Result<Pass, Duration> {
        let now = self.now();
        let order = self.scrub.0.order.lock().take();
        if let Some(order) = order {
            tracing::info!(bytes_per_s = order.bytes_per_s, "a scrub begins: somebody wants it");
            return Ok(self.begin(progress, Pass::new(now, Some(order))));
        }
        if let Some(pass) = progress.pass {
            return Ok(pass);
        }
        match self.next(progress) {
            Some(due) if due > now => Err(due.saturating_since(now).min(LONGEST_WAIT)),
            Some(_) => Ok(self.begin(progress, Pass::new(now, None))),
            None => Err(LONGEST_WAIT),
        }
    }

    /// When a pass begins by itself.
    fn next(&self, progress: &Progress) -> Option<Timestamp> {
        let period = self.period?;
        match progress.last {
            Some(last) if last.began <= self.now() => Some(last.began.saturating_add(period)),
            // The clock was set back: nobody knows how long ago it was.
            Some(_) | None => Some(Timestamp::default()),
        }
    }

    fn begin(&mut self, progress: &mut Progress, pass: Pass) -> Pass {
        self.turns = Turns::default();
        self.speed = Speed::new(self.clock.monotonic());
        // One that did not come to its end found what it found.
        progress.damaged += progress.pass.map_or(0, |before| before.damaged);
        progress.pass = Some(pass);
        pass
    }

    /// What is to be read next, `None` at the end of the pass.
    async fn next_piece(&mut self, pass: &mut Pass) -> Option<(ChunkHandle, Range<u32>)> {
        loop {
            if let Some((handle, pieces)) = &mut self.turns.reading {
                if let Some(piece) = pieces.pop_front() {
                    return Some((*handle, piece));
                }
                pass.after = *handle;
                self.turns.reading = None;
            }
            if self.turns.chunks.is_empty() {
                let (chunks, left) = self.store.chunks_after(pass.after, QUEUE_CHUNKS);
                (self.turns.chunks, self.turns.left) = (chunks.into(), left);
            }
            let handle = self.turns.chunks.pop_front()?;
            match self.store.pieces(handle).await {
                Ok(pieces) => self.turns.reading = Some((handle, pieces.into())),
                Err(error) => self.pass_over(pass, handle, &error),
            }
        }
    }

    /// A chunk that cannot be read at all, or is gone.
    fn pass_over(&mut self, pass: &mut Pass, handle: ChunkHandle, error: &ChunkError) {
        if !matches!(error, ChunkError::NotFound(_)) {
            tracing::debug!(chunk = handle.0, %error, "a copy cannot be scrubbed");
            pass.damaged += 1;
            self.store.note_unreadable(handle);
        }
        pass.after = handle;
        self.turns.reading = None;
    }

    /// Reads a piece. Answers its bytes.
    async fn verify(&mut self, pass: &mut Pass, handle: ChunkHandle, blocks: Range<u32>) -> u64 {
        let bytes = blocks.len() as u64 * BLOCK_SIZE as u64;
        match self.store.verify_blocks(handle, blocks).await {
            Ok(wrong) => pass.damaged += wrong.len() as u64,
            Err(error) => self.pass_over(pass, handle, &error),
        }
        pass.verified += bytes;
        self.turns.left = self.turns.left.saturating_sub(bytes);
        bytes
    }

    /// A pass went over everything.
    fn end(&mut self, progress: &mut Progress, pass: Pass) {
        let (ended, Pass { began, verified, damaged, .. }) = (self.now(), pass);
        progress.damaged += damaged;
        progress.last = Some(ScrubbedAll { began, ended, verified, damaged });
        progress.pass = None;
        tracing::info!(bytes = verified, damaged_blocks = damaged, "a scrub has gone over all copies");
    }

    fn goal(&self, pass: &Pass) -> Goal {
        match (pass.order, self.period) {
            (Some(order), _) => Goal::AtOnce { bytes_per_s: order.bytes_per_s },
            (None, Some(period)) => {
                let now = self.now();
                let ends = if pass.began <= now { pass.began.saturating_add(period) } else { now };
                Goal::Within { time_left: ends.saturating_since(now), period }
            }
            // It was begun when there was a period.
            (None, None) => Goal::AtOnce { bytes_per_s: None },
        }
    }

    /// Bytes of the whole pass, as far as is known.
    fn all(&self, pass: &Pass) -> u64 {
        pass.verified.saturating_add(self.turns.left)
    }

    fn publish(&self, progress: &Progress) {
        let pass = progress.pass.map(|pass| {
            let rate = self.speed.now(self.clock.monotonic());
            let ends =
                self.now().saturating_add(pace::time_left(self.goal(&pass), self.turns.left, self.all(&pass), rate));
            let Pass { began, verified, damaged, order, .. } = pass;
            ScrubPass { began, ends, verified, left: self.turns.left, damaged, rate, ordered: order.is_some() }
        });
        let next = if pass.is_some() { None } else { self.next(progress) };
        let damaged = progress.damaged + pass.map_or(0, |pass| pass.damaged);
        *self.scrub.0.status.lock() = ScrubStatus { pass, last: progress.last, next, damaged };
    }

    /// One step. The progress is as it is to be kept; whether it is to be at once is answered, too.
    async fn step(&mut self, progress: &mut Progress) -> (WorkState, bool) {
        let before = progress.pass.map(|pass| pass.began);
        let mut pass = match self.pass_or_wait(progress) {
            Ok(pass) => pass,
            Err(wait) => return (WorkState::Wait(wait), false),
        };
        let began = self.clock.monotonic();
        let Some((handle, blocks)) = self.next_piece(&mut pass).await else {
            self.end(progress, pass);
            return (WorkState::Busy { cost: 0 }, true);
        };
        let bytes = self.verify(&mut pass, handle, blocks).await;
        let now = self.clock.monotonic();
        self.speed.add(bytes, now);
        let (left, all) = (self.turns.left, self.all(&pass));
        let pacing = Pacing { left, all, took: now.saturating_sub(began), busy: self.load.now() > 0 };
        let pause = pace::pause(bytes, self.goal(&pass), pacing);
        progress.pass = Some(pass);
        let state = if pause.is_zero() { WorkState::Busy { cost: bytes } } else { WorkState::Wait(pause) };
        (state, before != Some(pass.began))
    }
}

impl Worker for ScrubWorker {
    fn name(&self) -> String {
        "scrub".to_owned()
    }

    /// Its cost is in bytes read.
    async fn work(&mut self) -> Result<WorkState, WorkError> {
        let mut progress = match self.progress.take() {
            Some(progress) => progress,
            None => Progress::load(&self.store.scrub_files()),
        };
        let (state, must_save) = self.step(&mut progress).await;
        self.publish(&progress);
        let is_time = self.clock.monotonic().saturating_sub(self.saved) >= SAVE_EVERY;
        let saved = match must_save || is_time && progress.pass.is_some() {
            true => progress.save(&self.store.scrub_files()),
            false => Ok(()),
        };
        if must_save || is_time {
            self.saved = self.clock.monotonic();
        }
        self.progress = Some(progress);
        saved?;
        Ok(state)
    }

    async fn wait(&mut self) {
        self.scrub.0.ordered.notified().await;
    }
}
