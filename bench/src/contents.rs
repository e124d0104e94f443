//! Bytes to write, and the check that they came back.
//!
//! Random, as zeros are skipped and repetition is squeezed out by some of the peers; and stamped, so that a block
//! that turns up in another place is noticed without comparing every byte inside of a measured loop.

use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

use crate::error::BenchError;

/// Bytes of one block of a stream, and of one write.
pub const BLOCK_BYTES: usize = 1 << 20;

const STAMP_BYTES: usize = 8;

/// A block of random bytes, the same in every run.
#[derive(Debug, Clone)]
pub struct Contents {
    block: Vec<u8>,
}

impl Contents {
    pub fn new(bytes: usize) -> Self {
        let mut block = vec![0; bytes.max(STAMP_BYTES)];
        StdRng::seed_from_u64(bytes as u64).fill_bytes(&mut block);
        Self { block }
    }

    /// The block, marked as number `stamp`.
    pub fn stamped(&mut self, stamp: u64) -> &[u8] {
        self.block[..STAMP_BYTES].copy_from_slice(&stamp.to_le_bytes());
        &self.block
    }

    /// Whether `found` is as long as a block, carries `stamp`, and ends as blocks do.
    pub fn check(&self, found: &[u8], stamp: u64, path: &Path, offset: u64) -> Result<(), BenchError> {
        let same = found.len() == self.block.len()
            && found[..STAMP_BYTES] == stamp.to_le_bytes()
            && found[found.len() - 1] == self.block[self.block.len() - 1];
        if same { Ok(()) } else { Err(BenchError::WrongContents { path: path.to_owned(), offset }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_recognised_by_stamp_length_and_end() {
        let mut contents = Contents::new(4096);
        let block = contents.stamped(7).to_vec();
        let path = Path::new("file");
        assert!(contents.check(&block, 7, path, 0).is_ok());
        assert!(contents.check(&block, 8, path, 0).is_err());
        assert!(contents.check(&block[..4095], 7, path, 0).is_err());
        let mut damaged = block.clone();
        damaged[4095] ^= 1;
        assert!(contents.check(&damaged, 7, path, 0).is_err());
    }

    #[test]
    fn blocks_are_random_and_the_same_in_every_run() {
        let first = Contents::new(4096).stamped(0).to_vec();
        assert_eq!(first, Contents::new(4096).stamped(0));
        assert!(first.iter().filter(|byte| **byte == 0).count() < 64);
    }
}
