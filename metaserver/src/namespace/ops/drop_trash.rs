//! Removing from the trash for good.

use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;

use super::super::change::Change;
use super::super::error::Outcome;
use super::super::reply::Reply;
use super::super::{orphan, trash};
use super::reap::MAX_REAP_INODES;

/// They are orphans from then on, and are freed as those are: when nobody has them open.
pub(super) fn drop_trash(change: &mut Change<'_>, inodes: &[InodeId], expired: bool) -> Outcome<Reply> {
    if inodes.len() > MAX_REAP_INODES {
        return Err(FsError::InvalidArgument.into());
    }
    for &id in inodes {
        let Some(trashed) = trash::find(&change.txn, id)? else { continue };
        if expired && trashed.expires() > change.at {
            continue;
        }
        trash::remove(change, id, &trashed)?;
        orphan::add(change, id)?;
    }
    Ok(Reply::Done)
}
