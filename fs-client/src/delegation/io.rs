//! The session as the data path sees it: what was done here to a file is known to the metaserver before it is asked about it.

use async_trait::async_trait;
use cairn_proto::attr::Attr;
use cairn_proto::chunk::ChunkLocation;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, ChunkVersion, InodeId, ServerId, SessionId};
use cairn_proto::meta::{BadReplica, ChunkExtent, ServerPlace};
use cairn_proto::time::Timestamp;

use super::Delegations;
use crate::io::{MetaError, MetaIo};

#[async_trait]
impl MetaIo for Delegations {
    async fn may_send(&self) {
        self.meta.may_send().await;
    }

    fn writer(&self) -> SessionId {
        self.meta.writer()
    }

    async fn locate(&self, inode: InodeId, first: ChunkIndex, count: u32) -> Result<Vec<ChunkLocation>, MetaError> {
        self.settle(&[inode]).await?;
        MetaIo::locate(&*self.meta, inode, first, count).await
    }

    async fn allocate(&self, inode: InodeId, first: ChunkIndex, count: u32) -> Result<Vec<ChunkLocation>, MetaError> {
        self.settle(&[inode]).await?;
        self.meta.allocate(inode, first, count).await
    }

    async fn commit_write(
        &self,
        inode: InodeId,
        size: u64,
        mtime: Timestamp,
        extents: Vec<ChunkExtent>,
        kill_suid_sgid: bool,
    ) -> Result<Attr, MetaError> {
        self.settle(&[inode]).await?;
        let attr = MetaIo::commit_write(&*self.meta, inode, size, mtime, extents, kill_suid_sgid).await?;
        self.learn(&attr);
        Ok(attr)
    }

    async fn replace_failed(
        &self,
        inode: InodeId,
        index: ChunkIndex,
        handle: ChunkHandle,
        version: ChunkVersion,
        failed: Vec<ServerId>,
        held: u32,
    ) -> Result<ChunkLocation, MetaError> {
        MetaIo::replace_failed(&*self.meta, inode, index, handle, version, failed, held).await
    }

    async fn clear_trim(
        &self,
        inode: InodeId,
        index: ChunkIndex,
        handle: ChunkHandle,
        trimmed_at: u32,
    ) -> Result<(), MetaError> {
        MetaIo::clear_trim(&*self.meta, inode, index, handle, trimmed_at).await
    }

    async fn places(&self, servers: Vec<ServerId>) -> Result<Vec<ServerPlace>, MetaError> {
        MetaIo::places(&*self.meta, servers).await
    }

    async fn report_bad_replica(&self, handle: ChunkHandle, server: ServerId, what: BadReplica) {
        MetaIo::report_bad_replica(&*self.meta, handle, server, what).await;
    }
}
