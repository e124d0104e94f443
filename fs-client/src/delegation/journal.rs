//! What was done here and not yet sent.

use std::collections::{HashMap, VecDeque};

use cairn_proto::ids::InodeId;
use cairn_proto::meta::{Ahead, Mutation};
use cairn_proto::time::Timestamp;

/// Mutations that wait to be sent at most; then whoever wants to do more waits, too.
pub(super) const MAX_QUEUED: usize = 8 << 10;

/// A mutation that was done here.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub mutation: Mutation,
    pub ahead: Ahead,
    /// Whatever looks different because of it.
    pub touches: Vec<InodeId>,
}

/// See the module. Its order is the order in which things were done, and are sent.
#[derive(Debug, Default)]
pub(super) struct Journal {
    queue: VecDeque<Done>,
    /// Mutations, queued or on their way, by what they touch.
    pending: HashMap<InodeId, u32>,
    /// Those ever done here, and those answered.
    done: u64,
    answered: u64,
    /// Place of the last one in the present session.
    position: u64,
}

impl Journal {
    pub fn push(&mut self, mutation: Mutation, at: Timestamp, inode: Option<InodeId>, touches: Vec<InodeId>) {
        self.position += 1;
        self.done += 1;
        for &touched in &touches {
            *self.pending.entry(touched).or_default() += 1;
        }
        self.queue.push_back(Done { mutation, ahead: Ahead { position: self.position, at, inode }, touches });
    }

    /// The next ones to send.
    pub fn take(&mut self, most: usize) -> Vec<Done> {
        let count = self.queue.len().min(most);
        self.queue.drain(..count).collect()
    }

    /// One of them is answered.
    pub fn answered(&mut self, done: &Done) {
        self.answered += 1;
        for touched in &done.touches {
            if let Some(count) = self.pending.get_mut(touched) {
                *count -= 1;
                if *count == 0 {
                    self.pending.remove(touched);
                }
            }
        }
    }

    /// The session is gone, and with it everything that was not answered. Says how much that is, and what it touched.
    pub fn lose(&mut self) -> (u64, Vec<InodeId>) {
        let lost = self.done - self.answered;
        self.queue.clear();
        self.answered = self.done;
        self.position = 0;
        (lost, self.pending.drain().map(|(touched, _)| touched).collect())
    }

    pub fn is_pending(&self, inode: InodeId) -> bool {
        self.pending.contains_key(&inode)
    }

    pub fn is_idle(&self) -> bool {
        self.done == self.answered
    }

    /// Those that are not answered.
    pub fn len(&self) -> usize {
        (self.done - self.answered) as usize
    }

    /// Mutations ever done here.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Whether the first `target` mutations are answered.
    pub fn has_reached(&self, target: u64) -> bool {
        self.answered >= target
    }
}
