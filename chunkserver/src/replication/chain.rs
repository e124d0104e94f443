//! The chain: each member does its part and passes the request on at the same time.
//!
//! The head holds the blocks of a write until everyone behind it has answered, so that overlapping writes happen in one
//! order everywhere. Members hold theirs as well: it costs nothing, and a chain is a chain from wherever it is entered.

use std::future::Future;

use cairn_proto::chunk::{ChunkId, Replica};
use cairn_proto::chunkserver::{ChainAck, ChainRequest, ChunkStat, MemberAck, WriteRequest, ZeroRequest};
use cairn_proto::error::ChunkError;
use tarpc::client::RpcError;
use tarpc::context::Context;

use super::Replication;
use super::peers::{Client, call, one_hop_less, unreachable};
use crate::failpoint::{BEFORE_ANSWER, BEFORE_FORWARD, crash_point};
use crate::store::{Piece, blocks_of};

impl Replication {
    /// Writes here and in all of `request.rest`, and syncs where that is asked for.
    pub async fn write(&self, context: Context, request: WriteRequest) -> Result<ChainAck, ChunkError> {
        let WriteRequest { chunk, writer, offset, crcs, rest, sync, data } = request;
        self.store.check_fence(chunk)?;
        let range = self.store.lock(chunk.handle, blocks_of(offset, data.len())).await;
        let pass_on = self.pass_on(context, &rest, |client, context, rest| {
            let (crcs, data) = (crcs.clone(), data.clone());
            async move { client.write(context, WriteRequest { chunk, writer, offset, crcs, rest, sync, data }).await }
        });
        let piece = Piece { offset, crcs: crcs.clone(), data: data.0.clone() };
        let write = async {
            match sync {
                false => self.store.write(&range, chunk, piece).await,
                true => self.store.write_and_sync(&range, chunk, piece).await,
            }
        };
        // In this order: what others wait for goes first.
        let (behind, here) = tokio::join!(pass_on, write);
        here?;
        let behind = behind?;
        crash_point(BEFORE_ANSWER);
        self.acknowledge(chunk, behind)
    }

    /// Makes a hole here and in all of `request.rest`.
    pub async fn zero(&self, context: Context, request: ZeroRequest) -> Result<ChainAck, ChunkError> {
        let ZeroRequest { chunk, writer, offset, len, rest } = request;
        self.store.check_fence(chunk)?;
        let range = self.store.lock(chunk.handle, blocks_of(offset, len as usize)).await;
        let pass_on = self.pass_on(context, &rest, |client, context, rest| async move {
            client.zero(context, ZeroRequest { chunk, writer, offset, len, rest }).await
        });
        let (here, behind) = tokio::join!(self.store.zero(&range, chunk, offset, len), pass_on);
        here?;
        self.acknowledge(chunk, behind?)
    }

    pub async fn sync(&self, context: Context, request: ChainRequest) -> Result<ChainAck, ChunkError> {
        let ChainRequest { chunk, writer, rest } = request;
        let pass_on = self.pass_on(context, &rest, |client, context, rest| async move {
            client.sync(context, ChainRequest { chunk, writer, rest }).await
        });
        let (behind, here) = tokio::join!(pass_on, self.store.sync(chunk));
        here?;
        self.acknowledge(chunk, behind?)
    }

    pub async fn hand_back(&self, context: Context, request: ChainRequest) -> Result<ChainAck, ChunkError> {
        let ChainRequest { chunk, writer, rest } = request;
        let pass_on = self.pass_on(context, &rest, |client, context, rest| async move {
            client.hand_back(context, ChainRequest { chunk, writer, rest }).await
        });
        let (here, behind) = tokio::join!(self.store.hand_back(chunk), pass_on);
        here?;
        self.acknowledge(chunk, behind?)
    }

    /// Has the next member do its part, and through it those behind. Returns who has.
    async fn pass_on<F>(
        &self,
        context: Context,
        rest: &[Replica],
        request: impl Fn(Client, Context, Vec<Replica>) -> F,
    ) -> Result<Vec<MemberAck>, ChunkError>
    where
        F: Future<Output = Result<Result<ChainAck, ChunkError>, RpcError>>,
    {
        let Some((next, behind)) = rest.split_first() else { return Ok(Vec::new()) };
        crash_point(BEFORE_FORWARD);
        let client = self.peers.client(&next.endpoint);
        let context = one_hop_less(context);
        let ack = call(next.server, || request(client.clone(), context, behind.to_vec())).await?;
        signed_by(next, ack)
    }

    pub(super) fn acknowledge(&self, chunk: ChunkId, behind: Vec<MemberAck>) -> Result<ChainAck, ChunkError> {
        let ChunkStat { allocated, .. } = self.store.stat(chunk.handle)?;
        let members = std::iter::once(self.us).chain(behind).collect();
        Ok(ChainAck { members, allocated })
    }
}

/// Who has done it, if `next` is the first of them.
pub(super) fn signed_by(next: &Replica, ack: ChainAck) -> Result<Vec<MemberAck>, ChunkError> {
    match ack.members.first() {
        Some(first) if first.server == next.server => Ok(ack.members),
        // Its address was taken over by another server. What that one wrote is a stray, and is collected.
        Some(_) | None => Err(unreachable(next.server, format!("another server answers at {}", next.endpoint))),
    }
}
