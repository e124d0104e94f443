//! Asking the holders of a chunk for bytes: one after the other while they fail, and the next one as well when one takes long.
//!
//! Whom to ask is decided in [`super::replicas`]. The first good answer is taken; a call that was overtaken goes on without anybody
//! waiting for it, so that it is known what has become of it.

use std::future::poll_fn;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use cairn_proto::chunk::{BLOCK_SIZE, BlockSum, ChunkLocation, Replica};
use cairn_proto::chunkserver::{ReadReply, ReadRequest};
use cairn_proto::error::ChunkError;
use cairn_proto::ids::{ChunkVersion, ServerId};
use cairn_proto::meta::BadReplica;

use super::error::CallError;
use super::replicas::{Moment, Plan, Second};
use super::shared::Shared;

/// What asking the replicas of a chunk has brought.
pub(super) enum Round {
    Data(Bytes),
    /// No server has the chunk, and none ought to.
    Absent,
    Failed {
        tried: Vec<(ServerId, String)>,
        /// Some replica may answer later.
        later: bool,
    },
}

/// What one replica has answered.
enum Answer {
    Data(Bytes),
    Absent,
    /// Less than was committed.
    CutOff {
        data: Bytes,
        error: CallError,
    },
    Bad {
        error: CallError,
        later: bool,
    },
}

/// A call under way.
struct Asked {
    member: usize,
    is_hedge: bool,
    answer: Pin<Box<dyn Future<Output = Answer> + Send>>,
}

/// One that has ended.
struct Ended {
    member: usize,
    is_hedge: bool,
}

/// The calls for one range.
struct Asking<'a> {
    shared: &'a Arc<Shared>,
    location: &'a Arc<ChunkLocation>,
    request: ReadRequest,
    plan: Plan,
    /// In the order in which they were made.
    under_way: [Option<Asked>; 2],
}

impl Shared {
    /// Reads `range` of a chunk, whole blocks, from one of its replicas.
    pub(super) async fn ask_replicas(self: &Arc<Self>, location: &Arc<ChunkLocation>, range: Range<u32>) -> Round {
        let request = ReadRequest {
            handle: location.id.handle,
            at_least: ChunkVersion::FIRST,
            offset: range.start,
            len: range.end - range.start,
        };
        let mut plan = self.replicas.plan(location, request.offset, request.len);
        self.get_to_know(std::mem::take(&mut plan.strangers));
        Asking { shared: self, location, request, plan, under_way: [None, None] }.run().await
    }

    /// Finds out where servers stand, while they are read from already.
    pub(super) fn get_to_know(self: &Arc<Self>, strangers: Vec<ServerId>) {
        if strangers.is_empty() {
            return;
        }
        let shared = self.clone();
        self.runtime.spawn(async move {
            match shared.meta.places(strangers.clone()).await {
                Ok(places) => shared.replicas.placed(&strangers, &places),
                Err(error) => {
                    tracing::debug!(%error, "the metaserver did not say where chunkservers stand");
                    shared.replicas.not_placed();
                }
            }
        });
    }

    /// Logs and reports what is wrong with a replica that was asked at `began`. Answers whether it may be right later.
    pub(super) fn complain(
        &self,
        location: &ChunkLocation,
        replica: &Replica,
        error: &CallError,
        began: Moment,
    ) -> bool {
        let (what, later) = match error {
            CallError::Chunk(ChunkError::NotFound(_)) => (BadReplica::Missing, false),
            CallError::Chunk(ChunkError::VersionStale { .. }) => (BadReplica::Stale, true),
            CallError::Chunk(ChunkError::Stopping) | CallError::Transport { .. } => (BadReplica::Unreachable, true),
            CallError::Chunk(_) | CallError::Protocol(_) => (BadReplica::Damaged, false),
        };
        let (server, chunk, inode) = (replica.server, location.id.handle, location.id.inode);
        // A server that is away is told of once, not once per read.
        if self.replicas.failed(server, began) || what != BadReplica::Unreachable {
            tracing::warn!(%server, %chunk, %inode, ?what, %error, "a replica could not be read: trying another");
            let meta = self.meta.clone();
            self.runtime.spawn(async move { meta.report_bad_replica(chunk, server, what).await });
        }
        later
    }
}

