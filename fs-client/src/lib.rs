//! The CairnFS client: a file system on a mount point, and the same file system as a library.
//!
//! From the outside in:
//!
//! * [`mount`] takes a configuration and gives a running mount;
//! * [`fuse`] is the shim between the kernel and [`vfs`]: decode, call, reply, and the one table of error numbers;
//! * [`vfs`] is the file system, free of FUSE: handles, POSIX rules, coherence of what is cached;
//! * [`cache`] holds attributes and names for as long as they are valid;
//! * [`io`] moves file contents: write-back, read-ahead, chunk servers;
//! * [`meta`] is the session with the metaserver: every mutation done exactly once, whatever happens in between.

pub mod io;
pub mod meta;
