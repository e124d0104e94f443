//! A directory for everybody again.

use cairn_proto::ids::InodeId;

use super::super::change::Change;
use super::super::delegation;
use super::super::error::Outcome;
use super::super::reply::Reply;

/// Also where there is nothing to return: a client that is not sure returns.
pub(super) fn return_delegation(change: &mut Change<'_>, id: InodeId) -> Outcome<Reply> {
    if change.caller.is_some() && delegation::holder(&change.txn, id)? == change.caller {
        delegation::end(&mut change.txn, id)?;
    }
    Ok(Reply::Done)
}
