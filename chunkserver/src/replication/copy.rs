//! Fetching a copy of a chunk from a peer.

use cairn_proto::chunk::{BLOCK_SIZE, ChunkId, MAX_PIECE_BYTES};
use cairn_proto::chunkserver::{BlockTable, ChunkStat, ReadReply, ReadRequest};
use cairn_proto::error::ChunkError;
use cairn_proto::ids::{ChunkVersion, ServerId};
use cairn_proto::transport::Endpoint;
use futures::{StreamExt, TryStreamExt};
use tarpc::context::Context;
use uuid::Uuid;

use super::Replication;
use super::peers::{Client, call, one_hop_less, refused, unreachable};
use crate::store::Incoming;

/// Pieces under way at the same time.
const PIECES_IN_FLIGHT: usize = 4;

/// Tries where somebody writes to the source meanwhile.
const ATTEMPTS: usize = 3;

/// The copy that is copied.
struct Source {
    client: Client,
    server: ServerId,
    chunk: ChunkId,
    context: Context,
}

impl Replication {
    /// Replaces any copy here by one of `source`'s, verified and synced, at `chunk.version`, clean.
    ///
    /// A source that cannot be reached, refuses, or does not hold still, is an error of the chain, in its name.
    pub async fn copy_from(&self, context: Context, chunk: ChunkId, source: Endpoint) -> Result<ChunkStat, ChunkError> {
        let client = self.peers.client(&source);
        let context = one_hop_less(context);
        let nobody = ServerId(Uuid::nil());
        let server = call(nobody, || async { client.identity(context).await.map(Ok) }).await?;
        if server == self.us.server {
            return Err(ChunkError::Malformed(format!("{} cannot be copied from this server to itself", chunk.handle)));
        }
        let source = Source { client, server, chunk, context };
        for _ in 0..ATTEMPTS {
            let incoming = self.store.receive(chunk).await?;
            if let Some(length) = source.copy_to(&incoming).await? {
                let stat = incoming.install(&self.store, length).await?;
                tracing::info!(chunk = chunk.handle.0, from = %server, length, "copied a chunk");
                return Ok(stat);
            }
        }
        Err(unreachable(server, format!("{} was written to while it was copied", chunk.handle)))
    }
}

impl Source {
    /// Copies everything, and returns the length; `None` where the source changed meanwhile.
    async fn copy_to(&self, incoming: &Incoming) -> Result<Option<u32>, ChunkError> {
        let before = self.block_table().await?;
        let have = before.stat.id.version;
        if have > self.chunk.version {
            let (handle, asked) = (self.chunk.handle, self.chunk.version);
            return Err(refused(self.server, ChunkError::VersionFenced { handle, asked, have }));
        }
        let extents = call(self.server, || self.client.extents(self.context, self.chunk.handle)).await?;
        futures::stream::iter(pieces(&extents))
            .map(|(offset, len)| self.copy_piece(offset, len, incoming))
            .buffer_unordered(PIECES_IN_FLIGHT)
            .try_collect::<()>()
            .await?;
        let after = self.block_table().await?;
        let same = after.stat.length == before.stat.length && after.sums == incoming.sums();
        Ok(same.then_some(after.stat.length))
    }

    async fn copy_piece(&self, offset: u32, len: u32, incoming: &Incoming) -> Result<(), ChunkError> {
        let request = ReadRequest { handle: self.chunk.handle, at_least: ChunkVersion::FIRST, offset, len };
        let ReadReply { offset, sums, data } = call(self.server, || self.client.read(self.context, request)).await?;
        incoming.put(offset, sums, data.0).await.map_err(|error| match error {
            ChunkError::DamagedInTransit { .. } | ChunkError::Malformed(_) => refused(self.server, error),
            error => error,
        })
    }

    async fn block_table(&self) -> Result<BlockTable, ChunkError> {
        call(self.server, || self.client.block_table(self.context, self.chunk.handle)).await
    }
}

/// Extents cut into pieces of the largest size that a read allows.
fn pieces(extents: &[(u32, u32)]) -> Vec<(u32, u32)> {
    const _: () = assert!(MAX_PIECE_BYTES.is_multiple_of(BLOCK_SIZE));
    let piece = MAX_PIECE_BYTES as u32;
    let cut = |&(offset, len): &(u32, u32)| {
        (0..len).step_by(MAX_PIECE_BYTES).map(move |at| (offset + at, piece.min(len - at)))
    };
    extents.iter().flat_map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_are_cut_into_pieces() {
        const MIB: u32 = 1 << 20;
        assert_eq!(pieces(&[]), []);
        let cut = pieces(&[(0, 4096), (2 * MIB, 2 * MIB + 8192)]);
        assert_eq!(cut, [(0, 4096), (2 * MIB, MIB), (3 * MIB, MIB), (4 * MIB, 8192)]);
    }
}
