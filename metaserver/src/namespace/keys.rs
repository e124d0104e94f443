//! The keys of the one ordered keyspace: a byte that says which table, then big-endian ids, so that order of keys is order of
//! ids and everything that belongs together is one range.
//!
//! | tag | table | key after the tag | value |
//! |---|---|---|---|
//! | `01` | cluster | | [`super::cluster::Cluster`] |
//! | `02` | counters | | [`super::counters::Counters`] |
//! | `03` | tunables | | [`cairn_proto::admin::Tunables`] |
//! | `10` | inodes | inode | [`super::inode::Inode`] |
//! | `11` | entries by name | parent, name | [`super::dentry::Dentry`] |
//! | `12` | entries in listing order | parent, cookie | [`super::dentry::Listed`] |
//! | `13` | further links | inode, parent, cookie | [`super::link::FurtherLink`] |
//! | `14` | xattrs | inode, name | [`super::xattr::Xattr`] |
//! | `15` | orphans | inode | [`super::orphan::Orphan`] |
//! | `16` | delegations | inode | [`super::delegation::Holder`] |
//! | `17` | trash | inode | [`super::trash::Trashed`] |
//! | `18` | trash by place | parent, name, `00`, removed (later first), inode | [`super::trash::Indexed`] |
//! | `19` | trash by time | retention, removed, inode | [`super::trash::Indexed`] |
//! | `20` | slots | inode, index | [`super::slot::Slot`] |
//! | `21` | chunks | handle | [`super::chunk::Chunk`] |
//! | `22` | garbage | handle | [`super::garbage::Garbage`] |
//! | `30` | sessions | session | [`super::session::Session`] |
//! | `31` | ledger | session, seq | [`super::ledger::Recorded`] |
//! | `40` | servers | server | [`super::server::Server`] |
//! | `41` | placements | placement | [`cairn_proto::policy::Placement`] |
//!
//! `00` and `ff` belong to the store's own records.

use bytes::Bytes;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, DirCookie, InodeId, ServerId, SessionId};
use cairn_proto::name::Name;
use cairn_proto::policy::{PlacementId, Retention};
use cairn_proto::time::Timestamp;
use uuid::Uuid;

use super::link::Link;
use crate::store::{StoreError, prefix_end};

const CLUSTER: u8 = 0x01;
const COUNTERS: u8 = 0x02;
const TUNABLES: u8 = 0x03;
const INODES: u8 = 0x10;
const DENTRIES: u8 = 0x11;
const LISTING: u8 = 0x12;
const LINKS: u8 = 0x13;
const XATTRS: u8 = 0x14;
const ORPHANS: u8 = 0x15;
const DELEGATIONS: u8 = 0x16;
const TRASH: u8 = 0x17;
const TRASH_BY_PLACE: u8 = 0x18;
const TRASH_BY_TIME: u8 = 0x19;
const SLOTS: u8 = 0x20;
const CHUNKS: u8 = 0x21;
const GARBAGE: u8 = 0x22;
const SESSIONS: u8 = 0x30;
const LEDGER: u8 = 0x31;
const SERVERS: u8 = 0x40;
const PLACEMENTS: u8 = 0x41;

/// Keys from `start` up to but not including `end`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct KeyRange {
    pub start: Bytes,
    pub end: Bytes,
}

impl KeyRange {
    /// Every key that begins with `prefix`.
    fn under(prefix: Bytes) -> Self {
        let end = prefix_end(&prefix).into();
        Self { start: prefix, end }
    }

    /// From `first` on, as far as `prefix` goes.
    fn from(first: Bytes, prefix: &[u8]) -> Self {
        Self { start: first, end: prefix_end(prefix).into() }
    }

    /// What is left of the range behind `key`.
    pub fn after(mut self, key: &[u8]) -> Self {
        let mut start = Vec::with_capacity(key.len() + 1);
        start.extend_from_slice(key);
        start.push(0);
        self.start = self.start.max(start.into());
        self
    }
}

fn key(table: u8, parts: &[&[u8]]) -> Bytes {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(table);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key.into()
}

pub(super) fn cluster() -> Bytes {
    key(CLUSTER, &[])
}

pub(super) fn counters() -> Bytes {
    key(COUNTERS, &[])
}

pub(super) fn tunables() -> Bytes {
    key(TUNABLES, &[])
}

pub(super) fn inode(inode: InodeId) -> Bytes {
    key(INODES, &[&inode.0.to_be_bytes()])
}

/// Inodes after `after`.
pub(super) fn inodes_after(after: InodeId) -> KeyRange {
    KeyRange::under(key(INODES, &[])).after(&inode(after))
}

