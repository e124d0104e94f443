//! Where copies may be: what policies say of it, each by a number, so that inodes and chunks stay small.
//!
//! A placement is never changed nor removed: who asks for another one gets another number.

use cairn_proto::error::FsError;
use cairn_proto::policy::{Placement, PlacementId};

use super::error::Outcome;
use super::keys;
use super::value::{Stored, load, page, save};
use crate::store::{Read, StoreError, Txn};

/// Placements of one cluster at most.
pub const MAX_PLACEMENTS: usize = 4096;

impl Stored for Placement {
    const FORMAT: u8 = 1;
    const NOUN: &'static str = "placement";
}

/// [`PlacementId::ANYWHERE`] is there without having been defined.
pub(super) fn find(read: &dyn Read, id: PlacementId) -> Result<Option<Placement>, StoreError> {
    match id {
        PlacementId::ANYWHERE => Ok(Some(Placement::default())),
        id => load(read, &keys::placement(id)),
    }
}

/// `InvalidArgument` where nobody has defined it.
pub(super) fn get(read: &dyn Read, id: PlacementId) -> Outcome<Placement> {
    Ok(find(read, id)?.ok_or(FsError::InvalidArgument)?)
}

/// All that were defined.
pub(super) fn all(read: &dyn Read) -> Result<Vec<(PlacementId, Placement)>, StoreError> {
    page(read, &keys::placements(), MAX_PLACEMENTS, |(key, value)| {
        Ok((keys::parse_placement(key)?, Placement::from_stored(key, value)?))
    })
}

pub(super) fn put(txn: &mut Txn<'_>, id: PlacementId, placement: &Placement) {
    save(txn, keys::placement(id), placement);
}
