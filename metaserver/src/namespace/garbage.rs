//! Garbage: chunks that no file has any more and whose copies are still to be deleted.

use cairn_proto::ids::{ChunkHandle, ChunkVersion, ServerId};
use serde::{Deserialize, Serialize};

use super::keys;
use super::value::{Stored, load, save};
use crate::store::{Read, StoreError, Txn};

/// A chunk as it was when its last file let go of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Garbage {
    /// Copies up to this version may go.
    pub version: ChunkVersion,
    pub members: Vec<ServerId>,
}

impl Stored for Garbage {
    const FORMAT: u8 = 1;
    const NOUN: &'static str = "garbage";
}

pub(super) fn find(read: &dyn Read, handle: ChunkHandle) -> Result<Option<Garbage>, StoreError> {
    load(read, &keys::garbage(handle))
}

pub(super) fn put(txn: &mut Txn<'_>, handle: ChunkHandle, garbage: &Garbage) {
    save(txn, keys::garbage(handle), garbage);
}
