//! The CairnFS chunkserver: keeps copies of chunks, takes writes and passes them down the chain, answers reads.
//!
//! [`store`] is the chunks of one data directory.

pub mod failpoint;
pub mod store;
