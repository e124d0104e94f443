//! What is on disk, byte for byte. A change here is a new format version.

use std::collections::BTreeMap;

use openraft::{BasicNode, EntryPayload, Vote};

use super::*;
use crate::raft::applied::Applied;
use crate::raft::entry;
use crate::raft::log::{EntryId, Record};
use crate::raft::types::{Commands, Entry, Membership, StoredMembership};

const ID: EntryId = EntryId { index: 300, term: 2, node: 1 };

fn membership() -> Membership {
    Membership::new(vec![[1].into()], BTreeMap::from([(1, BasicNode::new("m1:7400"))]))
}

#[test]
fn golden_applied() {
    let membership = StoredMembership::new(EntryId { index: 1, term: 0, node: 0 }.to_raft(), membership());
    let applied = Applied { entry: ID, commands: 1000, membership };
    assert_eq!(&applied.encode()[..], GOLDEN_APPLIED);
    assert_eq!(Applied::decode(GOLDEN_APPLIED), Some(applied));
    assert_eq!(Applied::decode(&[]), Some(Applied::default()));
    assert_eq!(Applied::decode(&[2, 0, 0]), None);
}

#[test]
fn golden_entries() {
    let commands = Commands(Arc::new(vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")]));
    let payloads: [(EntryPayload<super::types::TypeConfig>, &[u8]); 3] = [
        (EntryPayload::Blank, GOLDEN_BLANK),
        (EntryPayload::Normal(commands), GOLDEN_COMMANDS),
        (EntryPayload::Membership(membership()), GOLDEN_MEMBERSHIP),
    ];
    for (payload, golden) in payloads {
        let entry = Entry { log_id: ID.to_raft().unwrap(), payload };
        let (id, bytes) = entry::encode(&entry);
        assert_eq!((id, &bytes[..]), (ID, golden));
        assert_eq!(entry::decode(&Record { id, synced: 0, committed: 0, payload: bytes }), Some(entry));
    }
}

#[test]
fn golden_vote() {
    let vote: Vote<u64> = Vote::new_committed(3, 1);
    assert_eq!(postcard::to_stdvec(&vote).unwrap(), [3, 1, 1]);
}

const GOLDEN_APPLIED: &[u8] = b"\x01\xac\x02\x02\x01\xe8\x07\x01\0\0\0\x01\x01\x01\x01\x01\x07m1:7400";
const GOLDEN_BLANK: &[u8] = b"\x01\x00";
const GOLDEN_COMMANDS: &[u8] = b"\x01\x01\x02\x03one\x03two";
const GOLDEN_MEMBERSHIP: &[u8] = b"\x01\x02\x01\x01\x01\x01\x01\x07m1:7400";
