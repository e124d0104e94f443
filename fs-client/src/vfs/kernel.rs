//! What the file system tells the kernel above it.

use std::fmt;

use async_trait::async_trait;
use cairn_proto::ids::InodeId;

/// The caches of the kernel, as far as they must be told.
#[async_trait]
pub trait KernelCache: fmt::Debug + Send + Sync + 'static {
    /// An inode changes behind its back: drop its pages and attributes. Returns at once.
    fn drop_pages(&self, inode: InodeId);

    /// Whether [`Self::forget_names`] works.
    fn can_forget_names(&self) -> bool;

    /// Names change behind its back: ask again before any is used. Returns at once.
    fn forget_names(&self);

    /// Returns when the kernel has done what it was told before. Not to be waited for by the answer to a read or a write: the kernel may
    /// be waiting for that.
    async fn settled(&self);
}
