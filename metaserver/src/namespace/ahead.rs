//! What a session did under delegations comes in the order in which it did it, whatever way it comes.
//!
//! Each operation has a place, from 1. It is applied only right after its predecessor: so nothing is done on top of something that
//! could not be done yet. What is refused for good has been applied, too: it was tried, and stays undone.

use cairn_proto::error::FsError;
use cairn_proto::ids::{InodeId, SessionId};
use cairn_proto::meta::Mutation;
use cairn_proto::time::Timestamp;

use super::error::Outcome;
use super::ops::valid_time;
use super::reply::Reply;
use super::{counters, session};
use crate::command::{Body, Command, Decided};
use crate::store::{Read, StoreError, Txn};

/// Refuses what has not its turn, and what no client could have decided.
pub(super) fn check(
    read: &dyn Read,
    caller: Option<SessionId>,
    at: Timestamp,
    mutation: &Mutation,
    decided: &Decided,
) -> Outcome<()> {
    let Decided::Ahead { position, inode } = *decided else { return Ok(()) };
    let caller = caller.ok_or(FsError::InvalidArgument)?;
    let done = session::find(read, caller)?.ok_or(FsError::SessionUnknown(caller))?.ahead;
    if position > done.saturating_add(1) {
        return Err(FsError::NotReady.into());
    }
    // One that had its turn is answered from the ledger, unless the client has said that it knows the answer.
    if position <= done {
        return Err(FsError::InvalidArgument.into());
    }
    valid_time(at)?;
    if matches!(mutation, Mutation::Create { .. }) {
        let given_out = counters::get(read)?.next_inode;
        if !inode.is_some_and(|inode| inode > InodeId::ROOT && inode < given_out) {
            return Err(FsError::InvalidArgument.into());
        }
    }
    Ok(())
}

/// `command` was answered; the next one has its turn, unless this one is to come again.
pub(super) fn answered(
    txn: &mut Txn<'_>,
    command: &Command,
    result: &Result<Reply, FsError>,
) -> Result<(), StoreError> {
    let (Some(origin), Body::Mutation { decided: Decided::Ahead { position, .. }, .. }) =
        (command.origin, &command.body)
    else {
        return Ok(());
    };
    if result.as_ref().is_err_and(FsError::is_transient) {
        return Ok(());
    }
    if let Some(mut session) = session::find(txn, origin.op.session)?
        && session.ahead < *position
    {
        session.ahead = *position;
        session::put(txn, origin.op.session, &session);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
