//! What the file system tells the kernel above it.

use std::fmt;

use async_trait::async_trait;
use cairn_proto::ids::InodeId;
use futures::future::BoxFuture;

/// The caches of the kernel, as far as they must be told.
#[async_trait]
pub trait KernelCache: fmt::Debug + Send + Sync + 'static {
    /// An inode changes behind its back: drop its pages and attributes. Returns at once; the result ends when that is done, waited for or not. It
    /// is not to be waited for by the answer to a read or a write of the inode: the kernel may be waiting for that.
    fn drop_pages(&self, inode: InodeId) -> BoxFuture<'static, ()>;

    /// Attributes change behind its back; pages may stay. Returns at once.
    fn forget_attrs(&self, inode: InodeId);

    /// Whether [`Self::forget_names`] works.
    fn can_forget_names(&self) -> bool;

    /// Names change behind its back: ask again before any is used. Returns at once.
    fn forget_names(&self);

    /// Returns when the kernel has forgotten the attributes and names that it was told to before. That waits for no read or write.
    async fn forgotten(&self);
}
