//! Sessions come and go.

use cairn_proto::error::FsError;
use cairn_proto::ids::SessionId;
use cairn_proto::meta::ClientInfo;

use super::super::change::Change;
use super::super::error::Outcome;
use super::super::reply::Reply;
use super::super::session::{self, Session};
use super::super::{delegation, keys, ledger};

/// Sequence number of a session's first operation.
const FIRST_SEQ: u64 = 1;

pub(super) fn open(change: &mut Change<'_>, id: SessionId, client: &ClientInfo) -> Outcome<Reply> {
    if session::find(&change.txn, id)?.is_some() {
        return Err(FsError::Exists.into());
    }
    let session = Session { client: client.clone(), opened: change.at, floor: FIRST_SEQ, ahead: 0 };
    session::put(&mut change.txn, id, &session);
    change.counters()?.used_session(id);
    Ok(Reply::Done)
}

pub(super) fn close(change: &mut Change<'_>, id: SessionId) -> Outcome<Reply> {
    if session::find(&change.txn, id)?.is_none() {
        return Err(FsError::SessionUnknown(id).into());
    }
    ledger::forget(&mut change.txn, id)?;
    delegation::end_all_of(&mut change.txn, id)?;
    change.txn.delete(keys::session(id));
    Ok(Reply::Done)
}
