//! Whether requests make sense, before anything is done about them. Nothing that comes in over the wire is trusted.

use cairn_proto::chunk::{BLOCK_SIZE, CHUNK_SIZE, MAX_COPIES, MAX_PIECE_BYTES, Replica, fragments};
use cairn_proto::chunkserver::{
    ChainRequest, MAX_DELETE, MAX_FENCED, MAX_HAND_BACKS, ReadRequest, WriteRequest, ZeroRequest,
};
use cairn_proto::error::ChunkError;
use cairn_proto::ids::{ChunkHandle, ChunkVersion, ServerId, SessionId};
use cairn_proto::scrub::ScrubOrder;

/// What is wrong, for whoever wrote the sender.
type Verdict = Result<(), ChunkError>;

pub fn scrub(order: ScrubOrder) -> Verdict {
    if order.bytes_per_s == Some(0) {
        return Err(ChunkError::Malformed("a scrub of no bytes a second never ends".into()));
    }
    Ok(())
}

pub fn write(request: &WriteRequest, us: ServerId) -> Verdict {
    piece(request)?;
    rest(&request.rest, us)
}

pub fn zero(request: &ZeroRequest, us: ServerId) -> Verdict {
    range(request.offset, request.len as usize)?;
    rest(&request.rest, us)
}

pub fn chain(request: &ChainRequest, us: ServerId) -> Verdict {
    rest(&request.rest, us)
}

pub fn hand_backs(requests: &[ChainRequest], us: ServerId) -> Verdict {
    require(requests.len() <= MAX_HAND_BACKS, || format!("{} chunks are too many for one call", requests.len()))?;
    requests.iter().try_for_each(|request| chain(request, us))
}

pub fn read(request: &ReadRequest) -> Verdict {
    require(request.len as usize <= MAX_PIECE_BYTES, || {
        format!("{} bytes are more than one read may ask for", request.len)
    })?;
    range(request.offset, request.len as usize)
}

/// A patch holds whole blocks, goes to one server, and lies within the length that the chunk is to have.
pub fn patch(request: &WriteRequest, length: u32) -> Verdict {
    piece(request)?;
    let whole = |bytes: usize| bytes.is_multiple_of(BLOCK_SIZE);
    require(whole(request.offset as usize) && whole(request.data.len()), || "a patch holds whole blocks".into())?;
    require(request.rest.is_empty(), || "a patch goes to one server".into())?;
    require(!request.sync, || "a patch is synced when it is settled".into())?;
    self::length(length)
}

pub fn length(length: u32) -> Verdict {
    require(u64::from(length) <= CHUNK_SIZE, || format!("{length} bytes are more than a chunk has"))
}

/// Servers that a chunk shares with us, apart from us.
pub fn rest(rest: &[Replica], us: ServerId) -> Verdict {
    require(rest.len() < usize::from(MAX_COPIES), || format!("{} further members are too many", rest.len()))?;
    let mut servers: Vec<ServerId> = rest.iter().map(|replica| replica.server).chain([us]).collect();
    servers.sort_unstable();
    require(servers.windows(2).all(|pair| pair[0] != pair[1]), || "a server is in the chain twice".into())
}

pub fn delete(chunks: &[(ChunkHandle, ChunkVersion)]) -> Verdict {
    require(chunks.len() <= MAX_DELETE, || format!("{} chunks are too many for one call", chunks.len()))
}

pub fn fenced(sessions: &[SessionId]) -> Verdict {
    require(sessions.len() <= MAX_FENCED, || format!("{} sessions are too many for one call", sessions.len()))
}

fn piece(request: &WriteRequest) -> Verdict {
    let len = request.data.len();
    require(len > 0, || "a write without bytes".into())?;
    require(len <= MAX_PIECE_BYTES, || format!("a piece of {len} bytes is too large"))?;
    range(request.offset, len)?;
    let wanted = fragments(u64::from(request.offset), len).count();
    let got = request.crcs.len();
    require(got == wanted, || format!("{got} sums came with bytes of {wanted} blocks"))
}

fn range(offset: u32, len: usize) -> Verdict {
    require(u64::from(offset) + len as u64 <= CHUNK_SIZE, || format!("{len} bytes at {offset} reach beyond the chunk"))
}

