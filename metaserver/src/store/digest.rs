//! A digest of the whole keyspace that every commit can bring up to date.
//!
//! It is the sum, modulo 2^128, of a hash of every pair: independent of order, and changed by a write in constant time
//! (subtract the old pair, add the new one). Two stores with the same digest hold the same pairs, save for an accident of
//! one in 2^64 or so; it guards against damage, not against somebody who forges pairs.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

/// Sum of the hashes of all pairs, and their number.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    pub sum: u128,
    pub pairs: u64,
}

impl Digest {
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        self.sum = self.sum.wrapping_add(hash(key, value));
        self.pairs = self.pairs.wrapping_add(1);
    }

    pub fn subtract(&mut self, key: &[u8], value: &[u8]) {
        self.sum = self.sum.wrapping_sub(hash(key, value));
        self.pairs = self.pairs.wrapping_sub(1);
    }
}

fn hash(key: &[u8], value: &[u8]) -> u128 {
    xxh3_128_with_seed(value, xxh3_64(key))
}