pub(super) fn dentry(parent: InodeId, name: &Name) -> Bytes {
    key(DENTRIES, &[&parent.0.to_be_bytes(), name.as_bytes()])
}

/// All entries by name; see [`KeyRange::after`] to go on.
pub(super) fn all_dentries() -> KeyRange {
    KeyRange::under(key(DENTRIES, &[]))
}

pub(super) fn dentries_of(parent: InodeId) -> KeyRange {
    KeyRange::under(key(DENTRIES, &[&parent.0.to_be_bytes()]))
}

pub(super) fn parse_dentry(key: &[u8]) -> Result<(InodeId, Name), StoreError> {
    let mut parts = Parts::new(DENTRIES, key)?;
    let parent = InodeId(parts.u64()?);
    let name = Name::new(parts.rest()).map_err(|_| parts.bad())?;
    Ok((parent, name))
}

pub(super) fn listed(link: Link) -> Bytes {
    key(LISTING, &[&link.parent.0.to_be_bytes(), &link.cookie.0.to_be_bytes()])
}

/// Entries of `parent` in listing order, after `after`.
pub(super) fn listing(parent: InodeId, after: DirCookie) -> KeyRange {
    KeyRange::under(key(LISTING, &[&parent.0.to_be_bytes()])).after(&listed(Link { parent, cookie: after }))
}

/// All entries in listing order.
pub(super) fn all_listings() -> KeyRange {
    KeyRange::under(key(LISTING, &[]))
}

pub(super) fn parse_listed(key: &[u8]) -> Result<Link, StoreError> {
    let mut parts = Parts::new(LISTING, key)?;
    Ok(Link { parent: InodeId(parts.u64()?), cookie: DirCookie(parts.u64()?) })
}

pub(super) fn further_link(inode: InodeId, link: Link) -> Bytes {
    key(LINKS, &[&inode.0.to_be_bytes(), &link.parent.0.to_be_bytes(), &link.cookie.0.to_be_bytes()])
}

pub(super) fn further_links_of(inode: InodeId) -> KeyRange {
    KeyRange::under(key(LINKS, &[&inode.0.to_be_bytes()]))
}

/// Those of them in directories with higher numbers than `parent`.
pub(super) fn further_links_beyond(inode: InodeId, parent: InodeId) -> KeyRange {
    let mut range = further_links_of(inode);
    if let Some(next) = parent.0.checked_add(1) {
        range.start = key(LINKS, &[&inode.0.to_be_bytes(), &next.to_be_bytes()]);
    } else {
        range.start = range.end.clone();
    }
    range
}

/// All further links.
pub(super) fn all_further_links() -> KeyRange {
    KeyRange::under(key(LINKS, &[]))
}

pub(super) fn parse_further_link(key: &[u8]) -> Result<(InodeId, Link), StoreError> {
    let mut parts = Parts::new(LINKS, key)?;
    Ok((InodeId(parts.u64()?), Link { parent: InodeId(parts.u64()?), cookie: DirCookie(parts.u64()?) }))
}

pub(super) fn xattr(inode: InodeId, name: &[u8]) -> Bytes {
    key(XATTRS, &[&inode.0.to_be_bytes(), name])
}

pub(super) fn xattrs_of(inode: InodeId) -> KeyRange {
    KeyRange::under(key(XATTRS, &[&inode.0.to_be_bytes()]))
}

/// All xattrs.
pub(super) fn all_xattrs() -> KeyRange {
    KeyRange::under(key(XATTRS, &[]))
}

pub(super) fn parse_xattr(key: &[u8]) -> Result<(InodeId, Name), StoreError> {
    let mut parts = Parts::new(XATTRS, key)?;
    let inode = InodeId(parts.u64()?);
    let name = Name::new(parts.rest()).map_err(|_| parts.bad())?;
    Ok((inode, name))
}

pub(super) fn orphan(inode: InodeId) -> Bytes {
    key(ORPHANS, &[&inode.0.to_be_bytes()])
}

/// Orphans after `after`.
pub(super) fn orphans_after(after: InodeId) -> KeyRange {
    KeyRange::under(key(ORPHANS, &[])).after(&orphan(after))
}

pub(super) fn parse_orphan(key: &[u8]) -> Result<InodeId, StoreError> {
    Parts::new(ORPHANS, key)?.u64().map(InodeId)
}

pub(super) fn delegation(directory: InodeId) -> Bytes {
    key(DELEGATIONS, &[&directory.0.to_be_bytes()])
}

/// All delegations; see [`KeyRange::after`] to go on.
pub(super) fn all_delegations() -> KeyRange {
    KeyRange::under(key(DELEGATIONS, &[]))
}

pub(super) fn parse_delegation(key: &[u8]) -> Result<InodeId, StoreError> {
    Parts::new(DELEGATIONS, key)?.u64().map(InodeId)
}

