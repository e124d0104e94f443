//! To a chunkserver: reads and writes of clients, forwarded writes of the server before it in a chain, and orders of the metaserver.
//!
//! A write goes to the head of the chain, with the rest of the chain in the request. Each server verifies, writes, and forwards at
//! the same time; its acknowledgement means that it and everyone behind it has the bytes. The head holds the written range locked
//! until then, so that overlapping writes happen in one order on all of the chain.

use serde::{Deserialize, Serialize};

use crate::chunk::{BlockSum, ChunkId, Replica};
use crate::error::ChunkError;
use crate::ids::{BootId, ChunkHandle, ChunkVersion, DiskNumber, ServerId, SessionId};
use crate::scrub::ScrubOrder;
use crate::transport::{Endpoint, Payload};

/// Handles in one [`ChunkService::delete`] call at most.
pub const MAX_DELETE: usize = 4096;

/// Chunks in one [`ChunkService::hand_back_many`] call at most.
pub const MAX_HAND_BACKS: usize = 256;

/// Sessions in one [`ChunkService::fence_sessions`] call at most.
pub const MAX_FENCED: usize = 65_536;

/// A piece of a chunk, at most [`crate::chunk::MAX_PIECE_BYTES`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct WriteRequest {
    pub chunk: ChunkId,
    /// In whose session the bytes were written. Once that is given up, they are refused: `SessionFenced`.
    pub writer: SessionId,
    /// Bytes from the chunk's start; offset + data end within the chunk.
    pub offset: u32,
    /// Plain CRC-32 of each fragment of `data` by block: see [`crate::chunk::fragment_crcs`].
    pub crcs: Vec<u32>,
    /// The members behind the receiver, in chain order.
    pub rest: Vec<Replica>,
    /// The piece, and all that was acknowledged of the chunk before, is on stable storage of all of the chain when this returns:
    /// a write and a [`ChunkService::sync`] in one.
    pub sync: bool,
    pub data: Payload,
}

/// `[offset, offset + len)` becomes a hole. `len` may reach past the chunk's length, up to its end.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ZeroRequest {
    pub chunk: ChunkId,
    /// As of a write.
    pub writer: SessionId,
    pub offset: u32,
    pub len: u32,
    pub rest: Vec<Replica>,
}

/// For calls that say nothing but "this chunk, all of the chain".
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ChainRequest {
    pub chunk: ChunkId,
    /// As of a write; a sync is nobody's in particular.
    pub writer: SessionId,
    pub rest: Vec<Replica>,
}

/// One member's part in an acknowledgement.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct MemberAck {
    pub server: ServerId,
    /// The kernel that holds the bytes until they are synced.
    pub boot: BootId,
}

/// All members have done it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ChainAck {
    pub members: Vec<MemberAck>,
    /// Bytes of the chunk that hold data, at the head.
    pub allocated: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ReadRequest {
    pub handle: ChunkHandle,
    /// Answer `VersionStale` where the copy is older... unless it is a member that nobody has written to since: the metaserver
    /// decides who is a member, so clients pass [`ChunkVersion::FIRST`] unless they know better.
    pub at_least: ChunkVersion,
    pub offset: u32,
    /// At most [`crate::chunk::MAX_PIECE_BYTES`].
    pub len: u32,
}

/// Whole blocks that cover the asked range, up to the end of what the server stores; what is missing behind is a hole.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ReadReply {
    /// Offset in the chunk of the first byte of `data`: the asked offset rounded down to a block.
    pub offset: u32,
    /// A sum for each block of `data`; the last block may be short and counts as filled up with zeros.
    /// The reader verifies them.
    pub sums: Vec<BlockSum>,
    pub data: Payload,
}

/// Whether a chunk's last writer has handed it back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub enum ChunkState {
    /// Synced and handed back: data and sums agree, and so do the copies.
    Clean,
    /// Being written, or its writer died: the copies may differ in bytes that were never synced.
    Dirty,
}

/// One chunk as a chunkserver holds it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ChunkStat {
    pub id: ChunkId,
    pub state: ChunkState,
    /// Bytes to the end of the last written byte (a multiple of nothing).
    pub length: u32,
    /// Bytes in blocks that are not holes.
    pub allocated: u32,
    /// Which disk of the server it is on.
    pub disk: DiskNumber,
}

/// The sums of all blocks of a chunk, holes behind the last written block cut off.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct BlockTable {
    pub stat: ChunkStat,
    pub sums: Vec<BlockSum>,
    /// Blocks that were found not to match their sums, ascending; nobody has looked at all of them for this.
    pub damaged: Vec<u32>,
}

/// What reading a whole copy and comparing it with its table found.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct VerifyReport {
    pub stat: ChunkStat,
    pub blocks: u32,
    /// Block numbers that do not match, the first 1024 of them.
    pub damaged: Vec<u32>,
}

