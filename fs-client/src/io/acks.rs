//! What chunkservers have acknowledged and may still lose: bytes that no disk has yet.
//!
//! Every acknowledgement names the kernel (boot id) that holds the bytes of each member. When a chunk is synced and a member
//! answers under another boot id, it has lost what it acknowledged before. What was written is kept here until then, as far as
//! memory allows, and sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use cairn_proto::chunk::CHUNK_SIZE;
use cairn_proto::chunkserver::{ChainAck, MemberAck};
use cairn_proto::ids::{BootId, ChunkHandle, ChunkIndex, ServerId};

use super::budget::Budget;
use super::runs::{Parts, Runs};

/// Number of an acknowledgement within its file, ascending.
pub(super) type AckSeq = u64;

/// The acknowledged, unsynced part of one file.
#[derive(Debug)]
pub(super) struct Acks {
    seq: AckSeq,
    unsynced: BTreeMap<ChunkIndex, Unsynced>,
    /// The part of it that a sync is under way for.
    in_sync: BTreeMap<ChunkIndex, Unsynced>,
    retained: Runs<AckSeq>,
    /// Of the retained bytes.
    budget: Arc<Budget>,
    /// Chunks that are dirty at the chunkservers because of this file's writes.
    dirty: BTreeMap<ChunkIndex, ChunkHandle>,
    /// Chunks of which a write failed for good, or bytes are lost: their copies may differ. They are never handed back, so that
    /// the cluster makes the copies the same once the file is closed.
    diverged: BTreeSet<ChunkIndex>,
}

/// The acknowledgements of one chunk since its last sync.
#[derive(Debug)]
struct Unsynced {
    handle: ChunkHandle,
    /// The last acknowledgement in it.
    until: AckSeq,
    boots: Vec<(ServerId, BootId)>,
    /// Everything that was acknowledged is retained.
    complete: bool,
    /// Members that have acknowledged under two boot ids, or are known to have lost what they acknowledged.
    restarted: BTreeSet<ServerId>,
}

/// What a sync covers that is sent along with a write: what had been acknowledged by then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark(AckSeq);

/// What is to be synced, or handed back.
#[derive(Debug)]
pub(super) struct ToSync {
    pub(super) chunks: Vec<(ChunkIndex, ChunkHandle)>,
    /// Acknowledgements up to this one are in it.
    until: AckSeq,
}

/// What a sync that all of a chain has done means for what was acknowledged before.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// It is safe. These bytes need not be retained any more.
    Safe(Parts),
    /// These members have lost some of it. All of it is here, and is to be written again.
    WriteAgain(Vec<ServerId>, Parts),
    /// These members have lost some of it; the others have it still.
    LeaveOut(Vec<ServerId>),
    /// All members may have lost some of it, and it is not here any more.
    Lost(ServerId),
}

