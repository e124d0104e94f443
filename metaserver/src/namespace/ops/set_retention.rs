//! For how long what is removed from a directory is kept.

use cairn_proto::ids::InodeId;
use cairn_proto::policy::Retention;

use super::super::change::Change;
use super::super::error::Outcome;
use super::super::reply::Reply;
use super::super::{delegation, inode};

/// What is in the trash already stays there for as long as was said when it was removed.
pub(super) fn set_retention(change: &mut Change<'_>, id: InodeId, retention: Retention) -> Outcome<Reply> {
    let mut directory = inode::get_directory(&change.txn, id)?;
    if directory.retention == retention {
        return Ok(Reply::Done);
    }
    // Its holder foresees under which command the directory changed last.
    delegation::admit(&change.txn, change.caller, id)?;
    directory.retention = retention;
    change.save(&mut directory);
    Ok(Reply::Done)
}
