//! The store as its callers see it, over a disk in memory that fails and forgets.

mod crash;
mod disks;
mod faults;
mod handing_back;
mod model;
mod operations;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use cairn_proto::chunk::{BLOCK_SIZE, CHUNK_SIZE, ChunkId, fragment_crcs};
use cairn_proto::chunkserver::{ReadReply, ReadRequest};
use cairn_proto::error::ChunkError;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, ChunkVersion, ClusterId, InodeId, ServerId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use super::disk::Disk;
use super::disk::sim::SimDisk;
use super::header::DATA_OFFSET;
use super::table::blocks_of;
use super::*;

const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(7));

/// A store that can be stopped and started over the same disk.
struct Rig {
    disk: SimDisk,
    layout: Layout,
    store: Store,
    report: LoadReport,
}

impl Rig {
    fn new() -> Self {
        Self::on(SimDisk::new(1))
    }

    fn on(disk: SimDisk) -> Self {
        let layout = Layout::new(Path::new("/data"));
        let limits = StoreLimits { reserve_bytes: 1 << 20, open_chunks: NonZeroUsize::MIN };
        let server = ServerId(Uuid::from_u128(8));
        let place = Place::only(Arc::new(disk.clone()), layout.clone());
        let (store, report) = Store::open(vec![place], server, Some(CLUSTER), limits).unwrap();
        store.join(CLUSTER, ChunkHandle(0));
        Self { disk, layout, store, report }
    }

    /// As after `kill -9`: the kernel has everything that was written.
    fn restart(self) -> Self {
        Self::on(self.disk)
    }

    async fn write(&self, id: ChunkId, offset: usize, data: &[u8]) -> Result<(), ChunkError> {
        let range = self.store.lock(id.handle, blocks_of(offset as u32, data.len())).await;
        self.store.write(&range, id, piece(offset, data)).await
    }

    async fn write_and_sync(&self, id: ChunkId, offset: usize, data: &[u8]) -> Result<(), ChunkError> {
        let range = self.store.lock(id.handle, blocks_of(offset as u32, data.len())).await;
        self.store.write_and_sync(&range, id, piece(offset, data)).await
    }

    async fn zero(&self, id: ChunkId, offset: usize, len: usize) -> Result<(), ChunkError> {
        let range = self.store.lock(id.handle, blocks_of(offset as u32, len)).await;
        self.store.zero(&range, id, offset as u32, len as u32).await
    }

    async fn read(&self, id: ChunkId, offset: usize, len: usize) -> Result<ReadReply, ChunkError> {
        let at_least = ChunkVersion::FIRST;
        self.store.read(ReadRequest { handle: id.handle, at_least, offset: offset as u32, len: len as u32 }).await
    }

    async fn assert_intact(&self, id: ChunkId) {
        let damaged = self.store.verify(id.handle).await.unwrap().damaged;
        assert!(damaged.is_empty(), "damaged: {damaged:?}");
    }

    /// The whole chunk, to its length.
    async fn contents(&self, id: ChunkId) -> Result<Vec<u8>, ChunkError> {
        let reply = self.read(id, 0, CHUNK_SIZE as usize).await?;
        assert_eq!(reply.data.len(), self.store.stat(id.handle)?.length as usize);
        Ok(reply.data.to_vec())
    }
}

fn chunk(handle: u64) -> ChunkId {
    ChunkId { handle: ChunkHandle(handle), version: ChunkVersion::FIRST, inode: InodeId(20), index: ChunkIndex(0) }
}

fn at_version(id: ChunkId, version: u32) -> ChunkId {
    ChunkId { version: ChunkVersion(version), ..id }
}

fn piece(offset: usize, data: &[u8]) -> Piece {
    let crcs = fragment_crcs(offset as u64, data);
    Piece { offset: offset as u32, crcs, data: Bytes::copy_from_slice(data) }
}

/// Bytes that are the same for the same seed, and not zeros.
fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    StdRng::seed_from_u64(seed).fill(&mut bytes[..]);
    bytes
}

const BLOCK: usize = BLOCK_SIZE;
/// Where a chunk's bytes begin in its file.
const DATA: usize = DATA_OFFSET as usize;
