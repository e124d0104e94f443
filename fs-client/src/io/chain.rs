//! The chunks of one file as its writer sees them: calls to a chunk's chain that survive the failure of its members.
//!
//! A failed member is reported, the metaserver answers with a chain of the others under a new version, and the call is repeated
//! there. A call that returns has been done by every current replica.

use std::sync::Arc;

use bytes::Bytes;
use cairn_proto::chunk::{CHUNK_SIZE, ChunkLocation, Replica, fragment_crcs};
use cairn_proto::chunkserver::{ChainAck, ChainRequest, WriteRequest, ZeroRequest};
use cairn_proto::ids::{ChunkHandle, ChunkIndex, InodeId, ServerId};
use cairn_proto::transport::Payload;

use super::attempts::Attempts;
use super::error::{CallError, IoError, MetaError};
use super::locations::Locations;
use super::shared::Shared;
use super::verdict::{Repeat, Verdict, judge};
use crate::failpoint::{BEFORE_PIECE, BEFORE_REPLACE, crash_point};

/// Repetitions that a member is given before it counts as failed, where its failure may be a passing one.
const PATIENT_REPETITIONS: u32 = 3;

/// The chunks of one file.
#[derive(Debug)]
pub(super) struct Chains {
    inode: InodeId,
    shared: Arc<Shared>,
    locations: Arc<Locations>,
}

/// What all current replicas of a chunk have done.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) location: Arc<ChunkLocation>,
    pub(super) ack: ChainAck,
}

/// Why one round of an operation did not succeed.
#[derive(Debug)]
enum Trouble {
    Meta(MetaError),
    /// With the location it was tried at.
    Call(Arc<ChunkLocation>, CallError),
}

impl From<MetaError> for Trouble {
    fn from(e: MetaError) -> Self {
        Self::Meta(e)
    }
}

/// One operation: its attempts so far.
struct Operation {
    index: ChunkIndex,
    repeat: Repeat,
    attempts: Attempts,
    patient: u32,
}

impl Chains {
    pub(super) fn new(inode: InodeId, shared: Arc<Shared>, locations: Arc<Locations>) -> Self {
        Self { inode, shared, locations }
    }

    /// Writes a piece at `offset` of the file; it lies within one chunk. Allocates the chunk where there is none. `sync`: and then
    /// syncs the chunk.
    pub(super) async fn write(&self, offset: u64, data: Bytes, sync: bool) -> Result<Done, IoError> {
        let index = self.index_of(offset)?;
        let at = (offset - index.start()) as u32;
        let crcs = fragment_crcs(u64::from(at), &data);
        let attempts = self.shared.tireless_attempts();
        let mut operation = Operation { index, repeat: Repeat::UnderANewVersion, attempts, patient: 0 };
        loop {
            let tried = async {
                let location = self.writable(index).await?;
                let request = WriteRequest {
                    chunk: location.id,
                    writer: self.shared.meta.writer(),
                    offset: at,
                    crcs: crcs.clone(),
                    rest: rest(&location),
                    sync,
                    data: Payload(data.clone()),
                };
                crash_point(BEFORE_PIECE);
                let answer = self.shared.transport.write(&location.replicas[0].endpoint, request).await;
                judge_ack(location, answer)
            };
            match tried.await {
                Ok(done) => {
                    self.locations.grow(index, done.location.id.handle, at + data.len() as u32);
                    return Ok(done);
                }
                Err(trouble) => self.recover(&mut operation, trouble).await?,
            }
        }
    }

    /// Makes `[at, at + len)` of a chunk a hole. `None` where the file has no such chunk.
    pub(super) async fn zero(&self, index: ChunkIndex, at: u32, len: u32) -> Result<Option<Done>, IoError> {
        let mut operation = self.operation(index, Repeat::UnderANewVersion);
        loop {
            let tried = async {
                if self.locations.locate(index, index).await?.is_none() {
                    return Ok(None);
                }
                let location = self.writable(index).await?;
                self.zero_once(location, at, len).await.map(Some)
            };
            match tried.await {
                Ok(done) => return Ok(done),
                Err(trouble) => self.recover(&mut operation, trouble).await?,
            }
        }
    }

    /// Brings what is acknowledged of a chunk to stable storage. `None` where the chunk is no longer part of the file.
    pub(super) async fn sync(&self, index: ChunkIndex, handle: ChunkHandle) -> Result<Option<Done>, IoError> {
        self.settle(index, handle, false).await
    }

    /// [`Self::sync`], and the chunk is no longer being written.
    pub(super) async fn hand_back(&self, index: ChunkIndex, handle: ChunkHandle) -> Result<Option<Done>, IoError> {
        self.settle(index, handle, true).await
    }

