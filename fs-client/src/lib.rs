//! The CairnFS client: a file system on a mount point, and the same file system as a library.
//!
//! From the outside in:
//!
//! * [`mount`] takes a configuration ([`config`]) and gives a running mount;
//! * [`client`] is the same without a mount point, as a library;
//! * [`fuse`] is the shim between the kernel and [`vfs`]: decode, call, reply;
//! * [`vfs`] is the file system, free of FUSE: handles, POSIX rules, coherence of what is cached, and the one table of
//!   error numbers;
//! * [`cache`] holds attributes and names for as long as they are valid;
//! * [`delegation`] is what this mount does by itself, in directories that only it uses;
//! * [`io`] moves file contents: write-back, read-ahead, chunkservers;
//! * [`meta`] is the session with the metaserver: every mutation done exactly once, whatever happens in between.

pub mod cache;
pub mod client;
pub mod config;
pub mod delegation;
mod failpoint;
pub mod fuse;
pub mod io;
pub mod meta;
pub mod mount;
pub mod vfs;

pub use client::Client;
pub use config::{ClientConfig, MountConfig};
pub use mount::Mount;
