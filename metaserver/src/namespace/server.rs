//! Chunkservers that have ever registered: so that a restarted metaserver knows whom it is waiting for.

use cairn_proto::ids::ServerId;
use cairn_proto::transport::Endpoint;
use serde::{Deserialize, Serialize};

use super::keys;
use super::value::{Stored, save};
use crate::store::Txn;

/// What is remembered of a chunkserver.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Server {
    pub name: String,
    /// Where it was last reached.
    pub endpoint: Endpoint,
}

impl Stored for Server {
    const FORMAT: u8 = 1;
    const NOUN: &'static str = "server";
}

pub(super) fn put(txn: &mut Txn<'_>, id: ServerId, server: &Server) {
    save(txn, keys::server(id), server);
}