    /// Goes on without members that have lost acknowledged bytes.
    pub(super) async fn leave_out(
        &self,
        index: ChunkIndex,
        handle: ChunkHandle,
        servers: &[ServerId],
    ) -> Result<(), IoError> {
        let mut operation = self.operation(index, Repeat::Freely);
        loop {
            let tried = async {
                let location = match self.locations.locate(index, index).await? {
                    Some(location) if location.id.handle == handle => location,
                    Some(_) | None => return Ok(true),
                };
                if !location.replicas.iter().any(|replica| servers.contains(&replica.server)) {
                    return Ok(true);
                }
                let next = self.locations.replace(&location, servers.to_vec(), 0).await?;
                Ok(next.id != location.id)
            };
            match tried.await {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    let last = "the members that have all of it cannot be reached".to_owned();
                    let error = IoError::Unwritable { inode: self.inode, index, handle, last };
                    operation.attempts.pause(error).await?;
                }
                Err(error) => self.wait_out(&mut operation, error).await?,
            }
        }
    }

    /// Has a chunk of which no copy is left made anew. Its first `held` bytes are to be written again by the caller, who has them: see
    /// [`MetaIo::replace_failed`](super::meta_io::MetaIo::replace_failed).
    pub(super) async fn make_anew(&self, index: ChunkIndex, held: u32) -> Result<(), IoError> {
        let mut operation = self.operation(index, Repeat::Freely);
        loop {
            let tried = async {
                match self.locations.locate(index, index).await? {
                    Some(location) => self.locations.replace(&location, Vec::new(), held).await.map(drop),
                    None => Ok(()),
                }
            };
            match tried.await {
                Ok(()) => return Ok(()),
                Err(error) => self.wait_out(&mut operation, error).await?,
            }
        }
    }

    async fn settle(&self, index: ChunkIndex, handle: ChunkHandle, hand_back: bool) -> Result<Option<Done>, IoError> {
        let mut operation = self.operation(index, Repeat::Freely);
        loop {
            let tried = async {
                let location = match self.locations.locate(index, index).await? {
                    Some(location) if location.id.handle == handle => location,
                    Some(_) | None => return Ok(None),
                };
                let request = self.chain_request(&location);
                let (transport, head) = (&self.shared.transport, &location.replicas[0].endpoint);
                let answer = match hand_back {
                    false => transport.sync(head, request).await,
                    true => transport.hand_back(head, request).await,
                };
                judge_ack(location, answer).map(Some)
            };
            match tried.await {
                Ok(done) => return Ok(done),
                Err(trouble) => self.recover(&mut operation, trouble).await?,
            }
        }
    }

    /// Where a chunk is to be written: it exists, and nothing that a truncate cut off can show again.
    async fn writable(&self, index: ChunkIndex) -> Result<Arc<ChunkLocation>, Trouble> {
        loop {
            let location = self.locations.allocate(index).await?;
            let Some(cut) = location.trimmed_at else { return Ok(location) };
            self.locations.clear_trim(&location, cut, self.clear_trim(location.clone(), cut)).await?;
        }
    }

    /// Zeroes a chunk from `cut` on, durably: the metaserver will forget that it was cut, so a power cut must not bring the old
    /// bytes back.
    async fn clear_trim(&self, location: Arc<ChunkLocation>, cut: u32) -> Result<(), Trouble> {
        loop {
            let zeroed = self.zero_once(location.clone(), cut, CHUNK_SIZE as u32 - cut).await?;
            let request = self.chain_request(&location);
            let answer = self.shared.transport.sync(&location.replicas[0].endpoint, request).await;
            let synced = judge_ack(location.clone(), answer)?;
            if zeroed.ack.members.iter().all(|member| synced.ack.members.contains(member)) {
                return Ok(());
            }
        }
    }

    async fn zero_once(&self, location: Arc<ChunkLocation>, at: u32, len: u32) -> Result<Done, Trouble> {
        let writer = self.shared.meta.writer();
        let request = ZeroRequest { chunk: location.id, writer, offset: at, len, rest: rest(&location) };
        let answer = self.shared.transport.zero(&location.replicas[0].endpoint, request).await;
        judge_ack(location, answer)
    }

    fn chain_request(&self, location: &ChunkLocation) -> ChainRequest {
        ChainRequest { chunk: location.id, writer: self.shared.meta.writer(), rest: rest(location) }
    }

    fn operation(&self, index: ChunkIndex, repeat: Repeat) -> Operation {
        let attempts = self.shared.write_attempts();
        Operation { index, repeat, attempts, patient: 0 }
    }

    /// Does what makes another attempt worthwhile, or says that nothing does.
    async fn recover(&self, operation: &mut Operation, trouble: Trouble) -> Result<(), IoError> {
        let (location, error) = match trouble {
            Trouble::Call(location, error) => (location, error),
            Trouble::Meta(error) => return self.wait_out(operation, error).await,
        };
        let head = location.replicas[0].server;
        let unwritable = |error: &CallError| IoError::Unwritable {
            inode: self.inode,
            index: operation.index,
            handle: location.id.handle,
            last: error.to_string(),
        };
        let (server, full) = match judge(&error, head, operation.repeat) {
            Verdict::GiveUp => return Err(unwritable(&error)),
            Verdict::Relocate => {
                self.locations.forget(&location);
                return operation.attempts.pause(unwritable(&error)).await;
            }
            Verdict::Patiently { server } if operation.patient < PATIENT_REPETITIONS => {
                operation.patient += 1;
                tracing::info!(%server, chunk = %location.id.handle, %error, "a chunkserver failed a call: trying it again");
                return operation.attempts.pause(unwritable(&error)).await;
            }
            Verdict::Patiently { server } => (server, false),
            Verdict::Replace { server, full } => (server, full),
        };
        operation.patient = 0;
        if full && location.replicas.len() == 1 {
            // Nobody is left to go on with, and waiting makes no space.
            return Err(IoError::NoSpace { inode: self.inode, index: operation.index });
        }
        self.shared.replicas.failed(server, self.shared.replicas.now());
        crash_point(BEFORE_REPLACE);
        tracing::warn!(%server, chunk = %location.id.handle, inode = %self.inode, %error,
            "a chunkserver failed: going on without it");
        let error = unwritable(&error);
        match self.locations.replace(&location, vec![server], 0).await {
            Err(error) => self.wait_out(operation, error).await,
            // The same servers under a new version may refuse it again, for ever: no faster than anybody can do something about it.
            Ok(next) if next.id != location.id && same_servers(&next, &location) => {
                operation.attempts.pause(error).await
            }
            Ok(next) if next.id != location.id => Ok(()),
            Ok(_) if full => Err(IoError::NoSpace { inode: self.inode, index: operation.index }),
            // Nobody would be left. Then it is worth waiting for those that there are.
            Ok(_) => operation.attempts.pause(error).await,
        }
    }

    /// Waits before the metaserver is asked again; or its refusal is final.
    async fn wait_out(&self, operation: &mut Operation, cause: MetaError) -> Result<(), IoError> {
        let transient = cause.is_transient();
        let error = self.meta_error(operation.index, cause);
        if !transient {
            return Err(error);
        }
        operation.attempts.pause(error).await
    }

    fn meta_error(&self, index: ChunkIndex, cause: MetaError) -> IoError {
        match cause {
            MetaError::Refused(cairn_proto::error::FsError::NoSpace) => IoError::NoSpace { inode: self.inode, index },
            cause => IoError::Meta { inode: self.inode, cause },
        }
    }

    fn index_of(&self, offset: u64) -> Result<ChunkIndex, IoError> {
        ChunkIndex::of_offset(offset).ok_or(IoError::TooLarge(self.inode))
    }

    /// Allocates a chunk that a sequential writer will reach soon. What goes wrong here goes wrong again when it is needed.
    pub(super) async fn allocate_ahead(&self, index: ChunkIndex) {
        if let Err(error) = self.locations.allocate(index).await {
            tracing::debug!(inode = %self.inode, %index, %error, "could not allocate a chunk ahead");
        }
    }
}

fn same_servers(one: &ChunkLocation, other: &ChunkLocation) -> bool {
    let servers = |location: &ChunkLocation| location.replicas.iter().map(|replica| replica.server).collect::<Vec<_>>();
    servers(one) == servers(other)
}

/// The chain behind its head.
fn rest(location: &ChunkLocation) -> Vec<Replica> {
    location.replicas[1..].to_vec()
}

/// An acknowledgement counts only if it is everybody's.
fn judge_ack(location: Arc<ChunkLocation>, answer: Result<ChainAck, CallError>) -> Result<Done, Trouble> {
    let has = |ack: &ChainAck, server: ServerId| ack.members.iter().any(|member| member.server == server);
    match answer {
        Ok(ack) if location.replicas.iter().all(|replica| has(&ack, replica.server)) => Ok(Done { location, ack }),
        Ok(_) => Err(Trouble::Call(location, CallError::Protocol("acknowledged without naming all of the chain"))),
        Err(error) => Err(Trouble::Call(location, error)),
    }
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operation").field("index", &self.index).field("patient", &self.patient).finish_non_exhaustive()
    }
}
