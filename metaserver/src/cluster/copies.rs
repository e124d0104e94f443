//! What one chunkserver says it holds, in sixteen bytes a copy.

use std::collections::HashMap;

use cairn_proto::chunk::CHUNK_SIZE;
use cairn_proto::chunkserver::{ChunkStat, ChunkState};
use cairn_proto::ids::{ChunkHandle, ChunkVersion};

/// Set in the packed length of a dirty copy. Lengths need 27 bits.
const DIRTY: u32 = 1 << 31;
const _: () = assert!(CHUNK_SIZE < DIRTY as u64);

/// One reported copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    pub version: ChunkVersion,
    /// Bytes to the end of the last written one.
    pub length: u32,
    pub state: ChunkState,
}

impl From<&ChunkStat> for Copy {
    fn from(stat: &ChunkStat) -> Self {
        Self { version: stat.id.version, length: stat.length, state: stat.state }
    }
}

/// The copies of one server.
#[derive(Debug, Default)]
pub struct CopyMap {
    copies: HashMap<ChunkHandle, Packed>,
    dirty: usize,
}

/// Eight bytes, aligned like the handle's half: one entry of the table is sixteen.
#[derive(Clone, Copy, Debug)]
struct Packed {
    version: ChunkVersion,
    length_and_dirty: u32,
}

impl Packed {
    fn new(copy: Copy) -> Self {
        let dirty = if copy.state == ChunkState::Dirty { DIRTY } else { 0 };
        Self { version: copy.version, length_and_dirty: (copy.length & !DIRTY) | dirty }
    }

    fn is_dirty(self) -> bool {
        self.length_and_dirty & DIRTY != 0
    }

    fn unpack(self) -> Copy {
        let state = if self.is_dirty() { ChunkState::Dirty } else { ChunkState::Clean };
        Copy { version: self.version, length: self.length_and_dirty & !DIRTY, state }
    }
}

impl CopyMap {
    /// Returns what was known before.
    pub fn insert(&mut self, handle: ChunkHandle, copy: Copy) -> Option<Copy> {
        let packed = Packed::new(copy);
        let old = self.copies.insert(handle, packed);
        self.dirty += usize::from(packed.is_dirty());
        self.dirty -= usize::from(old.is_some_and(Packed::is_dirty));
        old.map(Packed::unpack)
    }

    pub fn remove(&mut self, handle: ChunkHandle) -> Option<Copy> {
        let old = self.copies.remove(&handle)?;
        self.dirty -= usize::from(old.is_dirty());
        Some(old.unpack())
    }

    pub fn get(&self, handle: ChunkHandle) -> Option<Copy> {
        self.copies.get(&handle).copied().map(Packed::unpack)
    }

    pub fn len(&self) -> usize {
        self.copies.len()
    }

    pub fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }

    /// How many of them are dirty.
    pub fn dirty(&self) -> usize {
        self.dirty
    }

    /// The copies after `after` in order of handle, at most `limit`; the work is that of looking at all of them.
    pub fn page_after(&self, after: Option<ChunkHandle>, limit: usize) -> Vec<(ChunkHandle, Copy)> {
        let mut handles: Vec<_> = self.copies.keys().copied().filter(|&handle| Some(handle) > after).collect();
        if handles.len() > limit {
            handles.select_nth_unstable(limit);
            handles.truncate(limit);
        }
        handles.sort_unstable();
        handles.into_iter().filter_map(|handle| Some((handle, self.get(handle)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(version: u32, length: u32, state: ChunkState) -> Copy {
        Copy { version: ChunkVersion(version), length, state }
    }

    #[test]
    fn an_entry_takes_sixteen_bytes() {
        assert_eq!(size_of::<(ChunkHandle, Packed)>(), 16);
    }

    #[test]
    fn keeps_what_it_is_told() {
        let mut map = CopyMap::default();
        let full = copy(3, CHUNK_SIZE as u32, ChunkState::Dirty);
        assert_eq!(map.insert(ChunkHandle(1), full), None);
        assert_eq!(map.get(ChunkHandle(1)), Some(full));
        assert_eq!((map.len(), map.dirty()), (1, 1));
        let clean = copy(4, 0, ChunkState::Clean);
        assert_eq!(map.insert(ChunkHandle(1), clean), Some(full));
        assert_eq!((map.len(), map.dirty()), (1, 0));
        assert_eq!(map.remove(ChunkHandle(1)), Some(clean));
        assert_eq!(map.remove(ChunkHandle(1)), None);
        assert!(map.is_empty());
    }

    #[test]
    fn pages_are_ordered() {
        let mut map = CopyMap::default();
        for handle in [5, 1, 9, 3] {
            map.insert(ChunkHandle(handle), copy(1, 1, ChunkState::Clean));
        }
        let page = |after: Option<u64>, limit| -> Vec<u64> {
            map.page_after(after.map(ChunkHandle), limit).into_iter().map(|(handle, _)| handle.0).collect()
        };
        assert_eq!(page(None, 2), [1, 3]);
        assert_eq!(page(Some(3), 9), [5, 9]);
        assert_eq!(page(Some(9), 9), [0; 0]);
    }
}
