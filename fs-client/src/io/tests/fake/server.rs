//! One chunkserver.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cairn_proto::chunk::{BLOCK_SIZE, BlockSum, ChunkId, fragments};
use cairn_proto::chunkserver::{ReadReply, ReadRequest};
use cairn_proto::error::ChunkError;
use cairn_proto::ids::{BootId, ChunkHandle, ChunkVersion, ServerId};
use cairn_proto::labels::Labels;
use cairn_proto::transport::{Endpoint, Payload};
use tokio::sync::watch;

pub struct FakeServer {
    pub id: ServerId,
    pub endpoint: Endpoint,
    pub boot: BootId,
    pub up: bool,
    pub full: bool,
    /// What it is asked to read waits until it goes on.
    pub stopped: watch::Sender<bool>,
    /// Where it stands.
    pub labels: Labels,
    /// Reads that it was asked for.
    pub reads: usize,
    pub chunks: HashMap<ChunkHandle, FakeChunk>,
    /// Chunks that it had. A write does not make them anew.
    pub lost: BTreeSet<ChunkHandle>,
}

/// A copy of a chunk.
#[derive(Clone, Default)]
pub struct FakeChunk {
    pub version: u32,
    pub now: Contents,
    /// What a power cut leaves.
    synced: Contents,
    pub dirty: bool,
    /// Blocks whose bytes no longer match their sums.
    pub damaged: BTreeSet<u32>,
}

#[derive(Clone, Default, PartialEq)]
pub struct Contents {
    pub blocks: BTreeMap<u32, Vec<u8>>,
    pub length: u32,
}

impl FakeServer {
    pub fn new(number: usize) -> Self {
        Self {
            id: ServerId::random(),
            endpoint: Endpoint::Tcp { host: format!("server{number}"), port: 1 },
            boot: BootId(1),
            up: true,
            full: false,
            stopped: watch::Sender::new(false),
            labels: Labels::default(),
            reads: 0,
            chunks: HashMap::new(),
            lost: BTreeSet::new(),
        }
    }

    pub fn chunk(&mut self, handle: ChunkHandle) -> &mut FakeChunk {
        self.chunks.get_mut(&handle).expect("the test knows that it is there")
    }

    pub fn power_cut(&mut self) {
        self.boot = BootId(self.boot.0 + 1);
        for chunk in self.chunks.values_mut() {
            chunk.now = chunk.synced.clone();
        }
    }

    pub fn lose(&mut self, handle: ChunkHandle) {
        self.chunks.remove(&handle);
        self.lost.insert(handle);
    }

    /// It is given a copy by the cluster.
    pub fn give(&mut self, handle: ChunkHandle, copy: FakeChunk) {
        self.lost.remove(&handle);
        self.chunks.insert(handle, copy);
    }

    pub fn write(&mut self, id: ChunkId, offset: u32, data: Option<&[u8]>, len: u32) -> Result<(), ChunkError> {
        if self.full {
            return Err(ChunkError::NoSpace);
        }
        let chunk = self.admit(id)?;
        chunk.dirty = true;
        chunk.now.write(offset, data, len);
        for (block, ..) in fragments(u64::from(offset), len as usize) {
            chunk.damaged.remove(&(block as u32));
        }
        Ok(())
    }

    fn admit(&mut self, id: ChunkId) -> Result<&mut FakeChunk, ChunkError> {
        if self.lost.contains(&id.handle) {
            return Err(ChunkError::NotFound(id.handle));
        }
        let chunk = self.chunks.entry(id.handle).or_default();
        if id.version.0 < chunk.version {
            let (asked, have) = (id.version, ChunkVersion(chunk.version));
            return Err(ChunkError::VersionFenced { handle: id.handle, asked, have });
        }
        chunk.version = id.version.0;
        Ok(chunk)
    }

    pub fn sync(&mut self, id: ChunkId, hand_back: bool) -> Result<(), ChunkError> {
        if !self.chunks.contains_key(&id.handle) {
            return Err(ChunkError::NotFound(id.handle));
        }
        let chunk = self.admit(id)?;
        chunk.synced = chunk.now.clone();
        chunk.dirty &= !hand_back;
        Ok(())
    }

    pub fn read(&self, request: &ReadRequest) -> Result<ReadReply, ChunkError> {
        let chunk = self.chunks.get(&request.handle).ok_or(ChunkError::NotFound(request.handle))?;
        let first = request.offset / BLOCK_SIZE as u32;
        let last = (request.offset + request.len).min(chunk.now.length).div_ceil(BLOCK_SIZE as u32);
        let (mut data, mut sums) = (Vec::new(), Vec::new());
        for block in first..last {
            let mut bytes = chunk.now.blocks.get(&block).cloned().unwrap_or_else(|| vec![0; BLOCK_SIZE]);
            sums.push(BlockSum::of(&bytes));
            if chunk.damaged.contains(&block) {
                bytes[7] ^= 1;
            }
            data.extend(bytes);
        }
        if first < last {
            let stored = (chunk.now.length - first * BLOCK_SIZE as u32) as usize;
            data.truncate(stored);
        }
        Ok(ReadReply { offset: first * BLOCK_SIZE as u32, sums, data: Payload::from(data) })
    }
}

impl FakeChunk {
    pub fn allocated(&self) -> u32 {
        (self.now.blocks.len() * BLOCK_SIZE) as u32
    }

    pub fn empty(version: u32) -> Self {
        Self { version, ..Self::default() }
    }

    /// A copy made by the cluster is synced.
    pub fn copied_from(other: &Self, version: u32) -> Self {
        Self { version, now: other.now.clone(), synced: other.now.clone(), dirty: false, damaged: BTreeSet::new() }
    }
}

impl Contents {
    /// `None`: a hole.
    fn write(&mut self, offset: u32, data: Option<&[u8]>, len: u32) {
        let mut at = 0;
        for (block, start, n) in fragments(u64::from(offset), len as usize) {
            let block = block as u32;
            match data {
                None if n == BLOCK_SIZE => {
                    self.blocks.remove(&block);
                }
                None => {
                    if let Some(bytes) = self.blocks.get_mut(&block) {
                        bytes[start..start + n].fill(0);
                    }
                }
                Some(data) => {
                    let bytes = self.blocks.entry(block).or_insert_with(|| vec![0; BLOCK_SIZE]);
                    bytes[start..start + n].copy_from_slice(&data[at..at + n]);
                }
            }
            at += n;
        }
        if data.is_some() {
            self.length = self.length.max(offset + len);
        }
    }

    /// The bytes before `limit`, holes and what is not there being zeros.
    pub fn same(&self, other: &Self, limit: u32) -> bool {
        let limit_block = limit.div_ceil(BLOCK_SIZE as u32);
        let numbers: BTreeSet<u32> = self.blocks.keys().chain(other.blocks.keys()).copied().collect();
        let zero = vec![0; BLOCK_SIZE];
        numbers.range(..limit_block).all(|block| {
            let n = BLOCK_SIZE.min((limit - block * BLOCK_SIZE as u32) as usize);
            let of = |contents: &Self| contents.blocks.get(block).unwrap_or(&zero)[..n].to_vec();
            of(self) == of(other)
        })
    }
}
