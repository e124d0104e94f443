//! The operations, a file each. An operation reads and checks what it must, then writes; where it is refused, what it wrote in
//! its [`Change`] is dropped.

mod allocate;
mod clear_trim;
mod commit_write;
mod create;
mod create_cluster;
mod define_placement;
mod drop_garbage;
mod drop_trash;
mod link;
pub(super) mod reap;
mod remember_server;
mod remove_xattr;
mod rename;
mod replace_failed;
mod reserve_inodes;
mod restore;
mod return_delegation;
mod rmdir;
mod session;
mod set_attr;
mod set_members;
mod set_policy;
mod set_retention;
mod set_tunables;
mod set_xattr;
mod take_delegation;
mod touch_atime;
mod truncate;
mod unlink;

use cairn_proto::error::FsError;
use cairn_proto::meta::Mutation;

pub(super) use set_attr::valid as valid_time;

use super::change::Change;
use super::error::Outcome;
use super::reply::Reply;
use super::{ahead, delegation};
use crate::command::{Body, Decided, Internal};

/// Does what a command says.
pub(super) fn execute(change: &mut Change<'_>, body: &Body) -> Outcome<Reply> {
    match body {
        Body::Mutation { mutation, decided } => {
            ahead::check(&change.txn, change.caller, change.at, mutation, decided)?;
            delegation::conflict::check(&change.txn, change.caller, mutation)?;
            mutate(change, mutation, decided)
        }
        Body::Internal(internal) => execute_internal(change, internal),
    }
}

fn mutate(change: &mut Change<'_>, mutation: &Mutation, decided: &Decided) -> Outcome<Reply> {
    match mutation {
        // That the session holds it open is soft state.
        Mutation::Create { parent, name, node, mode, umask, owner, exclusive, open: _ } => {
            let number = decided.inode();
            let (mode, umask) = (*mode, *umask);
            create::Create { parent: *parent, name, node, mode, umask, owner: *owner, exclusive: *exclusive, number }
                .run(change)
        }
        Mutation::Link { inode, parent, name } => link::link(change, *inode, *parent, name),
        Mutation::Unlink { parent, name } => unlink::unlink(change, *parent, name),
        Mutation::Rmdir { parent, name } => rmdir::rmdir(change, *parent, name),
        Mutation::Rename { parent, name, new_parent, new_name, mode } => {
            rename::rename(change, (*parent, name), (*new_parent, new_name), *mode)
        }
        Mutation::SetAttr { inode, set } => set_attr::set_attr(change, *inode, set),
        Mutation::TouchAtime { inode, atime } => touch_atime::touch_atime(change, *inode, *atime),
        Mutation::SetXattr { inode, name, value, mode, clear_sgid } => {
            set_xattr::set_xattr(change, *inode, name, value, *mode, *clear_sgid)
        }
        Mutation::RemoveXattr { inode, name } => remove_xattr::remove_xattr(change, *inode, name),
        Mutation::AllocateChunks { inode, first, count } => {
            allocate::allocate(change, *inode, *first, *count, decided.chunks())
        }
        Mutation::CommitWrite { inode, size, mtime, extents, kill_suid_sgid } => {
            commit_write::CommitWrite { inode: *inode, size: *size, mtime: *mtime, extents, kill: *kill_suid_sgid }
                .run(change)
        }
        Mutation::ClearTrim { inode, index, handle, trimmed_at } => {
            clear_trim::clear_trim(change, *inode, *index, *handle, *trimmed_at)
        }
        Mutation::ReplaceFailed { inode, index, handle, version, failed, held } => {
            let survivors = decided.survivors().iter().filter(|server| !failed.contains(server)).copied().collect();
            replace_failed::ReplaceFailed {
                inode: *inode,
                index: *index,
                handle: *handle,
                version: *version,
                survivors,
                anew: matches!(decided, Decided::Anew(_)).then_some(*held),
            }
            .run(change)
        }
        Mutation::SetPolicy { inode, change: policy } => set_policy::set_policy(change, *inode, *policy),
        Mutation::TakeDelegation { inode, max_entries } => {
            take_delegation::take_delegation(change, *inode, *max_entries)
        }
        Mutation::ReturnDelegation { inode } => return_delegation::return_delegation(change, *inode),
    }
}

fn execute_internal(change: &mut Change<'_>, internal: &Internal) -> Outcome<Reply> {
    match internal {
        Internal::CreateCluster { cluster, mode, uid, gid, policy } => {
            create_cluster::CreateCluster { cluster: *cluster, mode: *mode, uid: *uid, gid: *gid, policy: *policy }
                .run(change)
        }
        Internal::OpenSession { session, client } => session::open(change, *session, client),
        Internal::CloseSession { session } => session::close(change, *session),
        Internal::Reap { inodes } => reap::reap(change, inodes),
        Internal::DropGarbage { handles } => drop_garbage::drop_garbage(change, handles),
        Internal::RememberServer { server, remembered } => {
            remember_server::remember_server(change, *server, remembered)
        }
        Internal::SetMembers { handle, expect, next, members } => {
            set_members::set_members(change, *handle, *expect, *next, members)
        }
        Internal::ReserveInodes { upto } => reserve_inodes::reserve_inodes(change, *upto),
        Internal::DefinePlacement { placement } => define_placement::define_placement(change, placement),
        Internal::SetServerMode { server, mode } => remember_server::set_server_mode(change, *server, *mode),
        Internal::SetTunables { tunables } => set_tunables::set_tunables(change, tunables),
        Internal::SetRetention { inode, retention } => set_retention::set_retention(change, *inode, *retention),
        Internal::Restore { inode, parent, name } => restore::restore(change, *inode, *parent, name),
        Internal::DropTrash { inodes, expired } => drop_trash::drop_trash(change, inodes, *expired),
        Internal::ForgetServer { server } => remember_server::forget_server(change, *server),
    }
}

impl Decided {
    /// The number for a new inode. Without one the proposer has not done its part, and may: the client is to ask again.
    fn inode(&self) -> Result<create::Number, FsError> {
        match self {
            Self::Inode(inode) => Ok(create::Number::Ours(*inode)),
            Self::Ahead { inode, .. } => inode.map(create::Number::Ahead).ok_or(FsError::InvalidArgument),
            _ => Err(FsError::NotReady),
        }
    }

    fn chunks(&self) -> &[crate::command::Placement] {
        match self {
            Self::Chunks(placements) => placements,
            _ => &[],
        }
    }

    fn survivors(&self) -> &[cairn_proto::ids::ServerId] {
        match self {
            Self::Survivors(survivors) | Self::Anew(survivors) => survivors,
            _ => &[],
        }
    }
}
