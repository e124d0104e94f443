//! Bytes that can be recomputed: what a test wrote is known from its seed alone.

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

/// `len` pseudo-random bytes, the same for the same `seed`.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    StdRng::seed_from_u64(seed).fill_bytes(&mut out);
    out
}

/// The seed of a randomised test: `$CAIRN_SEED`, or a fresh one; printed either way, so that a failure can be replayed.
pub fn seed(test: &str) -> u64 {
    let seed = match std::env::var("CAIRN_SEED") {
        Ok(text) => text.parse().expect("CAIRN_SEED is a number"),
        Err(_) => rand::random(),
    };
    println!("{test}: seed {seed} (replay with CAIRN_SEED={seed})");
    seed
}
