//! Whole tables. Those that may be long come in pages: fewer than `limit` means that there are no more.

use cairn_proto::admin::Tunables;
use cairn_proto::ids::{ChunkHandle, InodeId, ServerId, SessionId};
use cairn_proto::policy::{Placement, PlacementId};

use super::super::cluster::{self, Cluster};
use super::super::counters::{self, Counters};
use super::super::delegation;
use super::super::error::Outcome;
use super::super::garbage::{self, Garbage};
use super::super::inode::Inode;
use super::super::keys;
use super::super::orphan::Orphan;
use super::super::placement;
use super::super::server::{self, Server};
use super::super::session::{self, Session};
use super::super::tunables;
use super::super::value::{Stored, page};
use crate::store::{Pair, Read, StoreError};

/// The cluster; `None` before its first command.
pub fn cluster(read: &dyn Read) -> Result<Option<Cluster>, StoreError> {
    cluster::find(read)
}

/// What operators have changed.
pub fn tunables(read: &dyn Read) -> Result<Tunables, StoreError> {
    tunables::get(read)
}

/// Ids to give out next, and how much there is.
pub fn counters(read: &dyn Read) -> Result<Counters, StoreError> {
    counters::get(read)
}

/// Inodes after `after`.
pub fn inodes(read: &dyn Read, after: InodeId, limit: usize) -> Result<Vec<Inode>, StoreError> {
    page(read, &keys::inodes_after(after), limit, |(key, value)| Inode::from_stored(key, value))
}

/// Inodes without a name after `after`.
pub fn orphans(read: &dyn Read, after: InodeId, limit: usize) -> Result<Vec<(InodeId, Orphan)>, StoreError> {
    let limit = limit.min(counters(read)?.orphans as usize);
    page_unless_empty(read, &keys::orphans_after(after), limit, |(key, value)| {
        Ok((keys::parse_orphan(key)?, Orphan::from_stored(key, value)?))
    })
}

/// Garbage after `after`.
pub fn garbage(read: &dyn Read, after: ChunkHandle, limit: usize) -> Result<Vec<(ChunkHandle, Garbage)>, StoreError> {
    let limit = limit.min(counters(read)?.garbage as usize);
    page_unless_empty(read, &keys::garbage_after(after), limit, |(key, value)| {
        Ok((keys::parse_garbage(key)?, Garbage::from_stored(key, value)?))
    })
}

/// As [`page`], of a table whose rows come and go. sled keeps the pages of rows that are gone, and a scan goes through them to
/// the end of its range (measured: 20 ns for every row that ever was); so it is not asked for more than there is.
fn page_unless_empty<T>(
    read: &dyn Read,
    range: &keys::KeyRange,
    limit: usize,
    decode: impl Fn(&Pair) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    if limit == 0 { Ok(Vec::new()) } else { page(read, range, limit, decode) }
}

/// Whether a chunk is garbage, and what it was.
pub fn garbage_of(read: &dyn Read, handle: ChunkHandle) -> Result<Option<Garbage>, StoreError> {
    garbage::find(read, handle)
}

/// All sessions: there are as many as there are mounts.
pub fn sessions(read: &dyn Read) -> Result<Vec<(SessionId, Session)>, StoreError> {
    page(read, &keys::sessions(), usize::MAX, |(key, value)| {
        Ok((keys::parse_session(key)?, Session::from_stored(key, value)?))
    })
}

pub fn session(read: &dyn Read, id: SessionId) -> Result<Option<Session>, StoreError> {
    session::find(read, id)
}

/// The living session that has a directory for itself.
pub fn delegated_to(read: &dyn Read, directory: InodeId) -> Result<Option<SessionId>, StoreError> {
    delegation::holder(read, directory)
}

/// All chunkservers that ever registered.
pub fn servers(read: &dyn Read) -> Result<Vec<(ServerId, Server)>, StoreError> {
    page(read, &keys::servers(), usize::MAX, |(key, value)| {
        Ok((keys::parse_server(key)?, Server::from_stored(key, value)?))
    })
}

pub fn server(read: &dyn Read, id: ServerId) -> Result<Option<Server>, StoreError> {
    server::find(read, id)
}

/// What a number of an inode's or a chunk's policy stands for. One that nobody defined is `InvalidArgument`.
pub fn placement(read: &dyn Read, id: PlacementId) -> Outcome<Placement> {
    placement::get(read, id)
}
