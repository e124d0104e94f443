//! Taking away the mark of a cut, once there are zeros behind it.

use cairn_proto::ids::{ChunkHandle, ChunkIndex, InodeId};

use super::super::change::Change;
use super::super::error::Outcome;
use super::super::inode;
use super::super::reply::Reply;
use super::super::slot::{self, Slot};

/// A chunk that is not there any more, or is cut lower by now, stays as it is.
pub(super) fn clear_trim(
    change: &mut Change<'_>,
    id: InodeId,
    index: ChunkIndex,
    handle: ChunkHandle,
    zeroed_from: u32,
) -> Outcome<Reply> {
    inode::get(&change.txn, id)?.as_file()?;
    match slot::find(&change.txn, id, index)? {
        Some(Slot { handle: there, trimmed_at: Some(cut) }) if there == handle && cut >= zeroed_from => {
            slot::put(&mut change.txn, id, index, Slot { handle, trimmed_at: None });
        }
        _ => {}
    }
    Ok(Reply::Done)
}
