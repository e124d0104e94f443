//! What is read of the namespace. Everything here takes any [`Read`](crate::store::Read) and changes nothing.
//!
//! `tree` and `xattrs` answer what clients ask, `chunks` where bytes are; `tables` goes through whole tables in pages, for background
//! work and for people; `trash` shows what was removed. They all show what is stored; [`Viewer`] asks as a client, who may have to wait for another one to say what it
//! knows better.

mod chunks;
mod tables;
mod trash;
mod tree;
mod viewer;
mod xattrs;

pub(super) use chunks::views;
pub use chunks::{chunk, chunk_view, chunks, locate};
pub use tables::{
    cluster, counters, delegated_to, garbage, garbage_of, inodes, orphans, placement, server, servers, session,
    sessions, tunables,
};
pub use trash::{
    TrashFound, expired_trash, find_trash, name_of_removed, path_of_directory, removed_from, retention_of, trash,
    trash_entry, trash_record,
};
pub use tree::{find_entry, get_attr, get_inode, lookup, path_of, policy_of, read_dir, read_link, resolve};
pub use viewer::Viewer;
pub use xattrs::{get_xattr, list_xattr};