impl Acks {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self {
            seq: 0,
            unsynced: BTreeMap::new(),
            in_sync: BTreeMap::new(),
            retained: Runs::default(),
            budget,
            dirty: BTreeMap::new(),
            diverged: BTreeSet::new(),
        }
    }

    pub(super) fn has_unsynced(&self) -> bool {
        !self.unsynced.is_empty() || !self.in_sync.is_empty()
    }

    /// There are chunks to be handed back.
    pub(super) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Something could not be written again if it were lost.
    pub(super) fn is_incomplete(&self) -> bool {
        self.unsynced.values().any(|chunk| !chunk.complete)
    }

    /// The copies of a chunk may differ from now on.
    pub(super) fn diverged(&mut self, index: ChunkIndex) {
        self.diverged.insert(index);
        self.dirty.remove(&index);
    }

    /// `data` at `start` of the file is acknowledged. Answers what is retained no longer: this, or older bytes.
    pub(super) fn wrote(
        &mut self,
        index: ChunkIndex,
        handle: ChunkHandle,
        start: u64,
        data: Bytes,
        ack: &ChainAck,
    ) -> Parts {
        self.acknowledged(index, handle, ack);
        self.cut(start..start + data.len() as u64);
        let mut dropped = Parts::new();
        while !self.budget.try_take(data.len()) {
            let Some((at, old, _)) = self.retained.pop_first() else {
                self.incomplete(index);
                dropped.push((start, data));
                return dropped;
            };
            self.budget.give_back(old.len());
            self.incomplete(ChunkIndex((at / CHUNK_SIZE) as u32));
            dropped.push((at, old));
        }
        self.retained.put(start, data, self.seq);
        dropped
    }

    /// To be taken when a write that syncs its chunk is sent, for [`Self::wrote_and_synced`].
    pub(super) fn mark(&self) -> Mark {
        Mark(self.seq)
    }

    /// As [`Self::wrote`]; all of the chain has also synced the chunk, after this write and all that `mark` covers.
    ///
    /// Where a member has lost something, or where more than the mark covers has been acknowledged meanwhile, the sync counts for
    /// nothing, and the next one finds out what there is to find out.
    pub(super) fn wrote_and_synced(
        &mut self,
        index: ChunkIndex,
        handle: ChunkHandle,
        start: u64,
        data: Bytes,
        ack: &ChainAck,
        mark: Mark,
    ) -> Parts {
        let counts =
            |earlier: &Unsynced| earlier.handle == handle && earlier.until <= mark.0 && earlier.lost_by(ack).is_empty();
        if self.in_sync.contains_key(&index) || !self.unsynced.get(&index).is_none_or(counts) {
            return self.wrote(index, handle, start, data, ack);
        }
        self.unsynced.remove(&index);
        self.now_dirty(index, handle);
        self.cut(start..start + data.len() as u64);
        let mut safe = self.retained.take(bytes_of(index), |seq| seq <= mark.0);
        self.budget.give_back(safe.iter().map(|(_, data)| data.len()).sum());
        safe.push((start, data));
        safe
    }

    /// `range` of the file, within one chunk, is acknowledged to be a hole.
    pub(super) fn zeroed(&mut self, index: ChunkIndex, handle: ChunkHandle, range: Range<u64>, ack: &ChainAck) {
        self.acknowledged(index, handle, ack);
        self.cut(range);
        // A hole is not retained, so it could not be made again.
        self.incomplete(index);
    }

    fn acknowledged(&mut self, index: ChunkIndex, handle: ChunkHandle, ack: &ChainAck) {
        self.seq += 1;
        self.now_dirty(index, handle);
        let chunk = self.unsynced.entry(index).or_insert_with(|| Unsynced::new(handle));
        if chunk.handle != handle {
            *chunk = Unsynced::new(handle);
        }
        chunk.until = self.seq;
        chunk.merge(&ack.members);
    }

    fn now_dirty(&mut self, index: ChunkIndex, handle: ChunkHandle) {
        if !self.diverged.contains(&index) {
            self.dirty.insert(index, handle);
        }
    }

    fn incomplete(&mut self, index: ChunkIndex) {
        for chunk in [self.unsynced.get_mut(&index), self.in_sync.get_mut(&index)].into_iter().flatten() {
            chunk.complete = false;
        }
    }

    /// Retained bytes in `range` are no longer what the file holds.
    pub(super) fn cut(&mut self, range: Range<u64>) {
        self.budget.give_back(self.retained.cut(range));
    }

    /// Somebody else has written the file: what is retained may not be what it holds now, and must not be written again.
    pub(super) fn forget_retained(&mut self) {
        self.cut(0..u64::MAX);
        for chunk in self.unsynced.values_mut().chain(self.in_sync.values_mut()) {
            chunk.complete = false;
        }
    }

    /// The file ends at `size`: what lies behind need not be synced.
    pub(super) fn truncate(&mut self, size: u64) {
        self.cut(size..u64::MAX);
        self.unsynced.retain(|index, _| index.start() < size);
        self.in_sync.retain(|index, _| index.start() < size);
        self.dirty.retain(|index, _| index.start() < size);
        self.diverged.retain(|index| index.start() < size);
    }

    /// Appends the retained bytes of `range` to `parts`.
    pub(super) fn parts(&self, range: &Range<u64>, parts: &mut Parts) {
        self.retained.parts(range, parts);
    }

    /// Says what is to be synced now. The answers come back by [`Self::synced`] or [`Self::not_synced`]; one sync at a time.
    pub(super) fn begin_sync(&mut self) -> ToSync {
        self.resume();
        self.in_sync = std::mem::take(&mut self.unsynced);
        self.to_sync()
    }

    /// Says which chunks are to be handed back: those that are dirty, with what is not synced of them. As [`Self::begin_sync`].
    pub(super) fn begin_hand_back(&mut self) -> ToSync {
        self.resume();
        for (index, handle) in std::mem::take(&mut self.dirty) {
            let chunk = self.unsynced.remove(&index).unwrap_or_else(|| Unsynced::new(handle));
            self.in_sync.insert(index, chunk);
        }
        self.to_sync()
    }

    fn to_sync(&self) -> ToSync {
        ToSync { chunks: self.in_sync.iter().map(|(index, chunk)| (*index, chunk.handle)).collect(), until: self.seq }
    }

    /// What a sync that was given up on its way had left.
    fn resume(&mut self) {
        let left: Vec<ChunkIndex> = self.in_sync.keys().copied().collect();
        for index in left {
            self.not_synced(index);
        }
    }

    /// All of a chunk's chain has synced it and answered `ack`; or (`None`) the chunk is no longer part of the file.
    pub(super) fn synced(&mut self, to_sync: &ToSync, index: ChunkIndex, ack: Option<&ChainAck>) -> Outcome {
        let Some(chunk) = self.in_sync.get(&index) else { return Outcome::Safe(Parts::new()) };
        let lost_by = ack.map(|ack| chunk.lost_by(ack)).unwrap_or_default();
        let others = ack.map_or(0, |ack| ack.members.len()) - lost_by.len();
        if !lost_by.is_empty() && !chunk.complete && others > 0 {
            self.not_synced(index);
            return Outcome::LeaveOut(lost_by);
        }
        let complete = chunk.complete;
        self.in_sync.remove(&index);
        let until = to_sync.until;
        let parts = self.retained.take(bytes_of(index), |seq| seq <= until);
        self.budget.give_back(parts.iter().map(|(_, data)| data.len()).sum());
        match lost_by.first() {
            None => Outcome::Safe(parts),
            Some(_) if complete => Outcome::WriteAgain(lost_by, parts),
            Some(server) => {
                self.diverged(index);
                Outcome::Lost(*server)
            }
        }
    }

    /// A chunk could not be synced: it still has to be.
    pub(super) fn not_synced(&mut self, index: ChunkIndex) {
        let Some(chunk) = self.in_sync.remove(&index) else { return };
        self.now_dirty(index, chunk.handle);
        if chunk.boots.is_empty() {
            return;
        }
        match self.unsynced.get_mut(&index) {
            Some(later) if later.handle == chunk.handle => later.merge_older(chunk),
            Some(_) => {}
            None => {
                self.unsynced.insert(index, chunk);
            }
        }
    }

    /// All copies of a chunk are lost, and there are empty ones in their place: whoever has acknowledged something of it has lost it.
    pub(super) fn made_anew(&mut self, index: ChunkIndex) {
        for chunk in [self.unsynced.get_mut(&index), self.in_sync.get_mut(&index)].into_iter().flatten() {
            chunk.restarted.extend(chunk.boots.iter().map(|(server, _)| *server));
        }
    }

    /// No copy is left of a chunk that is being synced, nor can be made.
    pub(super) fn lost(&mut self, index: ChunkIndex) {
        self.in_sync.remove(&index);
        self.unsynced.remove(&index);
        self.cut(bytes_of(index));
        self.diverged(index);
    }

    /// Nothing of the file matters any more.
    pub(super) fn discard(&mut self) {
        self.truncate(0);
    }
}

