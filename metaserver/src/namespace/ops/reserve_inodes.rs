//! Inode numbers for clients that make inodes ahead.

use cairn_proto::ids::InodeId;

use super::super::change::Change;
use super::super::error::Outcome;
use super::super::reply::Reply;

/// Numbers are plenty: those that are never used are lost.
pub(super) fn reserve_inodes(change: &mut Change<'_>, upto: InodeId) -> Outcome<Reply> {
    change.counters()?.reserve_inodes(upto);
    Ok(Reply::Done)
}
