//! What the data path asks of the metaserver. Implemented by the session with it; by a fake in tests.

use async_trait::async_trait;
use cairn_proto::attr::Attr;
use cairn_proto::chunk::ChunkLocation;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, ChunkVersion, InodeId, ServerId, SessionId};
use cairn_proto::meta::{BadReplica, ChunkExtent, ServerPlace};
use cairn_proto::time::Timestamp;

use super::error::MetaError;

/// Chunk operations of the metaserver. Every mutation is done exactly once, however often the connection is lost meanwhile.
///
/// An implementation may wait out transient refusals ([`MetaError::is_transient`]) for a while; this crate waits and asks again
/// for as long as [`super::IoConfig`] says.
#[async_trait]
pub trait MetaIo: Send + Sync + 'static {
    /// Returns once it is sure that what programs of this mount have written may be sent: not while the metaserver may have given the
    /// mount up, and given what it had to others.
    async fn may_send(&self) {}

    /// The session in which that was written.
    fn writer(&self) -> SessionId;

    /// The existing chunks among `count` from `first`.
    async fn locate(&self, inode: InodeId, first: ChunkIndex, count: u32) -> Result<Vec<ChunkLocation>, MetaError>;

    /// Makes sure that `count` chunks from `first` exist, and answers where they are.
    async fn allocate(&self, inode: InodeId, first: ChunkIndex, count: u32) -> Result<Vec<ChunkLocation>, MetaError>;

    /// Acknowledged bytes become part of the file.
    async fn commit_write(
        &self,
        inode: InodeId,
        size: u64,
        mtime: Timestamp,
        extents: Vec<ChunkExtent>,
        kill_suid_sgid: bool,
    ) -> Result<Attr, MetaError>;

    /// Goes on without the members that failed. The same version in the answer means that nobody would be left.
    ///
    /// Where all copies are lost: [`FsError::ChunkLost`], unless all bytes that were ever committed are among the first `held`, which the
    /// caller writes again. Then it goes on with empty copies.
    ///
    /// [`FsError::ChunkLost`]: cairn_proto::error::FsError::ChunkLost
    async fn replace_failed(
        &self,
        inode: InodeId,
        index: ChunkIndex,
        handle: ChunkHandle,
        version: ChunkVersion,
        failed: Vec<ServerId>,
        held: u32,
    ) -> Result<ChunkLocation, MetaError>;

    /// The chunk is zeroed from `trimmed_at` on, on all replicas, durably.
    async fn clear_trim(
        &self,
        inode: InodeId,
        index: ChunkIndex,
        handle: ChunkHandle,
        trimmed_at: u32,
    ) -> Result<(), MetaError>;

    /// Where chunkservers stand; those that are not known are left out.
    async fn places(&self, servers: Vec<ServerId>) -> Result<Vec<ServerPlace>, MetaError>;

    /// A hint: failures are the implementation's to log.
    async fn report_bad_replica(&self, handle: ChunkHandle, server: ServerId, what: BadReplica);
}
