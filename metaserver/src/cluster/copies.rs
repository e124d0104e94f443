//! What one chunkserver says it holds, in sixteen bytes a copy.

use std::collections::HashMap;

use cairn_proto::chunk::CHUNK_SIZE;
use cairn_proto::chunkserver::{ChunkStat, ChunkState};
use cairn_proto::disk::MAX_DISKS;
use cairn_proto::ids::{ChunkHandle, ChunkVersion, DiskNumber};

/// Bits of a packed copy, from the lowest: length, whether it is dirty, number of the disk, version.
const LENGTH_BITS: u32 = 27;
const DISK_BITS: u32 = 6;
const DIRTY: u64 = 1 << LENGTH_BITS;
const DISK_SHIFT: u32 = LENGTH_BITS + 1;
const VERSION_SHIFT: u32 = DISK_SHIFT + DISK_BITS;
/// Versions from here on are taken for this one. No chunk's members change a billion times; a server that says so says nonsense.
const LAST_VERSION: u32 = (1 << (u64::BITS - VERSION_SHIFT)) - 1;
const _: () = assert!(CHUNK_SIZE < 1 << LENGTH_BITS && MAX_DISKS <= 1 << DISK_BITS);

/// One reported copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    pub version: ChunkVersion,
    /// Bytes to the end of the last written one.
    pub length: u32,
    pub state: ChunkState,
    pub disk: DiskNumber,
}

impl From<&ChunkStat> for Copy {
    fn from(stat: &ChunkStat) -> Self {
        Self { version: stat.id.version, length: stat.length, state: stat.state, disk: stat.disk }
    }
}

/// The copies of one server.
#[derive(Debug, Default)]
pub struct CopyMap {
    copies: HashMap<ChunkHandle, Packed>,
    dirty: usize,
}

/// Eight bytes, as the handle: one entry of the table is sixteen.
#[derive(Clone, Copy, Debug)]
struct Packed(u64);

impl Packed {
    fn new(copy: Copy) -> Self {
        let Copy { version, length, state, disk } = copy;
        let dirty = if state == ChunkState::Dirty { DIRTY } else { 0 };
        let length = u64::from(length).min(DIRTY - 1);
        let disk = u64::from(disk.0).min((1 << DISK_BITS) - 1);
        Self(length | dirty | disk << DISK_SHIFT | u64::from(version.0.min(LAST_VERSION)) << VERSION_SHIFT)
    }

    fn is_dirty(self) -> bool {
        self.0 & DIRTY != 0
    }

    fn unpack(self) -> Copy {
        let state = if self.is_dirty() { ChunkState::Dirty } else { ChunkState::Clean };
        let disk = DiskNumber((self.0 >> DISK_SHIFT) as u8 & ((1 << DISK_BITS) - 1));
        let version = ChunkVersion((self.0 >> VERSION_SHIFT) as u32);
        Copy { version, length: (self.0 & (DIRTY - 1)) as u32, state, disk }
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
        Copy { version: ChunkVersion(version), length, state, disk: DiskNumber(version as u8 % MAX_DISKS as u8) }
    }

    #[test]
    fn an_entry_takes_sixteen_bytes() {
        assert_eq!(size_of::<(ChunkHandle, Packed)>(), 16);
    }

    #[test]
    fn everything_fits_into_eight_bytes() {
        for version in [0, 1, 2, 63, LAST_VERSION] {
            for (length, state) in
                [(0, ChunkState::Dirty), (CHUNK_SIZE as u32, ChunkState::Clean), (77, ChunkState::Dirty)]
            {
                let copy = copy(version, length, state);
                assert_eq!(Packed::new(copy).unpack(), copy);
            }
        }
        let nonsense = Copy { disk: DiskNumber(u8::MAX), ..copy(u32::MAX, u32::MAX, ChunkState::Clean) };
        let read = Packed::new(nonsense).unpack();
        assert_eq!(
            (read.version, read.state, read.disk),
            (ChunkVersion(LAST_VERSION), ChunkState::Clean, DiskNumber(63))
        );
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
