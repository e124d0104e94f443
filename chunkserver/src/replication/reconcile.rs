//! Making the copies of a chunk identical after its writer died, or after a crash.
//!
//! First the blocks here that are in doubt, or known to be damaged: each is taken from the first peer whose copy matches its own
//! sum. Where there is none, the bytes in doubt that are here stand; what is damaged stays damaged, and is nobody's answer. Then
//! every block that differs elsewhere, or is damaged there, is sent there as it is here. Last, all copies are settled: of one length,
//! synced, clean. Dying in between leaves copies dirty, and it is done again.

use cairn_proto::chunk::{BLOCK_SIZE, BlockSum, ChunkId, Replica, fragment_crcs};
use cairn_proto::chunkserver::{BlockTable, ChunkStat, ReadReply, ReadRequest, WriteRequest, ZeroRequest};
use cairn_proto::error::ChunkError;
use cairn_proto::ids::{ChunkVersion, ServerId, SessionId};
use cairn_proto::transport::Payload;
use futures::future::try_join_all;
use tarpc::context::Context;

use super::Replication;
use super::peers::{Client, call, one_hop_less, refused};
use super::runs::{Gatherer, Run};
use crate::store::{Piece, Store, check_same_version};

/// A peer's copy.
struct PeerCopy {
    client: Client,
    server: ServerId,
    chunk: ChunkId,
    context: Context,
    table: BlockTable,
}

impl Replication {
    /// Makes the copies here and at `peers`, all of exactly this version, identical, synced and clean.
    pub async fn reconcile(
        &self,
        context: Context,
        chunk: ChunkId,
        peers: Vec<Replica>,
    ) -> Result<ChunkStat, ChunkError> {
        let context = one_hop_less(context);
        check_same_version(chunk, self.store.stat(chunk.handle)?.id.version)?;
        let copies = try_join_all(peers.iter().map(|peer| self.look_at(context, chunk, peer))).await?;
        let doubts = self.store.doubts(chunk.handle).await?;
        let damaged = self.store.block_table(chunk.handle).await?.damaged;
        take_from_peers(&self.store, chunk, &copies, [doubts, damaged].concat()).await?;
        let here = self.store.block_table(chunk.handle).await?;
        for copy in &copies {
            copy.assimilate(&self.store, &here).await?;
        }
        try_join_all(copies.iter().map(|copy| copy.settle(here.stat.length))).await?;
        let stat = self.store.settle(chunk, here.stat.length).await?;
        tracing::info!(chunk = chunk.handle.0, copies = copies.len() + 1, length = stat.length, "reconciled a chunk");
        Ok(stat)
    }

    async fn look_at(&self, context: Context, chunk: ChunkId, peer: &Replica) -> Result<PeerCopy, ChunkError> {
        let (client, server) = (self.peers.client(&peer.endpoint), peer.server);
        let table: BlockTable = call(server, || client.block_table(context, chunk.handle)).await?;
        check_same_version(chunk, table.stat.id.version).map_err(|error| refused(server, error))?;
        Ok(PeerCopy { client, server, chunk, context, table })
    }
}

/// Gets blocks that are not known here from peers that know them.
async fn take_from_peers(
    store: &Store,
    chunk: ChunkId,
    copies: &[PeerCopy],
    blocks: Vec<u32>,
) -> Result<(), ChunkError> {
    for block in blocks {
        for copy in copies.iter().filter(|copy| !copy.table.damaged.contains(&block)) {
            let Some((bytes, length)) = copy.known_block(block).await else { continue };
            let offset = block * BLOCK_SIZE as u32;
            let piece = Piece { offset, crcs: fragment_crcs(u64::from(offset), &bytes), data: bytes.into() };
            store.patch(chunk, piece, length).await?;
            tracing::info!(chunk = chunk.handle.0, block, from = %copy.server, "took a block from a peer");
            break;
        }
    }
    Ok(())
}

impl PeerCopy {
    /// A block that matches its sum there, filled up with zeros, and the length that a chunk has at least whose last block it
    /// is. `None` where it is in doubt there, too, or cannot be had.
    async fn known_block(&self, block: u32) -> Option<(Vec<u8>, u32)> {
        let offset = block * BLOCK_SIZE as u32;
        let request =
            ReadRequest { handle: self.chunk.handle, at_least: ChunkVersion::FIRST, offset, len: BLOCK_SIZE as u32 };
        let reply = call(self.server, || self.client.read(self.context, request)).await;
        let ReadReply { data, sums, .. } = reply
            .inspect_err(|error| tracing::info!(chunk = self.chunk.handle.0, block, %error, "no help from this peer"))
            .ok()?;
        let matches = data.len() <= BLOCK_SIZE && sums.first().copied().unwrap_or_default() == BlockSum::of(&data);
        let length = offset + data.len() as u32;
        let mut bytes = data.to_vec();
        bytes.resize(BLOCK_SIZE, 0);
        matches.then_some((bytes, length))
    }

    /// Sends every block that differs from `here`, or is damaged there and not here.
    async fn assimilate(&self, store: &Store, here: &BlockTable) -> Result<(), ChunkError> {
        let sum = |sums: &[BlockSum], block: u32| sums.get(block as usize).copied().unwrap_or_default();
        let blocks = here.sums.len().max(self.table.sums.len()) as u32;
        let differs = |block: &u32| sum(&here.sums, *block) != sum(&self.table.sums, *block);
        let is_wanted = |block: &u32| differs(block) || self.table.damaged.contains(block);
        let mut gatherer = Gatherer::default();
        for block in (0..blocks).filter(is_wanted).filter(|block| !here.damaged.contains(block)) {
            let (bytes, matches) = store.examine(self.chunk.handle, block).await?;
            if !matches && BlockSum::of(&bytes) != sum(&here.sums, block) {
                // Found rotten just now. Who asked must choose another copy to go by.
                return Err(ChunkError::DamagedOnDisk { handle: self.chunk.handle, block });
            }
            if let Some(run) = gatherer.push(block, &bytes) {
                self.send(run, here.stat.length).await?;
            }
        }
        match gatherer.finish() {
            Some(run) => self.send(run, here.stat.length).await,
            None => Ok(()),
        }
    }

    async fn send(&self, run: Run, length: u32) -> Result<(), ChunkError> {
        let (chunk, offset, rest) = (self.chunk, run.offset(), Vec::new());
        match run.bytes {
            Some(bytes) => {
                let crcs = fragment_crcs(u64::from(offset), &bytes);
                let request = WriteRequest {
                    chunk,
                    writer: SessionId::SERVERS,
                    offset,
                    crcs,
                    rest,
                    sync: false,
                    data: Payload::from(bytes),
                };
                call(self.server, || self.client.patch(self.context, request.clone(), length)).await
            }
            None => {
                let request = ZeroRequest {
                    chunk,
                    writer: SessionId::SERVERS,
                    offset,
                    len: run.blocks * BLOCK_SIZE as u32,
                    rest,
                };
                call(self.server, || self.client.zero(self.context, request.clone())).await.map(drop)
            }
        }
    }

    async fn settle(&self, length: u32) -> Result<ChunkStat, ChunkError> {
        call(self.server, || self.client.settle(self.context, self.chunk, length)).await
    }
}
