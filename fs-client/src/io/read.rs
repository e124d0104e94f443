//! Reading: from the layers of a file, and what none of them has from the chunkservers.

use std::ops::Range;

use bytes::Bytes;
use cairn_proto::chunk::BLOCK_SIZE;
use tokio::sync::watch;

use super::error::IoError;
use super::fetches::Fetched;
use super::file::{FileIo, FileState};
use super::pieces::SLOT_BYTES;
use super::runs::Parts;
use super::view;

/// Fetches end without a result only when the runtime goes down under them.
const MAX_ROUNDS: u32 = 3;

/// A fetch that somebody waits for.
type Waiting = (Range<u64>, watch::Receiver<Fetched>);

impl FileIo {
    /// Reads if everything is here, without waiting for anything. Short at the end of the file.
    pub fn try_read(&self, offset: u64, len: u32) -> Option<Bytes> {
        let (range, parts) = {
            let mut state = self.state.lock();
            let range = readable(&state, offset, len);
            let mut parts = self.cached(&range);
            state.written(&range, &mut parts);
            if !view::gaps(&range, &parts).is_empty() {
                return None;
            }
            self.read_ahead(&mut state, &range);
            (range, parts)
        };
        Some(view::flatten(&range, &parts))
    }

    /// Reads. Short at the end of the file.
    pub async fn read(&self, offset: u64, len: u32) -> Result<Bytes, IoError> {
        for _ in 0..MAX_ROUNDS {
            let (range, mut below, above, waiting) = self.plan(offset, len);
            if waiting.is_empty() {
                below.extend(above);
                return Ok(view::flatten(&range, &below));
            }
            if !collect(waiting, &mut below).await? {
                continue;
            }
            // What was written before this read began is in `above`, even if it has been let go since. What was written during
            // it may be seen or not; where it is still to be had it is newer than anything fetched.
            let mut parts = below;
            parts.extend(above);
            self.state.lock().written(&range, &mut parts);
            return Ok(view::flatten(&range, &parts));
        }
        Err(IoError::Closed)
    }

    /// Under one lock: what is here, and what is missing is on its way.
    fn plan(&self, offset: u64, len: u32) -> (Range<u64>, Parts, Parts, Vec<Waiting>) {
        let mut state = self.state.lock();
        let range = readable(&state, offset, len);
        let below = self.cached(&range);
        let mut above = Parts::new();
        state.written(&range, &mut above);
        let mut all = below.clone();
        all.extend(above.iter().cloned());
        let mut waiting = Vec::new();
        for gap in view::gaps(&range, &all) {
            self.fetch_gap(&mut state, gap, &mut waiting);
        }
        self.read_ahead(&mut state, &range);
        (range, below, above, waiting)
    }

    /// Joins the fetches that bring some of `gap`, and begins others for the rest.
    fn fetch_gap(&self, state: &mut FileState, gap: Range<u64>, waiting: &mut Vec<Waiting>) {
        let mut at = gap.start;
        for (range, result) in state.fetches.overlapping(&gap) {
            if range.end <= at {
                continue;
            }
            if range.start > at {
                self.fetch_new(state, at..range.start, waiting);
            }
            at = range.end;
            waiting.push((range, result));
        }
        if at < gap.end {
            self.fetch_new(state, at..gap.end, waiting);
        }
    }

    fn fetch_new(&self, state: &mut FileState, range: Range<u64>, waiting: &mut Vec<Waiting>) {
        for part in blocks_by_slot(&range) {
            let result = self.begin_fetch(state, part.clone(), None);
            waiting.push((part, result));
        }
    }

    /// Fetches what a sequential reader will want next, as far as there is room for it.
    fn read_ahead(&self, state: &mut FileState, range: &Range<u64>) {
        if range.is_empty() {
            return;
        }
        let size = state.size;
        let Some(ahead) = state.streams.read(range.start, range.end - range.start, size) else { return };
        for slot in blocks_by_slot(&ahead) {
            let mut here = self.cached(&slot);
            state.written(&slot, &mut here);
            for (range, _) in state.fetches.overlapping(&slot) {
                here.push((range.start, view::zeros((range.end - range.start) as usize)));
            }
            for gap in view::gaps(&slot, &here) {
                let Ok(permit) = self.shared.read_ahead.clone().try_acquire_owned() else { return };
                // The gap is within the slot, so this is all of it.
                if let Some(part) = blocks_by_slot(&gap).next() {
                    self.begin_fetch(state, part, Some(permit));
                }
            }
        }
    }

    fn cached(&self, range: &Range<u64>) -> Parts {
        let mut parts = Parts::new();
        if !range.is_empty() {
            self.shared.cache.parts(self.inode, range, &mut parts);
        }
        parts
    }
}

impl FileState {
    /// Appends what this mount has written and not let go, newer bytes after older ones.
    pub(super) fn written(&self, range: &Range<u64>, parts: &mut Parts) {
        self.acks.parts(range, parts);
        self.pieces.parts(range, parts);
    }
}

fn readable(state: &FileState, offset: u64, len: u32) -> Range<u64> {
    let end = offset.saturating_add(u64::from(len)).min(state.size);
    offset.min(end)..end
}

/// Waits for fetches. `false`: one of them was given up, so something is still missing.
async fn collect(waiting: Vec<Waiting>, parts: &mut Parts) -> Result<bool, IoError> {
    for (_, mut result) in waiting {
        let Ok(fetched) = result.wait_for(Option::is_some).await else { return Ok(false) };
        match &*fetched {
            Some(Ok(fetched)) => parts.extend(fetched.iter().cloned()),
            Some(Err(error)) => return Err(error.clone()),
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// `range` in whole blocks, cut at slots.
fn blocks_by_slot(range: &Range<u64>) -> impl Iterator<Item = Range<u64>> + use<> {
    let block = BLOCK_SIZE as u64;
    let mut at = range.start - range.start % block;
    let end = range.end.next_multiple_of(block);
    std::iter::from_fn(move || {
        let start = at;
        at = end.min((start / SLOT_BYTES + 1) * SLOT_BYTES);
        (start < end).then_some(start..at)
    })
}
