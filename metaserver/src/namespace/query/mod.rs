//! What is read of the namespace. Everything here takes any [`Read`](crate::store::Read) and changes nothing.
//!
//! `tree` and `xattrs` answer what clients ask, `chunks` where bytes are; `tables` goes through whole tables in pages, for background
//! work and for people. They all show what is stored; [`Viewer`] asks as a client, who may have to wait for another one to say what it
//! knows better.

mod chunks;
mod tables;
mod tree;
mod viewer;
mod xattrs;

pub(super) use chunks::views;
pub use chunks::{chunk, chunk_view, chunks, locate};
pub use tables::{
    cluster, counters, delegated_to, garbage, garbage_of, inodes, orphans, placement, server, servers, session,
    sessions, tunables,
};
pub use tree::{find_entry, get_attr, get_inode, lookup, path_of, policy_of, read_dir, read_link, resolve};
pub use viewer::Viewer;
pub use xattrs::{get_xattr, list_xattr};