pub(super) fn trash(inode: InodeId) -> Bytes {
    key(TRASH, &[&inode.0.to_be_bytes()])
}

/// The whole trash.
pub(super) fn all_trash() -> KeyRange {
    KeyRange::under(key(TRASH, &[]))
}

pub(super) fn parse_trash(key: &[u8]) -> Result<InodeId, StoreError> {
    Parts::new(TRASH, key)?.u64().map(InodeId)
}

/// What was removed last under a name comes first under it. No name has a NUL in it.
pub(super) fn trash_by_place(parent: InodeId, name: &Name, deleted: Timestamp, inode: InodeId) -> Bytes {
    let later_first = time_bytes(deleted).map(|byte| !byte);
    let inode = (!inode.0).to_be_bytes();
    key(TRASH_BY_PLACE, &[&parent.0.to_be_bytes(), name.as_bytes(), &[0], &later_first, &inode])
}

/// All that was removed from `parent`.
pub(super) fn trash_in(parent: InodeId) -> KeyRange {
    KeyRange::under(key(TRASH_BY_PLACE, &[&parent.0.to_be_bytes()]))
}

/// All that was removed under a name of `parent`.
pub(super) fn trash_at(parent: InodeId, name: &Name) -> KeyRange {
    KeyRange::under(key(TRASH_BY_PLACE, &[&parent.0.to_be_bytes(), name.as_bytes(), &[0]]))
}

pub(super) fn all_trash_by_place() -> KeyRange {
    KeyRange::under(key(TRASH_BY_PLACE, &[]))
}

/// The name and the inode of a row.
pub(super) fn parse_trash_by_place(key: &[u8]) -> Result<(Name, InodeId), StoreError> {
    const BEHIND_THE_NAME: usize = 1 + TIME_BYTES + 8;
    let mut parts = Parts::new(TRASH_BY_PLACE, key)?;
    parts.u64()?;
    let rest = parts.rest();
    let (name, behind) =
        rest.len().checked_sub(BEHIND_THE_NAME).map(|at| rest.split_at(at)).ok_or_else(|| parts.bad())?;
    let name = Name::new(name).map_err(|_| parts.bad())?;
    let inode = behind.last_chunk::<8>().ok_or_else(|| parts.bad())?;
    Ok((name, InodeId(!u64::from_be_bytes(*inode))))
}

pub(super) fn trash_by_time(retention: Retention, deleted: Timestamp, inode: InodeId) -> Bytes {
    key(TRASH_BY_TIME, &[&retention.0.to_be_bytes(), &time_bytes(deleted), &inode.0.to_be_bytes()])
}

/// What is kept for so long, in the order in which it was removed.
pub(super) fn trash_kept_for(retention: Retention) -> KeyRange {
    KeyRange::under(key(TRASH_BY_TIME, &[&retention.0.to_be_bytes()]))
}

/// What is kept for `retention` or longer.
pub(super) fn trash_kept_from(retention: Retention) -> KeyRange {
    KeyRange::from(key(TRASH_BY_TIME, &[&retention.0.to_be_bytes()]), &key(TRASH_BY_TIME, &[]))
}

pub(super) fn all_trash_by_time() -> KeyRange {
    KeyRange::under(key(TRASH_BY_TIME, &[]))
}

pub(super) fn parse_trash_by_time(key: &[u8]) -> Result<(Retention, Timestamp, InodeId), StoreError> {
    let mut parts = Parts::new(TRASH_BY_TIME, key)?;
    let retention = Retention(parts.u32()?);
    let deleted = Timestamp { secs: (parts.u64()? ^ SIGN) as i64, nanos: parts.u32()? };
    Ok((retention, deleted, InodeId(parts.u64()?)))
}

/// Of a time in a key.
const TIME_BYTES: usize = 12;
/// Flipped, times before the epoch come before those after it.
const SIGN: u64 = 1 << 63;

fn time_bytes(time: Timestamp) -> [u8; TIME_BYTES] {
    let mut bytes = [0; TIME_BYTES];
    bytes[..8].copy_from_slice(&(time.secs as u64 ^ SIGN).to_be_bytes());
    bytes[8..].copy_from_slice(&time.nanos.to_be_bytes());
    bytes
}

pub(super) fn slot(inode: InodeId, index: ChunkIndex) -> Bytes {
    key(SLOTS, &[&inode.0.to_be_bytes(), &index.0.to_be_bytes()])
}

/// The slots of `inode` from `first` to its last.
pub(super) fn slots_from(inode: InodeId, first: ChunkIndex) -> KeyRange {
    KeyRange::from(slot(inode, first), &key(SLOTS, &[&inode.0.to_be_bytes()]))
}

