//! One entry of the log for all proposals that wait.
//!
//! openraft appends and syncs an entry before it looks at the next one, so that without this each proposal would cost a
//! sync. While an entry is on its way to disk the proposals behind it gather, and the next entry takes all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use openraft::Raft;
use openraft::error::ClientWriteError;
use openraft::raft::ClientWriteResponse;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::ProposeError;
use super::log::LogError;
use super::log_store::LogStore;
use super::space::Reserve;
use super::types::{Commands, NodeId, TypeConfig};

/// Proposals that may wait for their entry; more wait to be let in.
pub(super) const QUEUE_LIMIT: usize = 4096;

/// Commands in one entry.
const ENTRY_COMMANDS: usize = 512;

/// Bytes of commands after which an entry is closed.
const ENTRY_BYTES: usize = 1024 * 1024;

/// Largest command.
pub(super) const MAX_COMMAND_BYTES: usize = 8 * 1024 * 1024;

/// Entries under way: one is being synced while the one before it is applied.
const ENTRIES_IN_FLIGHT: usize = 2;

/// Space in the log that is kept for raft's own entries, and for what an entry takes besides its commands.
const SPARE_BYTES: u64 = 16 * 1024;

type Answer = Result<Bytes, ProposeError>;
type Written = Result<ClientWriteResponse<TypeConfig>, ClientWriteError<NodeId, openraft::BasicNode>>;

/// A command and who waits for its answer.
pub(super) struct Proposal {
    pub(super) command: Bytes,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// Takes proposals from a queue and proposes entries.
pub(super) struct Batcher {
    pub(super) raft: Raft<TypeConfig>,
    pub(super) log: LogStore,
    pub(super) reserve: Reserve,
    /// Where a log that cannot go on is reported.
    pub(super) failure: watch::Sender<Option<String>>,
}

impl Batcher {
    /// Runs until the queue is closed and empty.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Proposal>) {
        let in_flight = Arc::new(Semaphore::new(ENTRIES_IN_FLIGHT));
        // Bytes of the entries that were proposed and may not be in the log yet.
        let unwritten = Arc::new(AtomicU64::new(0));
        while let Some(first) = queue.recv().await {
            // Waiting here is what lets proposals gather.
            let permit = Arc::clone(&in_flight).acquire_owned().await.expect("the semaphore is never closed");
            let (commands, answers) = gather(first, &mut queue);
            let bytes = commands.0.iter().map(|command| command.len() as u64).sum();
            let room = bytes + unwritten.load(Ordering::Relaxed) + SPARE_BYTES;
            match self.propose(commands, room).await {
                Err(error) => refuse(answers, &error),
                Ok(written) => {
                    unwritten.fetch_add(bytes, Ordering::Relaxed);
                    let unwritten = Arc::clone(&unwritten);
                    tokio::spawn(async move {
                        let written = written.await;
                        unwritten.fetch_sub(bytes, Ordering::Relaxed);
                        // The next entry need not wait for these to be handed out.
                        drop(permit);
                        settle(answers, written);
                    });
                }
            }
        }
    }

    /// Proposes an entry when there are `room` bytes set aside in the log.
    async fn propose(&mut self, commands: Commands, room: u64) -> Result<oneshot::Receiver<Written>, ProposeError> {
        if !self.reserve.is_there(room) {
            return Err(ProposeError::NoSpace);
        }
        match self.log.ensure_room(room).await {
            Ok(()) => {}
            Err(LogError::NoSpace { .. }) => return Err(ProposeError::NoSpace),
            Err(error) => {
                self.failure.send_replace(Some(error.to_string()));
                return Err(ProposeError::Stopped(error.to_string()));
            }
        }
        self.raft.client_write_ff(commands).await.map_err(|fatal| ProposeError::Stopped(fatal.to_string()))
    }
}

/// `first` and what waits behind it, up to the limits of an entry.
fn gather(first: Proposal, queue: &mut mpsc::Receiver<Proposal>) -> (Commands, Vec<oneshot::Sender<Answer>>) {
    let mut bytes = first.command.len();
    let mut commands = vec![first.command];
    let mut answers = vec![first.answer];
    while commands.len() < ENTRY_COMMANDS && bytes < ENTRY_BYTES {
        let Ok(next) = queue.try_recv() else { break };
        bytes += next.command.len();
        commands.push(next.command);
        answers.push(next.answer);
    }
    (Commands(Arc::new(commands)), answers)
}

fn settle(answers: Vec<oneshot::Sender<Answer>>, written: Result<Written, oneshot::error::RecvError>) {
    match written {
        Ok(Ok(response)) => {
            for (answer, outcome) in answers.into_iter().zip(response.data.0) {
                // Whoever gave up waiting does not need it.
                let _ = answer.send(Ok(outcome));
            }
        }
        Ok(Err(ClientWriteError::ForwardToLeader(other))) => {
            refuse(answers, &ProposeError::NotLeader { leader: other.leader_id });
        }
        Ok(Err(error)) => refuse(answers, &ProposeError::Stopped(error.to_string())),
        Err(_) => refuse(answers, &ProposeError::Stopped("raft ended while the command was under way".into())),
    }
}

fn refuse(answers: Vec<oneshot::Sender<Answer>>, error: &ProposeError) {
    for answer in answers {
        let _ = answer.send(Err(error.clone()));
    }
}
