//! Giving a placement its number.

use cairn_proto::error::FsError;
use cairn_proto::policy::{Placement, PlacementId};

use super::super::change::Change;
use super::super::error::Outcome;
use super::super::placement::{self, MAX_PLACEMENTS};
use super::super::reply::Reply;

/// The same placement gets the same number, whoever asks for it. Answers which.
pub(super) fn define_placement(change: &mut Change<'_>, wanted: &Placement) -> Outcome<Reply> {
    if *wanted == Placement::default() {
        return Ok(Reply::Placement(PlacementId::ANYWHERE));
    }
    let all = placement::all(&change.txn)?;
    if let Some((id, _)) = all.iter().find(|(_, placement)| placement == wanted) {
        return Ok(Reply::Placement(*id));
    }
    if all.len() >= MAX_PLACEMENTS {
        return Err(FsError::NoSpace.into());
    }
    let id = PlacementId(all.last().map_or(1, |(last, _)| last.0 + 1));
    placement::put(&mut change.txn, id, wanted);
    Ok(Reply::Placement(id))
}
