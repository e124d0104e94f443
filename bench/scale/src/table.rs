//! The chunk table of a simulated cluster, in two bytes a copy: the store makes a chunk's record when it is read.

use std::sync::Arc;

use bytes::Bytes;
use cairn_metaserver::namespace::chunk::{self, Chunk};
use cairn_metaserver::store::{MemoryStore, Pair, Read, Store, StoreError, WriteSet};
use cairn_proto::chunk::CHUNK_SIZE;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, ChunkVersion, InodeId, ServerId};
use cairn_proto::policy::PlacementId;
use parking_lot::RwLock;
use uuid::Uuid;

/// The simulated server of this number.
pub fn server(number: u16) -> ServerId {
    ServerId(Uuid::from_u128(u128::from(number) + 1))
}

/// The number of a simulated server.
pub fn number(server: ServerId) -> u16 {
    (server.0.as_u128() - 1) as u16
}

/// All chunks, each full and of a file of its own; handles count from one.
#[derive(Debug)]
pub struct ChunkTable {
    copies: u8,
    /// `copies` of each chunk, one chunk after the other.
    members: RwLock<Vec<u16>>,
}

impl ChunkTable {
    pub fn new(copies: u8, chunks: usize) -> Self {
        Self { copies, members: RwLock::new(Vec::with_capacity(chunks * usize::from(copies))) }
    }

    pub fn len(&self) -> u64 {
        (self.members.read().len() / usize::from(self.copies)) as u64
    }

    /// Adds a chunk on these servers, as many as there are copies.
    pub fn push(&self, members: &[ServerId]) {
        self.members.write().extend(members.iter().map(|&member| number(member)));
    }

    /// Puts another server in the place of one that holds a copy.
    pub fn replace(&self, handle: ChunkHandle, old: ServerId, new: ServerId) {
        let each = usize::from(self.copies);
        let first = (handle.0 as usize - 1) * each;
        for member in &mut self.members.write()[first..first + each] {
            if *member == number(old) {
                *member = number(new);
            }
        }
    }

    /// Has `look` see the servers of each chunk.
    pub fn for_each(&self, mut look: impl FnMut(ChunkHandle, &[u16])) {
        for (n, members) in (1..).zip(self.members.read().chunks_exact(usize::from(self.copies))) {
            look(ChunkHandle(n), members);
        }
    }

    fn get(&self, handle: ChunkHandle) -> Option<Chunk> {
        let each = usize::from(self.copies);
        let first = (handle.0.checked_sub(1)? as usize).checked_mul(each)?;
        let members = self.members.read();
        let members = members.get(first..first + each)?;
        Some(Chunk {
            version: ChunkVersion::FIRST,
            members: members.iter().map(|&number| server(number)).collect(),
            inode: InodeId(handle.0 + 1),
            index: ChunkIndex(0),
            target: self.copies,
            placement: PlacementId::ANYWHERE,
            length: CHUNK_SIZE as u32,
            allocated: CHUNK_SIZE as u32,
            refs: 1,
        })
    }
}

/// Chunks from the table, everything else as it was written.
#[derive(Debug)]
pub struct SimulatedStore {
    table: Arc<ChunkTable>,
    rest: MemoryStore,
}

impl SimulatedStore {
    pub fn new(table: Arc<ChunkTable>) -> Self {
        Self { table, rest: MemoryStore::default() }
    }

    /// The first chunk whose key is not below `start`.
    fn first_from(&self, start: &[u8]) -> u64 {
        let (mut low, mut high) = (1, self.table.len() + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if chunk::key(ChunkHandle(middle)).as_ref() < start {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

impl Read for SimulatedStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match chunk::handle_of(key) {
            Some(handle) => Ok(self.table.get(handle).map(|chunk| chunk::record(&chunk))),
            None => self.rest.get(key),
        }
    }

    /// A range is one of chunks or one of something else: they are scanned a table at a time.
    fn scan_page(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        if chunk::handle_of(&start[..start.len().min(chunk::key(ChunkHandle(0)).len())]).is_none() {
            return self.rest.scan_page(start, end, limit);
        }
        let handles = (self.first_from(start)..=self.table.len()).map(ChunkHandle);
        let pairs = handles.map(|handle| (chunk::key(handle), handle)).take_while(|(key, _)| key.as_ref() < end);
        let read = |(key, handle)| Some((key, chunk::record(&self.table.get(handle)?)));
        Ok(pairs.take(limit).filter_map(read).collect())
    }
}

impl Store for SimulatedStore {
    fn write(&self, writes: &WriteSet) -> Result<(), StoreError> {
        self.rest.write(writes)
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.rest.clear()
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn size(&self) -> Result<u64, StoreError> {
        self.rest.size()
    }
}
