//! The ledger: the results of each session's latest operations, so that one that is retried is answered, never done twice.
//!
//! An operation's result stays until the session has said that it will not ask again, and a little longer: results are dropped
//! [`PRUNE_BATCH`] at a time, and only then is the session's floor raised, so that most commands write one ledger key and
//! nothing else. What comes late from a connection that was given up finds either its result or the floor above it.

use cairn_proto::error::FsError;
use serde::{Deserialize, Serialize};

use super::reply::Reply;
use super::session::Session;
use super::value::{Stored, load, save};
use super::{keys, session};
use crate::command::Origin;
use crate::store::{Read, StoreError, Txn};

/// Operations of one session that may be under way, from the oldest that is not acknowledged: what bounds the ledger.
pub const LEDGER_WINDOW_OPS: u64 = 16 << 10;

/// Acknowledged results that are kept before they are dropped together.
const PRUNE_BATCH_OPS: u64 = 128;

/// A result.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Recorded(pub Result<Reply, FsError>);

impl Stored for Recorded {
    const FORMAT: u8 = 2;
    const NOUN: &'static str = "ledger entry";
}

/// What to do with an operation.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, taken apart at once")]
pub(super) enum Admission {
    /// It was not done yet: do it, and [`record`] the result.
    Fresh,
    /// It was done, or must not be: the answer.
    Answered(Result<Reply, FsError>),
}

/// Looks an operation up, and drops results that nobody will ask for.
pub(super) fn admit(txn: &mut Txn<'_>, origin: Origin) -> Result<Admission, StoreError> {
    let op = origin.op;
    let Some(session) = session::find(txn, op.session)? else {
        return Ok(Admission::Answered(Err(FsError::SessionUnknown(op.session))));
    };
    let floor = session.floor.max(origin.acked);
    // Beyond the window or below the floor the client breaks its own promises.
    if op.seq < session.floor || op.seq >= floor.saturating_add(LEDGER_WINDOW_OPS) {
        return Ok(Admission::Answered(Err(FsError::InvalidArgument)));
    }
    if let Some(Recorded(result)) = load(txn, &keys::ledger(op.session, op.seq))? {
        return Ok(Admission::Answered(result));
    }
    // Nothing is recorded for it, so what the client says it has is an answer that was never given.
    if op.seq < origin.acked {
        return Ok(Admission::Answered(Err(FsError::InvalidArgument)));
    }
    if origin.acked >= session.floor + PRUNE_BATCH_OPS {
        prune(txn, origin, session)?;
    }
    Ok(Admission::Fresh)
}

/// Keeps the result of an operation that was [`Admission::Fresh`]. One that is to be asked again is not kept.
pub(super) fn record(txn: &mut Txn<'_>, origin: Origin, result: &Result<Reply, FsError>) {
    if result.as_ref().is_err_and(FsError::is_transient) {
        return;
    }
    save(txn, keys::ledger(origin.op.session, origin.op.seq), &Recorded(result.clone()));
}

fn prune(txn: &mut Txn<'_>, origin: Origin, mut session: Session) -> Result<(), StoreError> {
    // From the floor on: where engines keep empty pages, to look below it costs more with every result there ever was.
    let range = keys::ledger_between(origin.op.session, session.floor, origin.acked);
    delete_all(txn, &range)?;
    session.floor = origin.acked;
    session::put(txn, origin.op.session, &session);
    Ok(())
}

/// Forgets every result of a session.
pub(super) fn forget(txn: &mut Txn<'_>, session: cairn_proto::ids::SessionId) -> Result<(), StoreError> {
    delete_all(txn, &keys::ledger_of(session))
}

fn delete_all(txn: &mut Txn<'_>, range: &keys::KeyRange) -> Result<(), StoreError> {
    let pairs = txn.scan_page(&range.start, &range.end, usize::MAX)?;
    for (key, _) in pairs {
        txn.delete(key);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
