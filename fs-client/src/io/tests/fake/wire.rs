//! Calls to the chunkservers, as they come through.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cairn_proto::chunk::{ChunkId, Replica, fragment_crcs};
use cairn_proto::chunkserver::{ChainAck, ChainRequest, MemberAck, ReadReply, ReadRequest, WriteRequest, ZeroRequest};
use cairn_proto::error::{ChainFailure, ChunkError};
use cairn_proto::ids::{ChunkHandle, ServerId};
use cairn_proto::transport::{CallFailure, Endpoint};

use super::{Fake, Script, World};
use crate::io::{CallError, ChunkTransport};

/// A read of a server that has stopped takes no longer.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// What every member of a chain does.
#[derive(Clone)]
enum Act {
    Write { offset: u32, data: bytes::Bytes, sync: bool },
    Zero(u32, u32),
    Sync { hand_back: bool },
}

fn failed(failure: CallFailure) -> CallError {
    CallError::Transport { failure, detail: format!("{failure:?} as injected") }
}

impl World {
    fn act(&mut self, id: ServerId, chunk: ChunkId, act: &Act) -> Result<MemberAck, ChunkError> {
        let server = self.server(id);
        match act {
            Act::Write { offset, data, sync } => {
                server.write(chunk, *offset, Some(data), data.len() as u32)?;
                if *sync {
                    server.sync(chunk, false)?;
                }
            }
            Act::Zero(offset, len) => server.write(chunk, *offset, None, *len)?,
            Act::Sync { hand_back } => server.sync(chunk, *hand_back)?,
        }
        Ok(MemberAck { server: id, boot: server.boot })
    }

    fn id_at(&self, endpoint: &Endpoint) -> ServerId {
        self.servers.iter().find(|server| server.endpoint == *endpoint).expect("an endpoint of ours").id
    }
}

impl Fake {
    /// The first `count` members do it, in order.
    async fn run(
        &self,
        head: ServerId,
        rest: &[Replica],
        chunk: ChunkId,
        act: &Act,
        count: usize,
    ) -> Result<ChainAck, CallError> {
        let mut members = Vec::new();
        for id in std::iter::once(head).chain(rest.iter().map(|replica| replica.server)).take(count) {
            let pause = self.faults.lock().pause();
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let mut world = self.world.lock();
            if !world.server(id).up {
                let cause = ChainFailure::Unreachable("down".into());
                return Err(if id == head {
                    failed(CallFailure::Lost)
                } else {
                    ChunkError::Chain { server: id, cause }.into()
                });
            }
            match world.act(id, chunk, act) {
                Ok(ack) => members.push(ack),
                Err(error) if id == head => return Err(error.into()),
                Err(error) => {
                    let cause = ChainFailure::Refused(Box::new(error));
                    return Err(ChunkError::Chain { server: id, cause }.into());
                }
            }
        }
        let mut world = self.world.lock();
        let allocated = world.server(head).chunks.get(&chunk.handle).map_or(0, |chunk| chunk.allocated());
        Ok(ChainAck { members, allocated })
    }

    async fn call(
        &self,
        script: Script,
        head: &Endpoint,
        rest: &[Replica],
        chunk: ChunkId,
        act: Act,
    ) -> Result<ChainAck, CallError> {
        let head = self.world.lock().id_at(head);
        match script {
            Script::Fine => self.run(head, rest, chunk, &act, usize::MAX).await,
            Script::NotSent => Err(failed(CallFailure::NotSent)),
            Script::LostAfter(count) => {
                let _ = self.run(head, rest, chunk, &act, count).await;
                Err(failed(CallFailure::Lost))
            }
            Script::LostButDoneLater(_) => Err(failed(CallFailure::Lost)),
            Script::DamagedInTransit => Err(ChunkError::DamagedInTransit { handle: chunk.handle, block: 0 }.into()),
            Script::Fenced => {
                self.world.lock().fence(chunk.inode, chunk.handle);
                self.run(head, rest, chunk, &act, usize::MAX).await
            }
        }
    }

    fn check_write(&self, request: &WriteRequest) {
        let mut world = self.world.lock();
        let (first, last) = (request.offset / 4096, (request.offset + request.data.0.len() as u32 - 1) / 4096);
        let (handle, version) = (request.chunk.handle, request.chunk.version.0);
        if request.crcs != fragment_crcs(u64::from(request.offset), &request.data.0) {
            world.violations.push(format!("{handle}: sums do not match"));
        }
        let overlaps = |w: &(ChunkHandle, u32, u32, u32)| w.0 == handle && w.2 <= last && first <= w.3;
        if world.writing.iter().any(overlaps) {
            world.violations.push(format!("{handle}: two writes to blocks {first} to {last} at once"));
        }
        let location = world.locations(request.chunk.inode, request.chunk.index, 1).pop();
        if location.is_some_and(|location| location.trimmed_at.is_some()) {
            world.violations.push(format!("{handle}: written while it is trimmed"));
        }
        world.counts.writes += 1;
        world.writing.push((handle, version, first, last));
    }
}

