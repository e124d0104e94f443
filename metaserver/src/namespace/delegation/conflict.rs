//! What a mutation touches: which directories have to be the caller's, or nobody's.
//!
//! What does not exist touches nothing; the operation itself finds that out, and says so.

use cairn_proto::ids::{InodeId, SessionId};
use cairn_proto::meta::Mutation;
use cairn_proto::name::Name;

use super::{admit, admit_inode, admit_number};
use crate::namespace::error::Outcome;
use crate::namespace::{dentry, inode};
use crate::store::Read;

/// Refuses with `Delegated` where `mutation` touches what somebody other than `caller` has.
///
/// One case is left to `ops/create.rs`: the file that a create finds, and then opens. To look for it here would cost every create.
pub(in crate::namespace) fn check(read: &dyn Read, caller: Option<SessionId>, mutation: &Mutation) -> Outcome<()> {
    match mutation {
        Mutation::Create { parent, .. } => admit(read, caller, *parent),
        Mutation::Link { inode, parent, .. } => {
            admit(read, caller, *parent)?;
            admit_number(read, caller, *inode)
        }
        Mutation::Unlink { parent, name } => {
            admit(read, caller, *parent)?;
            admit_entry(read, caller, *parent, name, Kind::Other)
        }
        Mutation::Rmdir { parent, name } => {
            admit(read, caller, *parent)?;
            admit_entry(read, caller, *parent, name, Kind::Directory)
        }
        Mutation::Rename { parent, name, new_parent, new_name, mode: _ } => {
            admit(read, caller, *parent)?;
            admit(read, caller, *new_parent)?;
            admit_entry(read, caller, *parent, name, Kind::Any)?;
            admit_entry(read, caller, *new_parent, new_name, Kind::Any)
        }
        Mutation::SetAttr { inode, .. }
        | Mutation::SetXattr { inode, .. }
        | Mutation::RemoveXattr { inode, .. }
        | Mutation::CommitWrite { inode, .. }
        | Mutation::SetPolicy { inode, .. }
        | Mutation::TouchAtime { inode, .. } => admit_number(read, caller, *inode),
        // Where bytes are is no part of what a file looks like; and a delegation is asked for and returned by whoever likes.
        Mutation::AllocateChunks { .. }
        | Mutation::ClearTrim { .. }
        | Mutation::ReplaceFailed { .. }
        | Mutation::TakeDelegation { .. }
        | Mutation::ReturnDelegation { .. } => Ok(()),
    }
}

/// Which entries an operation goes through with; it refuses the others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    Other,
    Any,
}

/// The inode of an entry gets another link count, change time, or parent.
fn admit_entry(read: &dyn Read, caller: Option<SessionId>, parent: InodeId, name: &Name, kind: Kind) -> Outcome<()> {
    let Some(dentry) = dentry::find(read, parent, name)? else { return Ok(()) };
    match (dentry.is_directory(), kind) {
        (true, Kind::Directory | Kind::Any) => admit(read, caller, dentry.inode),
        (false, Kind::Other | Kind::Any) => {
            let inode = inode::of_entry(read, dentry.inode)?;
            // With one name it is this one, whose directory has been looked at.
            if inode.nlink > 1 { admit_inode(read, caller, &inode) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}
