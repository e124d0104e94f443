//! The materialised state: one ordered keyspace, its transactions, and the engines behind it.
//!
//! Bottom up: an engine ([`SledStore`], [`MemoryStore`]) implements [`Store`]; a [`Keyspace`] owns one engine, serialises
//! commits against reads, counts and digests what it holds, and hands out consistent images for checkpoints; a [`Txn`] is a
//! write set over anything that can be [`Read`].
//!
//! Nothing here is durable by itself: the raft log (`crate::raft`) is the truth, and a store that is lost or damaged is
//! rebuilt from it. What this module owes is to *notice* that it is damaged.
//!
//! Keys are opaque here but for their first byte: [`TAG_HEAD`] and [`TAG_TAIL`] belong to the keyspace's own records.

mod batch;
mod cache;
mod digest;
mod error;
mod image;
mod keyspace;
mod memory;
mod meta;
mod scan;
mod sled;
mod txn;

#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use batch::WriteSet;
pub use digest::Digest;
pub use error::{Damage, StoreError};
pub use image::Image;
pub use keyspace::{Keyspace, View};
pub use memory::MemoryStore;
pub use meta::{Meta, TAG_HEAD, TAG_TAIL};
pub use scan::{Scan, prefix_end, scan};
pub use sled::SledStore;
pub use txn::Txn;

/// A key and its value.
pub type Pair = (Bytes, Bytes);

/// What an operation may read: the state under it, and, in a [`Txn`], what it wrote itself.
pub trait Read {
    /// The value of `key`, or `None` where there is none.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// The first pairs of `start..end` in order of key, at most `limit`. Fewer than `limit` means: there are no more.
    fn scan_page(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError>;
}

/// A storage engine: an ordered map with atomic batches. One writer at a time; any number of readers.
pub trait Store: Read + Send + Sync + 'static {
    /// Makes all of `writes` visible at once. After a crash either all or none of them are there; which, is not promised.
    fn write(&self, writes: &WriteSet) -> Result<(), StoreError>;

    /// Removes everything.
    fn clear(&self) -> Result<(), StoreError>;

    /// Moves what is only in memory to disk. Called now and then by a background thread, and at an orderly end.
    fn flush(&self) -> Result<(), StoreError>;

    /// Bytes that the engine occupies on disk (in memory, for one that has no disk).
    fn size(&self) -> Result<u64, StoreError>;
}
