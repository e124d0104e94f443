//! The calls of the data path to chunkservers, as a seam: [`super::chunk_client::ChunkClient`] makes them over the wire, tests
//! lose, delay and damage them.

use async_trait::async_trait;
use cairn_proto::chunkserver::{ChainAck, ChainRequest, ReadReply, ReadRequest, WriteRequest, ZeroRequest};
use cairn_proto::ids::ChunkHandle;
use cairn_proto::transport::Endpoint;

use super::error::CallError;

/// See [`cairn_proto::chunkserver::ChunkService`]. Implementations bound the time of every call, and repeat none.
#[async_trait]
pub trait ChunkTransport: Send + Sync + 'static {
    async fn write(&self, head: &Endpoint, request: WriteRequest) -> Result<ChainAck, CallError>;
    async fn zero(&self, head: &Endpoint, request: ZeroRequest) -> Result<ChainAck, CallError>;
    async fn sync(&self, head: &Endpoint, request: ChainRequest) -> Result<ChainAck, CallError>;
    async fn hand_back(&self, head: &Endpoint, request: ChainRequest) -> Result<ChainAck, CallError>;
    async fn read(&self, from: &Endpoint, request: ReadRequest) -> Result<ReadReply, CallError>;
    async fn extents(&self, from: &Endpoint, handle: ChunkHandle) -> Result<Vec<(u32, u32)>, CallError>;
}
