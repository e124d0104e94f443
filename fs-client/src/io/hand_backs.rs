//! Handing chunks back in batches: a chunkserver brings many of them to its disk by one sync.
//!
//! Nobody waits for a chunk to be handed back but the end of a mount. So those that fall due together are gathered for a moment,
//! and while one batch for a chunkserver is under way, the next one grows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cairn_proto::chunkserver::{ChainAck, ChainRequest, MAX_HAND_BACKS};
use cairn_proto::transport::Endpoint;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::error::CallError;

/// How long a first request waits for others.
const GATHER: Duration = Duration::from_millis(5);

/// One call with a batch.
#[async_trait]
pub(super) trait HandBackMany: Send + Sync + 'static {
    /// An answer for each request, in their order.
    async fn hand_back_many(
        &self,
        head: &Endpoint,
        requests: Vec<ChainRequest>,
    ) -> Result<Vec<Result<ChainAck, CallError>>, CallError>;
}

type Waiting = (ChainRequest, oneshot::Sender<Result<ChainAck, CallError>>);

/// See the module.
pub(super) struct HandBacks<C> {
    calls: C,
    /// By chain head; there is an entry while a task works for it.
    waiting: Mutex<HashMap<Endpoint, Vec<Waiting>>>,
}

impl<C: HandBackMany> HandBacks<C> {
    pub(super) fn new(calls: C) -> Arc<Self> {
        Arc::new(Self { calls, waiting: Mutex::default() })
    }

    pub(super) async fn hand_back(
        self: &Arc<Self>,
        head: &Endpoint,
        request: ChainRequest,
    ) -> Result<ChainAck, CallError> {
        let (answer, answered) = oneshot::channel();
        let is_first = {
            let mut waiting = self.waiting.lock();
            let is_first = !waiting.contains_key(head);
            waiting.entry(head.clone()).or_default().push((request, answer));
            is_first
        };
        if is_first {
            tokio::spawn(self.clone().work(head.clone()));
        }
        answered.await.unwrap_or(Err(CallError::Protocol("a batch ended without an answer")))
    }

    async fn work(self: Arc<Self>, head: Endpoint) {
        tokio::time::sleep(GATHER).await;
        while let Some(batch) = self.next_batch(&head) {
            let (requests, answers): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let asked = requests.len();
            let results = match self.calls.hand_back_many(&head, requests).await {
                Ok(results) if results.len() == asked => results,
                Ok(_) => vec![Err(CallError::Protocol("not as many answers as hand-backs")); asked],
                Err(error) => vec![Err(error); asked],
            };
            for (answer, result) in answers.into_iter().zip(results) {
                // Whoever gave up waiting asks again.
                let _ = answer.send(result);
            }
        }
    }

    /// The next requests for `head`; without any, its entry goes.
    fn next_batch(&self, head: &Endpoint) -> Option<Vec<Waiting>> {
        let mut waiting = self.waiting.lock();
        let queue = waiting.get_mut(head)?;
        if queue.is_empty() {
            waiting.remove(head);
            return None;
        }
        let take = queue.len().min(MAX_HAND_BACKS);
        Some(queue.drain(..take).collect())
    }
}

impl<C> std::fmt::Debug for HandBacks<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HandBacks").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use cairn_proto::chunk::ChunkId;
    use cairn_proto::error::ChunkError;
    use cairn_proto::ids::{ChunkHandle, ChunkIndex, ChunkVersion, InodeId, SessionId};
    use futures::future::join_all;

    use super::*;

    /// Refuses odd handles, and writes down the size of each batch.
    #[derive(Default)]
    struct Server {
        batches: Mutex<Vec<usize>>,
    }

    #[async_trait]
    impl HandBackMany for Arc<Server> {
        async fn hand_back_many(
            &self,
            _head: &Endpoint,
            requests: Vec<ChainRequest>,
        ) -> Result<Vec<Result<ChainAck, CallError>>, CallError> {
            self.batches.lock().push(requests.len());
            let answer = |request: ChainRequest| match request.chunk.handle {
                handle if handle.0 % 2 == 1 => Err(CallError::Chunk(ChunkError::NotFound(handle))),
                handle => Ok(ChainAck { members: Vec::new(), allocated: handle.0 as u32 }),
            };
            Ok(requests.into_iter().map(answer).collect())
        }
    }

    fn request(handle: u64) -> ChainRequest {
        let (handle, version) = (ChunkHandle(handle), ChunkVersion::FIRST);
        let chunk = ChunkId { handle, version, inode: InodeId(1), index: ChunkIndex(0) };
        ChainRequest { chunk, writer: SessionId::SERVERS, rest: Vec::new() }
    }

    #[tokio::test]
    async fn each_of_a_batch_gets_its_own_answer() {
        let server = Arc::new(Server::default());
        let hand_backs = HandBacks::new(server.clone());
        let head = "127.0.0.1:1".parse::<Endpoint>().unwrap();
        let count = MAX_HAND_BACKS as u64 + 10;
        let results = join_all((0..count).map(|handle| hand_backs.hand_back(&head, request(handle)))).await;
        for (handle, result) in (0..count).zip(results) {
            match result {
                Ok(ack) => assert_eq!((ack.allocated, handle % 2), (handle as u32, 0)),
                Err(error) => assert_eq!(error, CallError::Chunk(ChunkError::NotFound(ChunkHandle(handle)))),
            }
        }
        assert_eq!(*server.batches.lock(), [MAX_HAND_BACKS, 10]);
        assert!(hand_backs.waiting.lock().is_empty());
        // The next one begins anew.
        assert!(hand_backs.hand_back(&head, request(4)).await.is_ok());
    }
}