/// A call that nobody waits for any more still comes through, to every member that does not fence it off.
fn haunt(fake: &Arc<Fake>, script: Script, head: &Endpoint, request: &WriteRequest) {
    let Script::LostButDoneLater(after) = script else { return };
    let (fake, head, request) = (fake.clone(), fake.world.lock().id_at(head), request.clone());
    tokio::spawn(async move {
        tokio::time::sleep(after).await;
        let act = Act::Write { offset: request.offset, data: request.data.0.clone(), sync: request.sync };
        let _ = fake.run(head, &request.rest, request.chunk, &act, usize::MAX).await;
    });
}

#[async_trait]
impl ChunkTransport for Arc<Fake> {
    async fn write(&self, head: &Endpoint, request: WriteRequest) -> Result<ChainAck, CallError> {
        self.check_write(&request);
        let held = self.faults.lock().hold_writes.clone();
        if let Some(held) = held {
            held.acquire().await.expect("not closed").forget();
        }
        let alone = request.rest.is_empty();
        let script = self.faults.lock().next_write();
        let script = match script {
            // With nobody left to fence it off it would come back as a ghost: the one case that the protocol cannot exclude.
            Script::LostButDoneLater(_) if alone => Script::LostAfter(1),
            Script::Fine if request.sync => self.faults.lock().next_sync(),
            script => script,
        };
        self.world.lock().counts.synced_writes += usize::from(request.sync);
        haunt(self, script, head, &request);
        let act = Act::Write { offset: request.offset, data: request.data.0.clone(), sync: request.sync };
        let answer = self.call(script, head, &request.rest, request.chunk, act).await;
        let mut world = self.world.lock();
        let (first, handle) = (request.offset / 4096, request.chunk.handle);
        if let Some(at) = world.writing.iter().position(|w| w.0 == handle && w.2 == first) {
            world.writing.swap_remove(at);
        }
        answer
    }

    async fn zero(&self, head: &Endpoint, request: ZeroRequest) -> Result<ChainAck, CallError> {
        let script = match self.faults.lock().next_write() {
            Script::LostButDoneLater(_) => Script::LostAfter(1),
            script => script,
        };
        self.call(script, head, &request.rest, request.chunk, Act::Zero(request.offset, request.len)).await
    }

    async fn sync(&self, head: &Endpoint, request: ChainRequest) -> Result<ChainAck, CallError> {
        self.world.lock().counts.syncs += 1;
        let script = self.faults.lock().next_sync();
        self.call(script, head, &request.rest, request.chunk, Act::Sync { hand_back: false }).await
    }

    async fn hand_back(&self, head: &Endpoint, request: ChainRequest) -> Result<ChainAck, CallError> {
        self.world.lock().counts.hand_backs += 1;
        let script = self.faults.lock().next_sync();
        self.call(script, head, &request.rest, request.chunk, Act::Sync { hand_back: true }).await
    }

    async fn read(&self, from: &Endpoint, request: ReadRequest) -> Result<ReadReply, CallError> {
        let (pause, lost) = {
            let mut faults = self.faults.lock();
            (faults.pause(), faults.chance())
        };
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let (id, mut stopped) = {
            let mut world = self.world.lock();
            let id = world.id_at(from);
            world.counts.reads += 1;
            let server = world.server(id);
            server.reads += 1;
            (id, server.stopped.subscribe())
        };
        let goes_on = stopped.wait_for(|stopped| !stopped);
        if tokio::time::timeout(READ_TIMEOUT, goes_on).await.is_err() {
            return Err(failed(CallFailure::TimedOut));
        }
        let mut world = self.world.lock();
        if lost || !world.server(id).up {
            return Err(failed(CallFailure::Lost));
        }
        let reply = world.server(id).read(&request)?;
        world.counts.read_bytes += reply.data.0.len();
        Ok(reply)
    }

    async fn extents(&self, from: &Endpoint, handle: ChunkHandle) -> Result<Vec<(u32, u32)>, CallError> {
        let mut world = self.world.lock();
        let id = world.id_at(from);
        let server = world.server(id);
        let chunk = server.chunks.get(&handle).ok_or(ChunkError::NotFound(handle))?;
        let mut extents: Vec<(u32, u32)> = Vec::new();
        for block in chunk.now.blocks.keys() {
            match extents.last_mut() {
                Some((at, len)) if *at + *len == block * 4096 => *len += 4096,
                Some(_) | None => extents.push((block * 4096, 4096)),
            }
        }
        Ok(extents)
    }
}