fn require(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(ChunkError::Malformed(otherwise())) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use cairn_proto::chunk::{ChunkId, fragment_crcs};
    use cairn_proto::ids::{ChunkIndex, InodeId};
    use cairn_proto::transport::{Endpoint, Payload};
    use uuid::Uuid;

    use super::*;

    const US: ServerId = ServerId(Uuid::from_u128(1));
    const CHUNK: ChunkId =
        ChunkId { handle: ChunkHandle(1), version: ChunkVersion(1), inode: InodeId(2), index: ChunkIndex(0) };

    fn request(offset: u32, len: usize) -> WriteRequest {
        let data = vec![1; len];
        let crcs = fragment_crcs(u64::from(offset), &data);
        WriteRequest {
            chunk: CHUNK,
            writer: SessionId::SERVERS,
            offset,
            crcs,
            rest: Vec::new(),
            sync: false,
            data: Payload(Bytes::from(data)),
        }
    }

    fn replica(n: u128) -> Replica {
        let endpoint = Endpoint::Tcp { host: "h".into(), port: 1 };
        Replica { server: ServerId(Uuid::from_u128(n)), endpoint, up: true }
    }

    fn is_malformed(verdict: Verdict) -> bool {
        matches!(verdict, Err(ChunkError::Malformed(_)))
    }

    #[test]
    fn pieces_lie_within_the_chunk_and_have_their_sums() {
        const END: u32 = CHUNK_SIZE as u32;
        assert!(write(&request(END - 10, 10), US).is_ok());
        assert!(write(&request(5, MAX_PIECE_BYTES), US).is_ok());
        assert!(is_malformed(write(&request(END - 9, 10), US)));
        assert!(is_malformed(write(&request(u32::MAX, 10), US)));
        assert!(is_malformed(write(&request(0, MAX_PIECE_BYTES + 1), US)));
        assert!(is_malformed(write(&request(0, 0), US)));
        let mut short = request(0, 5000);
        short.crcs.pop();
        assert!(is_malformed(write(&short, US)));
        let zeros =
            |offset, len| ZeroRequest { chunk: CHUNK, writer: SessionId::SERVERS, offset, len, rest: Vec::new() };
        assert!(zero(&zeros(0, END), US).is_ok());
        assert!(is_malformed(zero(&zeros(1, END), US)));
    }

    #[test]
    fn chains_have_no_loops_and_an_end() {
        let chain_of = |ids: &[u128]| rest(&ids.iter().map(|n| replica(*n)).collect::<Vec<_>>(), US);
        assert!(chain_of(&[2, 3, 4, 5, 6, 7, 8, 9]).is_ok());
        assert!(is_malformed(chain_of(&[2, 3, 4, 5, 6, 7, 8, 9, 10])));
        assert!(is_malformed(chain_of(&[2, 3, 2])));
        assert!(is_malformed(chain_of(&[2, 1])));
    }

    #[test]
    fn patches_are_whole_blocks_for_one_server() {
        assert!(patch(&request(4096, 8192), 5000).is_ok());
        assert!(is_malformed(patch(&request(4096, 100), 5000)));
        assert!(is_malformed(patch(&request(1, 4096), 5000)));
        assert!(is_malformed(patch(&request(0, 4096), CHUNK_SIZE as u32 + 1)));
        let mut forwarded = request(0, 4096);
        forwarded.rest.push(replica(2));
        assert!(is_malformed(patch(&forwarded, 4096)));
    }

    #[test]
    fn reads_deletes_and_hand_backs_are_limited() {
        let asked = |len| ReadRequest { handle: CHUNK.handle, at_least: ChunkVersion(1), offset: 0, len };
        assert!(read(&asked(MAX_PIECE_BYTES as u32)).is_ok());
        assert!(is_malformed(read(&asked(MAX_PIECE_BYTES as u32 + 1))));
        assert!(is_malformed(delete(&vec![(CHUNK.handle, CHUNK.version); MAX_DELETE + 1])));
        let mut requests =
            vec![ChainRequest { chunk: CHUNK, writer: SessionId::SERVERS, rest: vec![replica(2)] }; MAX_HAND_BACKS];
        assert!(hand_backs(&requests, US).is_ok());
        requests[7].rest.push(replica(1));
        assert!(is_malformed(hand_backs(&requests, US)), "we are in a chain twice");
        assert!(is_malformed(hand_backs(&vec![requests[0].clone(); MAX_HAND_BACKS + 1], US)));
    }
}
