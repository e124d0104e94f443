//! What a directory, or a file, asks for.

use cairn_proto::chunk::MAX_COPIES;
use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::policy::{Policy, PolicyChange};

use super::super::change::Change;
use super::super::error::Outcome;
use super::super::inode::{self, Content};
use super::super::reply::Reply;

pub(super) fn set_policy(change: &mut Change<'_>, id: InodeId, set: PolicyChange) -> Outcome<Reply> {
    let mut inode = inode::get(&change.txn, id)?;
    if !matches!(inode.content, Content::File(_) | Content::Directory(_)) {
        return Err(FsError::InvalidArgument.into());
    }
    let policy = Policy {
        copies: set.copies.unwrap_or(inode.policy.copies),
        durability: set.durability.unwrap_or(inode.policy.durability),
    };
    check(policy)?;
    inode.policy = policy;
    inode.times.ctime = change.at;
    change.save(&mut inode);
    Ok(Reply::Policy(policy))
}

pub(super) fn check(policy: Policy) -> Result<(), FsError> {
    if (1..=MAX_COPIES).contains(&policy.copies) { Ok(()) } else { Err(FsError::InvalidArgument) }
}
