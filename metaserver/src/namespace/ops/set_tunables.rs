//! What operators change.

use cairn_proto::admin::Tunables;

use super::super::change::Change;
use super::super::error::Outcome;
use super::super::reply::Reply;
use super::super::tunables;

pub(super) fn set_tunables(change: &mut Change<'_>, new: &Tunables) -> Outcome<Reply> {
    tunables::put(&mut change.txn, new);
    Ok(Reply::Done)
}
