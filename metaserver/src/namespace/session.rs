//! Sessions of clients, as far as they outlive a metaserver: that they exist, whose they are, and what was acknowledged.

use cairn_proto::ids::SessionId;
use cairn_proto::meta::ClientInfo;
use cairn_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::keys;
use super::value::{Stored, load, save};
use crate::store::{Read, StoreError, Txn};

/// A session.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Session {
    pub client: ClientInfo,
    pub opened: Timestamp,
    /// Operations below this one are answered no more; the [`super::ledger`] holds none of their results.
    pub floor: u64,
    /// Place of the last operation that was done ahead and has been applied; see [`super::ahead`].
    pub ahead: u64,
}

impl Stored for Session {
    const FORMAT: u8 = 1;
    const NOUN: &'static str = "session";
}

pub(super) fn find(read: &dyn Read, id: SessionId) -> Result<Option<Session>, StoreError> {
    load(read, &keys::session(id))
}

/// Whether there is such a session, without looking at what it is.
pub(super) fn exists(read: &dyn Read, id: SessionId) -> Result<bool, StoreError> {
    Ok(read.get(&keys::session(id))?.is_some())
}

pub(super) fn put(txn: &mut Txn<'_>, id: SessionId, session: &Session) {
    save(txn, keys::session(id), session);
}
