//! Chunkservers that have ever registered: so that a restarted metaserver knows whom it is waiting for.

use cairn_proto::admin::ServerMode;
use cairn_proto::ids::ServerId;
use cairn_proto::labels::Labels;
use cairn_proto::transport::Endpoint;
use serde::{Deserialize, Serialize};

use super::keys;
use super::value::{Stored, load, save};
use crate::store::{Read, StoreError, Txn};

/// What is remembered of a chunkserver.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Server {
    pub name: String,
    /// Where it was last reached.
    pub endpoint: Endpoint,
    pub labels: Labels,
    /// What is meant to become of it.
    pub mode: ServerMode,
}

impl Stored for Server {
    const FORMAT: u8 = 2;
    const NOUN: &'static str = "server";
}

pub(super) fn put(txn: &mut Txn<'_>, id: ServerId, server: &Server) {
    save(txn, keys::server(id), server);
}

pub(super) fn find(read: &dyn Read, id: ServerId) -> Result<Option<Server>, StoreError> {
    load(read, &keys::server(id))
}

pub(super) fn remove(txn: &mut Txn<'_>, id: ServerId) {
    txn.delete(keys::server(id));
}
