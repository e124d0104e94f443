//! Chunkservers: remembered when they register, told what is to become of them, forgotten.

use cairn_proto::admin::ServerMode;
use cairn_proto::error::FsError;
use cairn_proto::ids::ServerId;

use super::super::change::Change;
use super::super::error::Outcome;
use super::super::reply::Reply;
use super::super::server::{self, Server};

/// What it says of itself. What is meant to become of it stays.
pub(super) fn remember_server(change: &mut Change<'_>, id: ServerId, new: &Server) -> Outcome<Reply> {
    let mode = server::find(&change.txn, id)?.map_or(new.mode, |known| known.mode);
    server::put(&mut change.txn, id, &Server { mode, ..new.clone() });
    Ok(Reply::Done)
}

/// Refused with `NotFound` where it is not known.
pub(super) fn set_server_mode(change: &mut Change<'_>, id: ServerId, mode: ServerMode) -> Outcome<Reply> {
    let known = server::find(&change.txn, id)?.ok_or(FsError::NotFound)?;
    server::put(&mut change.txn, id, &Server { mode, ..known });
    Ok(Reply::Done)
}

/// What is not known is forgotten already.
pub(super) fn forget_server(change: &mut Change<'_>, id: ServerId) -> Outcome<Reply> {
    server::remove(&mut change.txn, id);
    Ok(Reply::Done)
}
