//! Counters: what ids may be given out next, and how much there is.

use cairn_proto::ids::{ChunkHandle, InodeId, SessionId};
use serde::{Deserialize, Serialize};

use super::keys;
use super::value::{Stored, load, save};
use crate::store::{Read, StoreError, Txn};

/// One record, so that a command that changes several of them writes one key.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Counters {
    /// Above every inode number in use or used before.
    pub next_inode: InodeId,
    /// Above every chunk handle in use or used before.
    pub next_handle: ChunkHandle,
    /// Above every session id in use or used before.
    pub next_session: SessionId,
    /// Inodes, orphans included.
    pub inodes: u64,
    pub orphans: u64,
    /// Chunks that files have.
    pub chunks: u64,
    /// Chunks that no file has any more and whose copies are still to be deleted.
    pub garbage: u64,
    /// Inodes in the trash; they are no orphans.
    pub trash: u64,
    /// Bytes that they hold.
    pub trash_bytes: u64,
}

impl Stored for Counters {
    const FORMAT: u8 = 2;
    const NOUN: &'static str = "counters";
    /// Before there was a trash.
    const OLDER: &'static [(u8, &'static [u8])] = &[(1, &[0, 0])];
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            next_inode: InodeId::ROOT,
            next_handle: ChunkHandle(1),
            next_session: SessionId(1),
            inodes: 0,
            orphans: 0,
            chunks: 0,
            garbage: 0,
            trash: 0,
            trash_bytes: 0,
        }
    }
}

impl Counters {
    pub(super) fn used_inode(&mut self, id: InodeId) {
        self.next_inode = self.next_inode.max(InodeId(id.0 + 1));
    }

    /// Numbers below `upto` are given out, used or not.
    pub(super) fn reserve_inodes(&mut self, upto: InodeId) {
        self.next_inode = self.next_inode.max(upto);
    }

    pub(super) fn used_handle(&mut self, handle: ChunkHandle) {
        self.next_handle = self.next_handle.max(ChunkHandle(handle.0 + 1));
    }

    pub(super) fn used_session(&mut self, session: SessionId) {
        self.next_session = self.next_session.max(SessionId(session.0 + 1));
    }
}

/// The counters; those of an empty keyspace before there is a cluster.
pub(super) fn get(read: &dyn Read) -> Result<Counters, StoreError> {
    Ok(load(read, &keys::counters())?.unwrap_or_default())
}

pub(super) fn put(txn: &mut Txn<'_>, counters: &Counters) {
    save(txn, keys::counters(), counters);
}