impl Asking<'_> {
    async fn run(mut self) -> Round {
        let (mut tried, mut later, mut held_back) = (Vec::new(), false, false);
        let mut cut_off: Vec<Bytes> = Vec::new();
        loop {
            if self.under_way.iter().all(Option::is_none) {
                let Some(member) = self.plan.take_next() else {
                    // Where all say so it is no fault of one of them: what was never synced is gone with the power of all.
                    let all = cut_off.len() == self.location.replicas.len();
                    let longest = cut_off.into_iter().max_by_key(Bytes::len).filter(|_| all);
                    return longest.map_or(Round::Failed { tried, later }, Round::Data);
                };
                if !tried.is_empty() {
                    self.shared.replicas.failed_over();
                }
                self.ask(member, false);
                if std::mem::take(&mut self.plan.probe)
                    && let Some(beside) = self.plan.take_sound()
                {
                    self.ask(beside, false);
                }
            }
            let (after, another) = (self.plan.hedge_after, self.alone());
            let ended = tokio::select! {
                biased;
                ended = self.ended() => Some(ended),
                () = tokio::time::sleep(after), if another.is_some() => None,
            };
            match (ended, another) {
                (Some((asked, Answer::Data(data))), _) => {
                    self.overtake(asked);
                    return Round::Data(data);
                }
                (Some((asked, Answer::Absent)), _) => {
                    self.overtake(asked);
                    return Round::Absent;
                }
                (Some((asked, Answer::CutOff { data, error })), _) => {
                    cut_off.push(data);
                    tried.push((self.server(asked.member), error.to_string()));
                }
                (Some((asked, Answer::Bad { error, later: maybe })), _) => {
                    later |= maybe;
                    tried.push((self.server(asked.member), error.to_string()));
                }
                (None, Some((first, next))) => match self.shared.replicas.second(self.server(first), self.server(next))
                {
                    Second::Hedge => self.ask_second(true),
                    Second::MoveOn => self.ask_second(false),
                    Second::No if !std::mem::replace(&mut held_back, true) => self.shared.replicas.held_back(),
                    Second::No => {}
                },
                (None, None) => {}
            }
        }
    }

    /// The only member that is being asked, and the one that would be asked next.
    fn alone(&self) -> Option<(usize, usize)> {
        match &self.under_way {
            [Some(asked), None] | [None, Some(asked)] => Some((asked.member, self.plan.next()?)),
            [Some(_), Some(_)] | [None, None] => None,
        }
    }

    fn ask_second(&mut self, is_hedge: bool) {
        if let Some(member) = self.plan.take_next() {
            self.ask(member, is_hedge);
        }
    }

    fn ask(&mut self, member: usize, is_hedge: bool) {
        // Who was asked earlier stands first.
        if self.under_way[0].is_none() {
            self.under_way.swap(0, 1);
        }
        let answer = self.call(member);
        let place = usize::from(self.under_way[0].is_some());
        self.under_way[place] = Some(Asked { member, is_hedge, answer });
    }

    /// Asks one member. What comes of it is noted whether or not anybody waits for it.
    fn call(&self, member: usize) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let (shared, location, request) = (self.shared.clone(), self.location.clone(), self.request);
        Box::pin(async move {
            let replica = &location.replicas[member];
            let began = shared.replicas.asked(replica.server);
            let answer = shared.transport.read(&replica.endpoint, request).await;
            let answer = match answer.and_then(|reply| verify(&location, &request, reply)) {
                Ok(data) => match check_whole(&location, &request, &data) {
                    Ok(()) => Answer::Data(data),
                    Err(error) => {
                        shared.complain(&location, replica, &error, began);
                        return Answer::CutOff { data, error };
                    }
                },
                Err(CallError::Chunk(ChunkError::NotFound(_))) if location.length == 0 => Answer::Absent,
                Err(error) => {
                    let later = shared.complain(&location, replica, &error, began);
                    return Answer::Bad { error, later };
                }
            };
            shared.replicas.answered(replica.server, request.len, began);
            answer
        })
    }

    /// The first call to end.
    fn ended(&mut self) -> impl Future<Output = (Ended, Answer)> {
        let under_way = &mut self.under_way;
        poll_fn(move |context| {
            for slot in under_way.iter_mut() {
                if let Some(asked) = slot
                    && let Poll::Ready(answer) = asked.answer.as_mut().poll(context)
                {
                    let ended = Ended { member: asked.member, is_hedge: asked.is_hedge };
                    *slot = None;
                    return Poll::Ready((ended, answer));
                }
            }
            Poll::Pending
        })
    }

    /// One has answered; the other call, if there is one, goes on by itself.
    fn overtake(&mut self, winner: Ended) {
        let other = self.under_way.iter_mut().find_map(Option::take);
        if winner.is_hedge {
            self.shared.replicas.hedge_won(other.as_ref().map(|other| self.server(other.member)));
        }
        if let Some(other) = other {
            let stop = self.shared.stop.clone();
            self.shared.runtime.spawn(async move {
                let _ = stop.run_until_cancelled(other.answer).await;
            });
        }
    }

    fn server(&self, member: usize) -> ServerId {
        self.location.replicas[member].server
    }
}

/// End to end: the bytes are those that their writer has summed.
fn verify(location: &ChunkLocation, request: &ReadRequest, reply: ReadReply) -> Result<Bytes, CallError> {
    let data = reply.data.0;
    if reply.offset != request.offset || data.len() > request.len as usize {
        return Err(CallError::Protocol("answered a read of another range"));
    }
    let blocks = data.chunks(BLOCK_SIZE);
    if reply.sums.len() != blocks.len() {
        return Err(CallError::Protocol("answered a read without a sum for each block"));
    }
    let first = reply.offset / BLOCK_SIZE as u32;
    match blocks.zip(&reply.sums).position(|(block, sum)| BlockSum::of(block) != *sum) {
        None => Ok(data),
        Some(block) => {
            let block = first + block as u32;
            Err(CallError::Chunk(ChunkError::DamagedOnDisk { handle: location.id.handle, block }))
        }
    }
}

/// What was written is there, on every member: a copy that ends before it has lost it, and it must not be taken for a hole.
fn check_whole(location: &ChunkLocation, request: &ReadRequest, data: &Bytes) -> Result<(), CallError> {
    let end = request.offset + data.len() as u32;
    if end >= location.length.min(request.offset + request.len) {
        return Ok(());
    }
    let block = end / BLOCK_SIZE as u32;
    Err(CallError::Chunk(ChunkError::DamagedOnDisk { handle: location.id.handle, block }))
}