/// At most `count` slots of `inode` from `first` on.
pub(super) fn slots_within(inode: InodeId, first: ChunkIndex, count: u32) -> KeyRange {
    match first.0.checked_add(count) {
        Some(end) => KeyRange { start: slot(inode, first), end: slot(inode, ChunkIndex(end)) },
        None => slots_from(inode, first),
    }
}

/// All slots.
pub(super) fn all_slots() -> KeyRange {
    KeyRange::under(key(SLOTS, &[]))
}

pub(super) fn parse_slot(key: &[u8]) -> Result<(InodeId, ChunkIndex), StoreError> {
    let mut parts = Parts::new(SLOTS, key)?;
    Ok((InodeId(parts.u64()?), ChunkIndex(parts.u32()?)))
}

pub(super) fn chunk(handle: ChunkHandle) -> Bytes {
    key(CHUNKS, &[&handle.0.to_be_bytes()])
}

/// Chunks after `after`.
pub(super) fn chunks_after(after: ChunkHandle) -> KeyRange {
    KeyRange::under(key(CHUNKS, &[])).after(&chunk(after))
}

pub(super) fn parse_chunk(key: &[u8]) -> Result<ChunkHandle, StoreError> {
    Parts::new(CHUNKS, key)?.u64().map(ChunkHandle)
}

pub(super) fn garbage(handle: ChunkHandle) -> Bytes {
    key(GARBAGE, &[&handle.0.to_be_bytes()])
}

/// Garbage after `after`.
pub(super) fn garbage_after(after: ChunkHandle) -> KeyRange {
    KeyRange::under(key(GARBAGE, &[])).after(&garbage(after))
}

pub(super) fn parse_garbage(key: &[u8]) -> Result<ChunkHandle, StoreError> {
    Parts::new(GARBAGE, key)?.u64().map(ChunkHandle)
}

pub(super) fn session(session: SessionId) -> Bytes {
    key(SESSIONS, &[&session.0.to_be_bytes()])
}

pub(super) fn sessions() -> KeyRange {
    KeyRange::under(key(SESSIONS, &[]))
}

pub(super) fn parse_session(key: &[u8]) -> Result<SessionId, StoreError> {
    Parts::new(SESSIONS, key)?.u64().map(SessionId)
}

pub(super) fn ledger(session: SessionId, seq: u64) -> Bytes {
    key(LEDGER, &[&session.0.to_be_bytes(), &seq.to_be_bytes()])
}

/// Results of `session` from `first` up to but not including `end`.
pub(super) fn ledger_between(session: SessionId, first: u64, end: u64) -> KeyRange {
    KeyRange { start: ledger(session, first), end: ledger(session, end) }
}

/// All results of `session`.
pub(super) fn ledger_of(session: SessionId) -> KeyRange {
    KeyRange::under(key(LEDGER, &[&session.0.to_be_bytes()]))
}

pub(super) fn server(server: ServerId) -> Bytes {
    key(SERVERS, &[server.0.as_bytes()])
}

pub(super) fn servers() -> KeyRange {
    KeyRange::under(key(SERVERS, &[]))
}

pub(super) fn parse_server(key: &[u8]) -> Result<ServerId, StoreError> {
    let mut parts = Parts::new(SERVERS, key)?;
    Ok(ServerId(Uuid::from_bytes(parts.array()?)))
}

pub(super) fn placement(id: PlacementId) -> Bytes {
    key(PLACEMENTS, &[&id.0.to_be_bytes()])
}

pub(super) fn placements() -> KeyRange {
    KeyRange::under(key(PLACEMENTS, &[]))
}

pub(super) fn parse_placement(key: &[u8]) -> Result<PlacementId, StoreError> {
    Parts::new(PLACEMENTS, key)?.u32().map(PlacementId)
}

/// Takes a key apart again.
struct Parts<'a> {
    whole: &'a [u8],
    left: &'a [u8],
}

impl<'a> Parts<'a> {
    fn new(table: u8, whole: &'a [u8]) -> Result<Self, StoreError> {
        match whole.split_first() {
            Some((&tag, left)) if tag == table => Ok(Self { whole, left }),
            _ => Err(StoreError::bad_value(whole, "key of its table")),
        }
    }

    fn bad(&self) -> StoreError {
        StoreError::bad_value(self.whole, "key of its table")
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (head, left) = self.left.split_first_chunk::<N>().ok_or_else(|| self.bad())?;
        self.left = left;
        Ok(*head)
    }

    fn u64(&mut self) -> Result<u64, StoreError> {
        self.array().map(u64::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, StoreError> {
        self.array().map(u32::from_be_bytes)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.left)
    }
}
