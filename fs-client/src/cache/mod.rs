//! What the client remembers of the metaserver's answers, and for how long it may believe it.
//!
//! Everything here is believed for as long as this mount has a lease on the inode that it belongs to, and the session itself is
//! alive; [`Drops`] tells which answers came too late. What this mount changes itself is entered at once from the reply of the mutation.
//! Capacities are limits on entries, least recently used first out; a limit costs calls, never correctness.
//!
//! Chunk locations and file contents are cached by [`crate::io`].

mod attrs;
mod clock;
mod contents;
mod drops;
mod lru;
mod names;
mod striped;
mod xattrs;

#[cfg(test)]
mod tests;

pub use attrs::{AttrCache, Learned};
pub use clock::Moment;
pub use contents::{Change, Contents};
pub use drops::{Asked, Drops};
pub use lru::ShardedLru;
pub use names::{DirEpoch, NameCache, Named};
pub use xattrs::XattrCache;

/// Attributes remembered, in inodes, unless configured.
pub const DEFAULT_ATTRS: usize = 256 << 10;
/// Names remembered, unless configured.
pub const DEFAULT_NAMES: usize = 256 << 10;
/// Inodes whose extended attributes are remembered.
pub const MAX_XATTR_INODES: usize = 16 << 10;
/// Files of which it is remembered which contents the kernel has cached.
pub const MAX_CONTENTS: usize = 256 << 10;
