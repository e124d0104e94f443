//! Reading a whole copy and comparing it with its table.

use cairn_proto::chunkserver::VerifyReport;
use cairn_proto::error::ChunkError;

use super::ChunkFiles;
use super::scan::for_each_block;
use crate::store::table::block_count;

/// Damaged blocks that a report names at most.
const MAX_NAMED: usize = 1024;

impl ChunkFiles {
    /// Blocks that do not match, and how many there are in all. Some may only be in the middle of being written.
    pub fn mismatches(&self) -> Result<(Vec<u32>, u32), ChunkError> {
        let (table, end) = {
            let known = self.known.lock();
            (known.table.clone(), block_count(known.header.length).max(known.table.end()))
        };
        let mut wrong = Vec::new();
        for_each_block(&self.data, end, |block, actual| {
            if actual != table.get(block) {
                wrong.push(block);
            }
        })
        .map_err(|e| self.disk_error("read", &e))?;
        Ok((wrong, end))
    }

    /// Whether a block whose lock the caller holds matches its sum.
    pub fn matches(&self, block: u32) -> Result<bool, ChunkError> {
        self.examine(block).map(|(_, matches)| matches)
    }

    pub fn report(&self, mut damaged: Vec<u32>, blocks: u32) -> VerifyReport {
        damaged.truncate(MAX_NAMED);
        VerifyReport { stat: self.stat(), blocks, damaged }
    }
}
