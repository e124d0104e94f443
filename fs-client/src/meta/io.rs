//! The session as the data path sees it.

use std::time::Duration;

use async_trait::async_trait;
use cairn_proto::attr::Attr;
use cairn_proto::chunk::ChunkLocation;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, ChunkVersion, InodeId, ServerId, SessionId};
use cairn_proto::meta::{BadReplica, ChunkExtent, ServerPlace};
use cairn_proto::time::Timestamp;

use super::client::MetaClient;
use super::error::MetaError;
use crate::io::{self, MetaIo};

/// Whether the session is alive again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

impl From<MetaError> for io::MetaError {
    fn from(error: MetaError) -> Self {
        match error {
            MetaError::Refused(error) => Self::Refused(error),
            // Said once for all of them.
            MetaError::TimedOut { .. } => Self::Unreachable,
            MetaError::Stopping
            | MetaError::SessionLost
            | MetaError::Unexpected { .. }
            | MetaError::TooLarge { .. } => {
                tracing::warn!(%error, "the metaserver did not answer the data path");
                Self::Unreachable
            }
        }
    }
}

#[async_trait]
impl MetaIo for MetaClient {
    async fn may_send(&self) {
        while !self.term().may_send() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn writer(&self) -> SessionId {
        self.term().written_in()
    }

    async fn locate(&self, inode: InodeId, first: ChunkIndex, count: u32) -> Result<Vec<ChunkLocation>, io::MetaError> {
        Ok(MetaClient::locate(self, inode, first, count).await?)
    }

    async fn allocate(
        &self,
        inode: InodeId,
        first: ChunkIndex,
        count: u32,
    ) -> Result<Vec<ChunkLocation>, io::MetaError> {
        Ok(self.allocate_chunks(inode, first, count).await?)
    }

    async fn commit_write(
        &self,
        inode: InodeId,
        size: u64,
        mtime: Timestamp,
        extents: Vec<ChunkExtent>,
        kill_suid_sgid: bool,
    ) -> Result<Attr, io::MetaError> {
        Ok(MetaClient::commit_write(self, inode, size, mtime, extents, kill_suid_sgid).await?)
    }

    async fn replace_failed(
        &self,
        inode: InodeId,
        index: ChunkIndex,
        handle: ChunkHandle,
        version: ChunkVersion,
        failed: Vec<ServerId>,
        held: u32,
    ) -> Result<ChunkLocation, io::MetaError> {
        Ok(MetaClient::replace_failed(self, inode, index, handle, version, failed, held).await?)
    }

    async fn clear_trim(
        &self,
        inode: InodeId,
        index: ChunkIndex,
        handle: ChunkHandle,
        trimmed_at: u32,
    ) -> Result<(), io::MetaError> {
        Ok(MetaClient::clear_trim(self, inode, index, handle, trimmed_at).await?)
    }

    async fn places(&self, servers: Vec<ServerId>) -> Result<Vec<ServerPlace>, io::MetaError> {
        Ok(MetaClient::places(self, &servers).await?)
    }

    async fn report_bad_replica(&self, handle: ChunkHandle, server: ServerId, what: BadReplica) {
        MetaClient::report_bad_replica(self, handle, server, what).await;
    }
}
