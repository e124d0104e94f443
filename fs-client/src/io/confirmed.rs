//! Extents as the metaserver knows them from this mount's commits: overwriting says nothing new about them.

use std::collections::BTreeMap;

use cairn_proto::ids::ChunkIndex;
use cairn_proto::meta::ChunkExtent;

/// Chunks of one file that are remembered at most: 64 GiB of it, in some 40 KiB.
const MAX_CHUNKS: usize = 1024;

/// What was committed last of each chunk.
#[derive(Debug, Default)]
pub(super) struct Confirmed {
    extents: BTreeMap<ChunkIndex, ChunkExtent>,
}

impl Confirmed {
    /// The metaserver has taken `extents` in.
    pub(super) fn add(&mut self, extents: impl IntoIterator<Item = ChunkExtent>) {
        for extent in extents {
            if self.extents.len() >= MAX_CHUNKS {
                self.extents.clear();
            }
            self.extents.insert(extent.index, extent);
        }
    }

    /// A commit of `extent` would change nothing.
    pub(super) fn covers(&self, extent: &ChunkExtent) -> bool {
        self.extents.get(&extent.index).is_some_and(|known| {
            (known.handle, known.allocated) == (extent.handle, extent.allocated) && known.length >= extent.length
        })
    }

    /// Somebody else may have changed the chunks from `first` on.
    pub(super) fn forget_from(&mut self, first: ChunkIndex) {
        self.extents.split_off(&first);
    }
}

#[cfg(test)]
mod tests {
    use cairn_proto::ids::ChunkHandle;

    use super::*;

    fn extent(index: u32, length: u32, allocated: u32) -> ChunkExtent {
        ChunkExtent { index: ChunkIndex(index), handle: ChunkHandle(7), length, allocated }
    }

    #[test]
    fn an_extent_is_covered_while_nothing_of_it_is_new() {
        let mut confirmed = Confirmed::default();
        confirmed.add([extent(0, 8192, 4096), extent(1, 10, 10)]);
        assert!(confirmed.covers(&extent(0, 8192, 4096)) && confirmed.covers(&extent(0, 100, 4096)));
        assert!(!confirmed.covers(&extent(0, 8193, 4096)), "longer");
        assert!(!confirmed.covers(&extent(0, 100, 8192)), "a hole was filled");
        assert!(!confirmed.covers(&ChunkExtent { handle: ChunkHandle(8), ..extent(0, 100, 4096) }), "another chunk");
        confirmed.forget_from(ChunkIndex(1));
        assert!(confirmed.covers(&extent(0, 1, 4096)) && !confirmed.covers(&extent(1, 10, 10)));
    }

    #[test]
    fn what_is_remembered_is_limited() {
        let mut confirmed = Confirmed::default();
        confirmed.add((0..MAX_CHUNKS as u32 + 1).map(|index| extent(index, 1, 1)));
        assert_eq!(confirmed.extents.len(), 1);
    }
}