impl Drop for Acks {
    fn drop(&mut self) {
        self.budget.give_back(self.retained.bytes());
    }
}

impl Unsynced {
    fn new(handle: ChunkHandle) -> Self {
        Self { handle, until: 0, boots: Vec::new(), complete: true, restarted: BTreeSet::new() }
    }

    fn merge(&mut self, members: &[MemberAck]) {
        for member in members {
            match self.boots.iter_mut().find(|(server, _)| *server == member.server) {
                Some((_, boot)) if *boot == member.boot => {}
                Some((server, boot)) => {
                    self.restarted.insert(*server);
                    *boot = member.boot;
                }
                None => self.boots.push((member.server, member.boot)),
            }
        }
    }

    fn merge_older(&mut self, older: Self) {
        let later = std::mem::replace(self, older);
        let members: Vec<MemberAck> =
            later.boots.iter().map(|(server, boot)| MemberAck { server: *server, boot: *boot }).collect();
        self.merge(&members);
        self.until = later.until;
        self.complete &= later.complete;
        self.restarted.extend(later.restarted);
    }

    /// The current members that have lost what they acknowledged before, as `ack` (of a sync) shows.
    fn lost_by(&self, ack: &ChainAck) -> Vec<ServerId> {
        let known = |server: ServerId| self.boots.iter().find(|(known, _)| *known == server).map(|(_, boot)| *boot);
        let has_lost = |member: &&MemberAck| {
            self.restarted.contains(&member.server) || known(member.server).is_some_and(|boot| boot != member.boot)
        };
        ack.members.iter().filter(has_lost).map(|member| member.server).collect()
    }
}

