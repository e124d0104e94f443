//! The tarpc face: checks what came in, and hands it to the store or to replication.
//!
//! A handler's future is dropped when its caller goes away. What changes something must not stop half way then, so it runs as
//! a task of its own, to its end.

use std::future::Future;
use std::sync::Arc;

use cairn_proto::chunk::{ChunkId, Replica};
use cairn_proto::chunkserver::{
    BlockTable, ChainAck, ChainRequest, ChunkService, ChunkStat, ReadReply, ReadRequest, VerifyReport, WriteRequest,
    ZeroRequest,
};
use cairn_proto::error::ChunkError;
use cairn_proto::ids::{ChunkHandle, ChunkVersion, ServerId, SessionId};
use cairn_proto::scrub::ScrubOrder;
use cairn_proto::transport::Endpoint;
use cairn_runtime::shutdown::Shutdown;
use tarpc::context::Context;
use tracing::Instrument;

use crate::load::Load;
use crate::replication::Replication;
use crate::scrub::Scrub;
use crate::store::{Piece, Store};
use crate::validate;
use crate::writers::{Writers, Writing};

/// Answers requests. Clones are the same service.
#[derive(Clone, Debug)]
pub struct Service {
    store: Store,
    replication: Replication,
    load: Load,
    writers: Arc<Writers>,
    scrub: Scrub,
    shutdown: Shutdown,
}

impl Service {
    pub fn new(
        store: Store,
        replication: Replication,
        load: Load,
        writers: Arc<Writers>,
        scrub: Scrub,
        shutdown: Shutdown,
    ) -> Self {
        Self { store, replication, load, writers, scrub, shutdown }
    }

    fn us(&self) -> ServerId {
        self.replication.us().server
    }

    /// Runs `work` to its end, whatever becomes of its caller.
    async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, ChunkError>> + Send + 'static,
    ) -> Result<T, ChunkError> {
        if self.shutdown.is_stopping() {
            return Err(ChunkError::Stopping);
        }
        let in_progress = self.load.begin();
        let task = async move {
            let _in_progress = in_progress;
            work.await
        };
        match self.shutdown.spawn(task.in_current_span()).await {
            Ok(result) => result,
            Err(error) => {
                tracing::error!(%error, "a request did not come to its end");
                Err(ChunkError::Disk("an internal error; see the chunkserver's log".into()))
            }
        }
    }
}

impl ChunkService for Service {
    async fn write(self, context: Context, request: WriteRequest) -> Result<ChainAck, ChunkError> {
        validate::write(&request, self.us())?;
        let writing = self.writers.begin(request.writer)?;
        let replication = self.replication.clone();
        let write = async move { replication.write(context, request).await };
        self.to_the_end(during(writing, write)).await
    }

    async fn zero(self, context: Context, request: ZeroRequest) -> Result<ChainAck, ChunkError> {
        validate::zero(&request, self.us())?;
        let writing = self.writers.begin(request.writer)?;
        let replication = self.replication.clone();
        let zero = async move { replication.zero(context, request).await };
        self.to_the_end(during(writing, zero)).await
    }

    async fn sync(self, context: Context, request: ChainRequest) -> Result<ChainAck, ChunkError> {
        validate::chain(&request, self.us())?;
        let replication = self.replication.clone();
        self.to_the_end(async move { replication.sync(context, request).await }).await
    }

    async fn hand_back(self, context: Context, request: ChainRequest) -> Result<ChainAck, ChunkError> {
        validate::chain(&request, self.us())?;
        let writing = self.writers.begin(request.writer)?;
        let replication = self.replication.clone();
        let hand_back = async move { replication.hand_back(context, request).await };
        self.to_the_end(during(writing, hand_back)).await
    }

    async fn read(self, _: Context, request: ReadRequest) -> Result<ReadReply, ChunkError> {
        validate::read(&request)?;
        let _in_progress = self.load.begin();
        self.store.read(request).await
    }

