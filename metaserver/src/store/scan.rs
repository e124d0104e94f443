//! Ordered scans that fetch their pages as they are read.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Pair, Read, StoreError};

/// Pairs in the first page of a scan: most scans ask only whether there is anything at all.
const FIRST_PAGE: usize = 8;

/// Pairs in the largest page of a scan.
const LARGEST_PAGE: usize = 1024;

/// Iterates over `start..end` of `read`, a page at a time.
pub fn scan<'a>(read: &'a dyn Read, start: &[u8], end: &[u8]) -> Scan<'a> {
    Scan {
        read,
        next: Bytes::copy_from_slice(start),
        end: Bytes::copy_from_slice(end),
        page: VecDeque::new(),
        page_size: FIRST_PAGE,
        exhausted: start >= end,
    }
}

/// The first key that is greater than every key with this prefix; empty where there is none (`prefix` is all `0xff`).
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let keep = prefix.iter().rposition(|&byte| byte != 0xff).map_or(0, |last| last + 1);
    let mut end = prefix[..keep].to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// A lazy scan; see [`scan`]. After an error it ends.
pub struct Scan<'a> {
    read: &'a dyn Read,
    /// Where the next page begins.
    next: Bytes,
    end: Bytes,
    page: VecDeque<Pair>,
    page_size: usize,
    exhausted: bool,
}

impl Scan<'_> {
    fn fetch(&mut self) -> Result<(), StoreError> {
        let page = self.read.scan_page(&self.next, &self.end, self.page_size)?;
        self.exhausted = page.len() < self.page_size;
        if let Some((last, _)) = page.last() {
            self.next = successor(last);
        }
        self.page_size = (self.page_size * 4).min(LARGEST_PAGE);
        self.page = page.into();
        Ok(())
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<Pair, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty()
            && !self.exhausted
            && let Err(error) = self.fetch()
        {
            self.exhausted = true;
            return Some(Err(error));
        }
        self.page.pop_front().map(Ok)
    }
}

impl std::fmt::Debug for Scan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan").field("next", &self.next).field("end", &self.end).finish_non_exhaustive()
    }
}

/// The least key that is greater than `key`.
pub(super) fn successor(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}
