//! Inode numbers set aside for what this mount creates.

use std::collections::VecDeque;
use std::ops::Range;

use cairn_proto::ids::InodeId;
use cairn_proto::meta::InodeRange;

/// Numbers asked for at a time.
pub(super) const BATCH: u32 = 4096;
/// With fewer left more are asked for.
const LOW: u64 = 2048;

#[derive(Debug, Default)]
pub(super) struct Numbers {
    ranges: VecDeque<Range<u64>>,
    asked: bool,
}

impl Numbers {
    pub fn next(&mut self) -> Option<InodeId> {
        while let Some(range) = self.ranges.front_mut() {
            if let Some(number) = range.next() {
                return Some(InodeId(number));
            }
            self.ranges.pop_front();
        }
        None
    }

    /// Whether to ask for more now; then the answer is to be given to [`Self::add`].
    pub fn wants_more(&mut self) -> bool {
        let left: u64 = self.ranges.iter().map(|range| range.end - range.start).sum();
        let wants = left < LOW && !self.asked;
        self.asked |= wants;
        wants
    }

    pub fn add(&mut self, range: Option<InodeRange>) {
        self.asked = false;
        if let Some(InodeRange { first, count }) = range {
            self.ranges.push_back(first.0..first.0.saturating_add(u64::from(count)));
        }
    }
}
