//! What the client remembers of the metaserver's answers, and for how long it may believe it.
//!
//! Everything here has a [`Validity`]: an answer counts from the moment it was asked for, never from the moment it came, and
//! for as long as the mount allows. What this mount changes itself is entered at once from the reply of the mutation.
//! Capacities are limits on entries, least recently used first out; a limit costs calls, never correctness.
//!
//! Chunk locations and file contents are cached by [`crate::io`].

mod attrs;
mod clock;
mod contents;
mod dirs;
mod lru;
mod names;
mod xattrs;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use attrs::{AttrCache, Learned};
pub use clock::Moment;
pub use contents::{Change, Contents};
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

/// How long answers may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub attrs: Duration,
    pub names: Duration,
}

/// A remembered value and how long it may still be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Valid<T> {
    pub value: T,
    pub remaining: Duration,
}
