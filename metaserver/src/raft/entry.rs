//! Entries of the log as bytes.

use bytes::Bytes;
use openraft::EntryPayload;
use serde::{Deserialize, Serialize};

use super::log::{EntryId, Record};
use super::types::{Commands, Entry, Membership};

/// Format of a stored entry; the first byte of a record's payload.
const FORMAT: u8 = 1;

/// What a record of the log holds besides the entry's id.
#[derive(Debug, Serialize, Deserialize)]
enum Stored {
    /// The first entry of a leader.
    Blank,
    Commands(Commands),
    Membership(Membership),
}

/// The entry as id and payload of a record.
pub(super) fn encode(entry: &Entry) -> (EntryId, Bytes) {
    let stored = match &entry.payload {
        EntryPayload::Blank => Stored::Blank,
        EntryPayload::Normal(commands) => Stored::Commands(commands.clone()),
        EntryPayload::Membership(membership) => Stored::Membership(membership.clone()),
    };
    let bytes = postcard::to_extend(&stored, vec![FORMAT]).expect("an entry of plain fields always encodes");
    (EntryId::from_raft(&entry.log_id), bytes.into())
}

/// The entry that a record holds, or `None` where it is not one that this version knows.
pub(super) fn decode(record: &Record) -> Option<Entry> {
    let log_id = record.id.to_raft()?;
    let (&FORMAT, body) = record.payload.split_first()? else { return None };
    let payload = match postcard::from_bytes(body).ok()? {
        Stored::Blank => EntryPayload::Blank,
        Stored::Commands(commands) => EntryPayload::Normal(commands),
        Stored::Membership(membership) => EntryPayload::Membership(membership),
    };
    Some(Entry { log_id, payload })
}
