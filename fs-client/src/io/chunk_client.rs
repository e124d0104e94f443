//! Calls to chunkservers over the wire.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cairn_proto::chunkserver::{ChainAck, ChainRequest, ReadReply, ReadRequest, WriteRequest, ZeroRequest};
use cairn_proto::error::ChunkError;
use cairn_proto::ids::ChunkHandle;
use cairn_proto::transport::{Endpoint, classify};
use tarpc::client::RpcError;
use tarpc::context::Context;

use super::chunk_transport::ChunkTransport;
use super::config::IoConfig;
use super::connections::{Connections, Loaded};
use super::error::CallError;
use super::hand_backs::{HandBackMany, HandBacks};

/// The [`ChunkTransport`] of a mount.
#[derive(Debug)]
pub struct ChunkClient {
    calls: Arc<Calls>,
    hand_backs: Arc<HandBacks<Arc<Calls>>>,
}

#[derive(Debug)]
struct Calls {
    connections: Connections,
    write_timeout: Duration,
    read_timeout: Duration,
    sync_timeout: Duration,
}

impl ChunkClient {
    pub fn new(config: &IoConfig) -> Self {
        let calls = Arc::new(Calls {
            connections: Connections::new(config),
            write_timeout: config.write_timeout,
            read_timeout: config.read_timeout,
            sync_timeout: config.sync_timeout,
        });
        Self { hand_backs: HandBacks::new(calls.clone()), calls }
    }

    fn connection(&self, endpoint: &Endpoint, bulk_bytes: usize) -> Loaded {
        self.calls.connections.least_loaded(endpoint, bulk_bytes)
    }
}

#[async_trait]
impl ChunkTransport for ChunkClient {
    async fn write(&self, head: &Endpoint, request: WriteRequest) -> Result<ChainAck, CallError> {
        let connection = self.connection(head, request.data.0.len());
        let timeout = if request.sync { self.calls.sync_timeout } else { self.calls.write_timeout };
        answer(connection.stub().write(within(timeout), request).await)
    }

    async fn zero(&self, head: &Endpoint, request: ZeroRequest) -> Result<ChainAck, CallError> {
        answer(self.connection(head, 0).stub().zero(within(self.calls.write_timeout), request).await)
    }

    async fn sync(&self, head: &Endpoint, request: ChainRequest) -> Result<ChainAck, CallError> {
        answer(self.connection(head, 0).stub().sync(within(self.calls.sync_timeout), request).await)
    }

    async fn hand_back(&self, head: &Endpoint, request: ChainRequest) -> Result<ChainAck, CallError> {
        self.hand_backs.hand_back(head, request).await
    }

    async fn read(&self, from: &Endpoint, request: ReadRequest) -> Result<ReadReply, CallError> {
        let connection = self.connection(from, request.len as usize);
        answer(connection.stub().read(within(self.calls.read_timeout), request).await)
    }

    async fn extents(&self, from: &Endpoint, handle: ChunkHandle) -> Result<Vec<(u32, u32)>, CallError> {
        answer(self.connection(from, 0).stub().extents(within(self.calls.read_timeout), handle).await)
    }
}

#[async_trait]
impl HandBackMany for Arc<Calls> {
    async fn hand_back_many(
        &self,
        head: &Endpoint,
        requests: Vec<ChainRequest>,
    ) -> Result<Vec<Result<ChainAck, CallError>>, CallError> {
        let connection = self.connections.least_loaded(head, 0);
        let answers = answer(connection.stub().hand_back_many(within(self.sync_timeout), requests).await)?;
        Ok(answers.into_iter().map(|answer| answer.map_err(CallError::Chunk)).collect())
    }
}

fn within(timeout: Duration) -> Context {
    let mut context = tarpc::context::current();
    context.deadline = Instant::now() + timeout;
    context
}

fn answer<T>(result: Result<Result<T, ChunkError>, RpcError>) -> Result<T, CallError> {
    match result {
        Ok(answer) => answer.map_err(CallError::Chunk),
        Err(error) => Err(CallError::Transport { failure: classify(&error), detail: describe(&error) }),
    }
}

/// An error and its causes in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