fn bytes_of(index: ChunkIndex) -> Range<u64> {
    index.start()..index.start() + CHUNK_SIZE
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: (ChunkIndex, ChunkHandle) = (ChunkIndex(0), ChunkHandle(5));

    fn ack(members: &[(ServerId, u128)]) -> ChainAck {
        let members = members.iter().map(|(server, boot)| MemberAck { server: *server, boot: BootId(*boot) }).collect();
        ChainAck { members, allocated: 0 }
    }

    fn write(acks: &mut Acks, start: u64, data: &'static [u8], by: &ChainAck) -> Parts {
        acks.wrote(CHUNK.0, CHUNK.1, start, Bytes::from_static(data), by)
    }

    fn all_of(data: &'static [u8]) -> Parts {
        vec![(0, Bytes::from_static(data))]
    }

    #[test]
    fn notices_a_restart_between_write_and_sync() {
        let (a, b) = (ServerId::random(), ServerId::random());
        let mut acks = Acks::new(Budget::new(100));
        for (answer, outcome) in [
            (ack(&[(a, 1), (b, 1)]), Outcome::Safe(all_of(b"abcd"))),
            (ack(&[(a, 1), (b, 2)]), Outcome::WriteAgain(vec![b], all_of(b"abcd"))),
            // b is no member any more.
            (ack(&[(a, 1)]), Outcome::Safe(all_of(b"abcd"))),
        ] {
            assert_eq!(write(&mut acks, 0, b"abcd", &ack(&[(a, 1), (b, 1)])), []);
            let sync = acks.begin_sync();
            assert_eq!(sync.chunks, [CHUNK]);
            assert_eq!(acks.synced(&sync, CHUNK.0, Some(&answer)), outcome);
            assert!(!acks.has_unsynced());
        }
    }

    #[test]
    fn notices_a_restart_between_two_writes() {
        let a = ServerId::random();
        let mut acks = Acks::new(Budget::new(100));
        write(&mut acks, 0, b"abcd", &ack(&[(a, 1)]));
        write(&mut acks, 0, b"efgh", &ack(&[(a, 2)]));
        let sync = acks.begin_sync();
        assert_eq!(acks.synced(&sync, CHUNK.0, Some(&ack(&[(a, 2)]))), Outcome::WriteAgain(vec![a], all_of(b"efgh")));
    }

    #[test]
    fn keeps_what_fits_and_knows_what_did_not() {
        let a = ServerId::random();
        let budget = Budget::new(6);
        let mut acks = Acks::new(budget.clone());
        write(&mut acks, 0, b"abcd", &ack(&[(a, 1)]));
        let sync = acks.begin_sync();
        assert_eq!(write(&mut acks, 4, b"efgh", &ack(&[(a, 1)])), all_of(b"abcd"), "evicted while it is synced");
        assert_eq!(acks.synced(&sync, CHUNK.0, Some(&ack(&[(a, 2)]))), Outcome::Lost(a));
        assert_eq!(write(&mut acks, 0, b"abcdefgh", &ack(&[(a, 1)])), all_of(b"abcdefgh"), "larger than all there is");
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_member_that_lost_something_is_left_out_where_another_has_it() {
        let (a, b) = (ServerId::random(), ServerId::random());
        let mut acks = Acks::new(Budget::new(1));
        write(&mut acks, 0, b"abcd", &ack(&[(a, 1), (b, 1)]));
        assert!(acks.is_incomplete());
        let sync = acks.begin_sync();
        let outcome = acks.synced(&sync, CHUNK.0, Some(&ack(&[(a, 1), (b, 2)])));
        assert_eq!(outcome, Outcome::LeaveOut(vec![b]));
        let sync = acks.begin_sync();
        assert_eq!(acks.synced(&sync, CHUNK.0, Some(&ack(&[(a, 1)]))), Outcome::Safe(Parts::new()));
        assert!(acks.has_dirty());
    }

    #[test]
    fn a_chunk_whose_copies_may_differ_is_not_handed_back() {
        let (a, b) = (ServerId::random(), ServerId::random());
        let mut acks = Acks::new(Budget::new(1));
        write(&mut acks, 0, b"abcd", &ack(&[(a, 1), (b, 1)]));
        let sync = acks.begin_sync();
        assert_eq!(acks.synced(&sync, CHUNK.0, Some(&ack(&[(a, 2), (b, 2)]))), Outcome::Lost(a));
        write(&mut acks, 0, b"abcd", &ack(&[(a, 2), (b, 2)]));
        assert!(!acks.has_dirty() && acks.has_unsynced());
        acks.truncate(0);
        write(&mut acks, 0, b"abcd", &ack(&[(a, 2), (b, 2)]));
        assert!(acks.has_dirty(), "it is another chunk");
    }

    #[test]
    fn what_lost_copies_had_is_written_again_to_new_ones() {
        let a = ServerId::random();
        let mut acks = Acks::new(Budget::new(100));
        write(&mut acks, 0, b"abcd", &ack(&[(a, 1)]));
        acks.made_anew(CHUNK.0);
        let sync = acks.begin_sync();
        // The same kernel: the disk has lost it.
        assert_eq!(acks.synced(&sync, CHUNK.0, Some(&ack(&[(a, 1)]))), Outcome::WriteAgain(vec![a], all_of(b"abcd")));
        write(&mut acks, 0, b"abcd", &ack(&[(a, 1)]));
        acks.begin_sync();
        acks.lost(CHUNK.0);
        assert!(!acks.has_unsynced() && !acks.has_dirty());
    }

    #[test]
    fn what_is_written_during_a_sync_stays() {
        let a = ServerId::random();
        let mut acks = Acks::new(Budget::new(100));
        write(&mut acks, 0, b"abcd", &ack(&[(a, 1)]));
        let sync = acks.begin_sync();
        write(&mut acks, 2, b"xx", &ack(&[(a, 1)]));
        assert_eq!(acks.synced(&sync, CHUNK.0, Some(&ack(&[(a, 1)]))), Outcome::Safe(all_of(b"ab")));
        assert!(acks.has_unsynced());
        let mut parts = Parts::new();
        acks.parts(&(0..10), &mut parts);
        assert_eq!(parts, [(2, Bytes::from_static(b"xx"))]);
        assert!(acks.has_dirty());
    }

    #[test]
    fn a_sync_that_failed_or_was_given_up_is_still_to_be_done() {
        let a = ServerId::random();
        for given_up in [false, true] {
            let mut acks = Acks::new(Budget::new(100));
            write(&mut acks, 0, b"abcd", &ack(&[(a, 1)]));
            acks.begin_sync();
            write(&mut acks, 0, b"efgh", &ack(&[(a, 2)]));
            if !given_up {
                acks.not_synced(CHUNK.0);
            }
            assert!(acks.has_unsynced());
            let sync = acks.begin_sync();
            assert_eq!(
                acks.synced(&sync, CHUNK.0, Some(&ack(&[(a, 2)]))),
                Outcome::WriteAgain(vec![a], all_of(b"efgh"))
            );
            acks.truncate(0);
            assert!(!acks.has_dirty());
        }
    }
}
