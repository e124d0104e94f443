//! What operators change while the cluster runs, and that outlives a restart. Where it says nothing, the configuration holds.

use cairn_proto::admin::Tunables;

use super::keys;
use super::value::{Stored, load, save};
use crate::store::{Read, StoreError, Txn};

impl Stored for Tunables {
    const FORMAT: u8 = 1;
    const NOUN: &'static str = "tunables";
}

pub(super) fn get(read: &dyn Read) -> Result<Tunables, StoreError> {
    Ok(load(read, &keys::tunables())?.unwrap_or_default())
}

pub(super) fn put(txn: &mut Txn<'_>, tunables: &Tunables) {
    save(txn, keys::tunables(), tunables);
}