#[tarpc::service]
pub trait ChunkService {
    /// A newer version than the copy's raises the copy's, durably, before the data; an older one is `VersionFenced`.
    ///
    /// Creates the chunk where it does not exist and never did: where it was given out after the server had registered
    /// ([`crate::cluster::Registered::next_chunk`]). Otherwise `NotFound`: the server may have had it and lost it, and a copy that begins
    /// with this write would pass for one that holds everything before it. The metaserver knows: [`Self::create`].
    async fn write(request: WriteRequest) -> Result<ChainAck, ChunkError>;
    /// Like a write of zeros, but leaves a hole.
    async fn zero(request: ZeroRequest) -> Result<ChainAck, ChunkError>;
    /// All acknowledged bytes of the chunk are on stable storage when this returns, with their sums.
    async fn sync(request: ChainRequest) -> Result<ChainAck, ChunkError>;
    /// `sync`, and the writer is done: the chunk becomes clean.
    async fn hand_back(request: ChainRequest) -> Result<ChainAck, ChunkError>;

    async fn read(request: ReadRequest) -> Result<ReadReply, ChunkError>;
    /// Block-aligned `(offset, length)` ranges that hold data, ascending, merged: for `SEEK_DATA` and `SEEK_HOLE`.
    async fn extents(handle: ChunkHandle) -> Result<Vec<(u32, u32)>, ChunkError>;
    async fn stat(handle: ChunkHandle) -> Result<ChunkStat, ChunkError>;
    async fn block_table(handle: ChunkHandle) -> Result<BlockTable, ChunkError>;
    /// Reads and checks every block.
    async fn verify(handle: ChunkHandle) -> Result<VerifyReport, ChunkError>;

    /// Raises the copy to `version`, durably, and waits out the writes under way: older writers are fenced off afterwards.
    /// `NotFound` where there is no copy.
    async fn fence(handle: ChunkHandle, version: ChunkVersion) -> Result<ChunkStat, ChunkError>;
    /// Replaces any copy here by a copy of `source`'s, at `chunk.version`, verified and synced, clean.
    async fn copy_from(chunk: ChunkId, source: Endpoint) -> Result<ChunkStat, ChunkError>;
    /// Makes the copies here and at `peers` (fenced to `chunk.version` before) byte-identical, synced and clean. Of blocks that
    /// differ, one that matches its own sum wins, this server's first.
    async fn reconcile(chunk: ChunkId, peers: Vec<Replica>) -> Result<ChunkStat, ChunkError>;
    /// Overwrites blocks as a reconciler found them: like a write to this copy alone, at the copy's exact version.
    async fn patch(request: WriteRequest, length: u32) -> Result<(), ChunkError>;
    /// Ends a reconciliation at a peer: synced, clean, of this length.
    async fn settle(chunk: ChunkId, length: u32) -> Result<ChunkStat, ChunkError>;
    /// Removes copies whose version is at most the given one; what is not here is no error.
    async fn delete(chunks: Vec<(ChunkHandle, ChunkVersion)>) -> Result<(), ChunkError>;

    /// Who answers here.
    async fn identity() -> ServerId;

    /// `hand_back` of up to [`MAX_HAND_BACKS`] chunks: an answer for each, in the order of the requests. One that fails leaves
    /// the others as they are.
    async fn hand_back_many(requests: Vec<ChainRequest>) -> Result<Vec<Result<ChainAck, ChunkError>>, ChunkError>;

    /// From the metaserver: these sessions, at most [`MAX_FENCED`], are given up. Nothing of them is done any more when this returns.
    async fn fence_sessions(sessions: Vec<SessionId>) -> Result<(), ChunkError>;

    /// From the metaserver: nobody holds this chunk, and nothing was committed of it. Makes an empty, dirty copy; one that there is, is
    /// raised to `chunk.version`.
    async fn create(chunk: ChunkId) -> Result<ChunkStat, ChunkError>;

    /// From the metaserver: a pass of the scrub begins now, whatever pass is under way.
    async fn scrub(order: ScrubOrder) -> Result<(), ChunkError>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::ChunkId;
    use crate::ids::{ChunkIndex, InodeId};

    /// Calls are numbered in the order of the trait: a new one goes to the end.
    #[test]
    fn golden_call_numbers() {
        let bytes = |request: &ChunkServiceRequest| postcard::to_stdvec(request).unwrap();
        assert_eq!(bytes(&ChunkServiceRequest::Stat { handle: ChunkHandle(7) }), [6, 7]);
        assert_eq!(bytes(&ChunkServiceRequest::Identity {}), [15]);
        let chunk =
            ChunkId { handle: ChunkHandle(7), version: ChunkVersion(2), inode: InodeId(9), index: ChunkIndex(1) };
        let requests = vec![ChainRequest { chunk, writer: SessionId(5), rest: Vec::new() }];
        assert_eq!(bytes(&ChunkServiceRequest::HandBackMany { requests }), [16, 1, 7, 2, 9, 1, 5, 0]);
        assert_eq!(bytes(&ChunkServiceRequest::FenceSessions { sessions: vec![SessionId(5)] }), [17, 1, 5]);
        assert_eq!(bytes(&ChunkServiceRequest::Create { chunk }), [18, 7, 2, 9, 1]);
        let order = ScrubOrder { bytes_per_s: Some(9) };
        assert_eq!(bytes(&ChunkServiceRequest::Scrub { order }), [19, 1, 9]);
    }
}
