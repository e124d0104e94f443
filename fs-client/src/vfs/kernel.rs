//! What the file system tells the kernel above it.

use std::fmt;

use cairn_proto::ids::InodeId;

/// The caches of the kernel, as far as they must be told. Calls return at once.
pub trait KernelCache: fmt::Debug + Send + Sync + 'static {
    /// The contents of a file changed behind its back: drop its pages and attributes.
    fn drop_pages(&self, inode: InodeId);
}