    async fn extents(self, _: Context, handle: ChunkHandle) -> Result<Vec<(u32, u32)>, ChunkError> {
        self.store.extents(handle).await
    }

    async fn stat(self, _: Context, handle: ChunkHandle) -> Result<ChunkStat, ChunkError> {
        self.store.stat(handle)
    }

    async fn block_table(self, _: Context, handle: ChunkHandle) -> Result<BlockTable, ChunkError> {
        self.store.block_table(handle).await
    }

    async fn verify(self, _: Context, handle: ChunkHandle) -> Result<VerifyReport, ChunkError> {
        let _in_progress = self.load.begin();
        self.store.verify(handle).await
    }

    async fn fence(self, _: Context, handle: ChunkHandle, version: ChunkVersion) -> Result<ChunkStat, ChunkError> {
        let store = self.store.clone();
        self.to_the_end(async move { store.fence(handle, version).await }).await
    }

    async fn copy_from(self, context: Context, chunk: ChunkId, source: Endpoint) -> Result<ChunkStat, ChunkError> {
        let replication = self.replication.clone();
        self.to_the_end(async move { replication.copy_from(context, chunk, source).await }).await
    }

    async fn reconcile(self, context: Context, chunk: ChunkId, peers: Vec<Replica>) -> Result<ChunkStat, ChunkError> {
        validate::rest(&peers, self.us())?;
        let replication = self.replication.clone();
        self.to_the_end(async move { replication.reconcile(context, chunk, peers).await }).await
    }

    async fn patch(self, _: Context, request: WriteRequest, length: u32) -> Result<(), ChunkError> {
        validate::patch(&request, length)?;
        let store = self.store.clone();
        let WriteRequest { chunk, offset, crcs, data, .. } = request;
        self.to_the_end(async move { store.patch(chunk, Piece { offset, crcs, data: data.0 }, length).await }).await
    }

    async fn settle(self, _: Context, chunk: ChunkId, length: u32) -> Result<ChunkStat, ChunkError> {
        validate::length(length)?;
        let store = self.store.clone();
        self.to_the_end(async move { store.settle(chunk, length).await }).await
    }

    async fn delete(self, _: Context, chunks: Vec<(ChunkHandle, ChunkVersion)>) -> Result<(), ChunkError> {
        validate::delete(&chunks)?;
        let store = self.store.clone();
        self.to_the_end(async move {
            for (handle, version) in chunks {
                store.delete(handle, version).await?;
            }
            Ok(())
        })
        .await
    }

    async fn identity(self, _: Context) -> ServerId {
        self.us()
    }

    async fn hand_back_many(
        self,
        context: Context,
        requests: Vec<ChainRequest>,
    ) -> Result<Vec<Result<ChainAck, ChunkError>>, ChunkError> {
        validate::hand_backs(&requests, self.us())?;
        let writing = requests.iter().map(|request| self.writers.begin(request.writer));
        let writing = writing.collect::<Result<Vec<Writing>, ChunkError>>()?;
        let replication = self.replication.clone();
        let hand_backs = async move { Ok(replication.hand_back_many(context, requests).await) };
        self.to_the_end(during(writing, hand_backs)).await
    }

    async fn create(self, _: Context, chunk: ChunkId) -> Result<ChunkStat, ChunkError> {
        let store = self.store.clone();
        self.to_the_end(async move { store.create(chunk).await }).await
    }

    async fn fence_sessions(self, _: Context, sessions: Vec<SessionId>) -> Result<(), ChunkError> {
        validate::fenced(&sessions)?;
        self.writers.fence(&sessions).await;
        Ok(())
    }

    async fn scrub(self, _: Context, order: ScrubOrder) -> Result<(), ChunkError> {
        validate::scrub(order)?;
        self.scrub.order(order);
        Ok(())
    }
}

/// `work`, by writers who are known to be at it until it is done.
async fn during<T>(writing: impl Send, work: impl Future<Output = T>) -> T {
    let done = work.await;
    drop(writing);
    done
}
