//! Who reads a file sequentially, and how far to be ahead of him. Pure: no I/O, no time.

use std::ops::Range;

/// Sequential readers of one file that are told apart.
const MAX_STREAMS: usize = 8;

/// A read that begins so many bytes after the last one still continues it: the kernel's own read-ahead comes out of order.
const SKIP_BYTES: u64 = 512 << 10;

/// Smallest and largest distance to begin with; in between, four times the first read.
const FIRST_WINDOW_BYTES: Range<u64> = 64 << 10..1 << 20;

/// New distance is asked for in portions of at least this, unless the window is smaller.
const PORTION_BYTES: u64 = 1 << 20;

/// The readers of one file.
#[derive(Debug)]
pub(super) struct Streams {
    most: u64,
    /// The most recently active last.
    streams: Vec<Stream>,
}

#[derive(Debug)]
struct Stream {
    /// Where the next read begins if it is sequential.
    next: u64,
    /// How far to be ahead of it; 0 until a second read has shown that there is a pattern.
    window: u64,
    /// Asked for up to here.
    until: u64,
}

impl Streams {
    /// `most`: bytes to be ahead of a reader at most.
    pub(super) fn new(most: u64) -> Self {
        Self { most, streams: Vec::new() }
    }

    /// `len` bytes are read at `offset` of a file of `size` bytes. Answers what to fetch ahead.
    pub(super) fn read(&mut self, offset: u64, len: u64, size: u64) -> Option<Range<u64>> {
        let end = offset + len;
        let mut stream = match self.streams.iter().position(|stream| stream.continues(offset)) {
            Some(at) => {
                let mut stream = self.streams.remove(at);
                stream.advance(offset, end, self.most);
                stream
            }
            None => Stream::begin(offset, end, self.most),
        };
        let ahead = stream.ahead(size);
        if self.streams.len() >= MAX_STREAMS {
            self.streams.remove(0);
        }
        self.streams.push(stream);
        ahead
    }
}

impl Stream {
    fn begin(offset: u64, end: u64, most: u64) -> Self {
        // Whoever begins at the start mostly goes on.
        let window = if offset == 0 { first_window(end).min(most) } else { 0 };
        Self { next: end, window, until: end }
    }

    /// Reads again a little before `next` (the kernel's, of a page at the seam) continue it too.
    fn continues(&self, offset: u64) -> bool {
        offset + 4096 >= self.next && offset <= self.next + SKIP_BYTES
            || offset < self.next && self.window > 0 && offset + SKIP_BYTES >= self.next
    }

    fn advance(&mut self, offset: u64, end: u64, most: u64) {
        if end > self.next {
            let grown = if self.window == 0 { first_window(end - offset) } else { self.window * 2 };
            self.window = grown.min(most);
            self.next = end;
        }
    }

    fn ahead(&mut self, size: u64) -> Option<Range<u64>> {
        let from = self.until.max(self.next);
        let mut to = (self.next + self.window).min(size);
        if to < size && !to.is_multiple_of(PORTION_BYTES) && self.window >= 2 * PORTION_BYTES {
            to -= to % PORTION_BYTES;
        }
        let portion = PORTION_BYTES.min(self.window / 2).max(1);
        if to <= from || (to < size && to - from < portion) {
            return None;
        }
        self.until = to;
        Some(from..to)
    }
}

fn first_window(read: u64) -> u64 {
    (4 * read).clamp(FIRST_WINDOW_BYTES.start, FIRST_WINDOW_BYTES.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: u64 = 1 << 10;
    const M: u64 = 1 << 20;

    #[test]
    fn grows_with_a_sequential_reader_and_asks_for_nothing_twice() {
        let mut streams = Streams::new(8 * M);
        let mut asked = 0;
        let mut ahead = 0;
        for i in 0..400 {
            let at = i * 128 * K;
            if let Some(range) = streams.read(at, 128 * K, 100 * M) {
                assert_eq!(range.start, asked.max(at + 128 * K), "gapless");
                asked = range.end;
            }
            ahead = asked - (at + 128 * K);
            assert!(ahead <= 8 * M);
        }
        assert!(ahead >= 6 * M, "{ahead}");
    }

    #[test]
    fn stops_at_the_end() {
        let mut streams = Streams::new(8 * M);
        assert_eq!(streams.read(0, 4 * K, 10 * K), Some(4 * K..10 * K));
        assert_eq!(streams.read(4 * K, 6 * K, 10 * K), None);
    }

    #[test]
    fn leaves_random_readers_alone() {
        let mut streams = Streams::new(8 * M);
        for i in 1..200u64 {
            let at = i * 7919 * 4 * K % (1 << 40);
            assert_eq!(streams.read(at, 4 * K, 1 << 40), None);
        }
    }

    #[test]
    fn tells_readers_apart() {
        let mut streams = Streams::new(8 * M);
        let mut asked = [0; 3];
        for i in 0..50 {
            for (reader, asked) in asked.iter_mut().enumerate() {
                let at = reader as u64 * 1000 * M + i * 64 * K;
                if let Some(range) = streams.read(at, 64 * K, 1 << 40) {
                    *asked += range.end - range.start;
                }
            }
        }
        assert!(asked.iter().all(|asked| *asked >= 4 * M), "{asked:?}");
    }

    #[test]
    fn tolerates_reads_out_of_order() {
        let mut streams = Streams::new(8 * M);
        streams.read(0, 128 * K, 1 << 40);
        let mut fetched = 0;
        for i in 0..100 {
            for at in [(4 * i + 2), (4 * i + 1), (4 * i + 4), (4 * i + 3)] {
                if let Some(range) = streams.read(at * 128 * K, 128 * K, 1 << 40) {
                    fetched += range.end - range.start;
                }
            }
        }
        assert!(fetched >= 45 * M, "{fetched}");
    }
}
