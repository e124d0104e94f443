//! The cluster itself.

use cairn_proto::ids::ClusterId;
use cairn_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::keys;
use super::value::{Stored, load, save};
use crate::store::{Read, StoreError, Txn};

/// Written by the first command; see [`crate::command::Internal::CreateCluster`].
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Cluster {
    pub id: ClusterId,
    pub created: Timestamp,
}

impl Stored for Cluster {
    const FORMAT: u8 = 1;
    const NOUN: &'static str = "cluster";
}

pub(super) fn find(read: &dyn Read) -> Result<Option<Cluster>, StoreError> {
    load(read, &keys::cluster())
}

pub(super) fn put(txn: &mut Txn<'_>, cluster: &Cluster) {
    save(txn, keys::cluster(), cluster);
}
