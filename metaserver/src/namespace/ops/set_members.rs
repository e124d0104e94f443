//! A new set of holders for a chunk.

use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ChunkVersion, ServerId};

use super::super::change::Change;
use super::super::chunk;
use super::super::error::Outcome;
use super::super::query;
use super::super::reply::Reply;

pub(super) fn set_members(
    change: &mut Change<'_>,
    handle: ChunkHandle,
    expect: ChunkVersion,
    next: ChunkVersion,
    members: &[ServerId],
) -> Outcome<Reply> {
    chunk::check_members(members)?;
    if next < expect {
        return Err(FsError::InvalidArgument.into());
    }
    let mut chunk = chunk::get(&change.txn, handle)?;
    let done = chunk.version == expect;
    if done {
        chunk.version = next;
        chunk.members = members.to_vec();
        chunk::put(&mut change.txn, handle, &chunk);
    }
    let view = query::chunk_view(&change.txn, handle)?.ok_or(FsError::NotFound)?;
    Ok(if done { Reply::Members(view) } else { Reply::MembersConflict(view) })
}
