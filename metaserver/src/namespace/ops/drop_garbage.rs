//! Forgetting chunks whose copies are deleted.

use cairn_proto::ids::ChunkHandle;

use super::super::change::Change;
use super::super::error::Outcome;
use super::super::reply::Reply;
use super::super::{garbage, keys};

pub(super) fn drop_garbage(change: &mut Change<'_>, handles: &[ChunkHandle]) -> Outcome<Reply> {
    for &handle in handles {
        if garbage::find(&change.txn, handle)?.is_some() {
            change.txn.delete(keys::garbage(handle));
            change.counters()?.garbage -= 1;
        }
    }
    Ok(Reply::Done)
}
