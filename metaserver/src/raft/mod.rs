//! The raft log that carries the commands, and the node that keeps it: openraft with, for now, one voter.
//!
//! Bottom up: [`log`] is the log on disk; [`checkpoint`] the state on disk, streamed and verified; `log_store`,
//! `state_machine`, `snapshot` and `network` are the four faces that openraft asks for, thin over those; `recover` brings a
//! store up to the log when a node starts; `batcher` makes one entry of all proposals that wait; [`MetaNode`] is the whole.
//!
//! # What is durable, and where
//!
//! | directory entry | |
//! |---|---|
//! | `lock` | held by the process that has the directory open |
//! | `log/` | the truth since the older checkpoint: segments, and the vote |
//! | `checkpoints/` | the newest two, each with the state at one entry of the log |
//! | `store/` | the materialised state: rebuilt from the other two when it is lost or damaged |
//! | `store-clean` | written when the store was closed in good order; without it the store is verified before it is used |
//!
//! An entry is acknowledged when it is in the log, synced, and applied to the store (which need not be on disk). The log
//! is dropped only as far as the *older* checkpoint, so that either of them is enough to start from.
//!
//! # Numbers
//!
//! An *entry* of the log holds as many commands as were waiting. Commands are counted by themselves, from 1: that is the
//! `LogIndex` that the rest of the metaserver sees. Entries have the index that openraft gives them, from 0; on disk
//! ([`log::EntryId`]) it is one more, so that 0 can stand for "none".

mod applied;
mod batcher;
pub mod checkpoint;
mod config;
mod entry;
mod error;
mod lock;
pub mod log;
mod log_store;
mod machine;
mod network;
mod node;
mod recover;
mod snapshot;
mod space;
mod state_machine;
mod tail;
mod types;
mod upkeep;

#[cfg(test)]
mod tests;

pub use config::NodeConfig;
pub use error::{OpenError, ProposeError, TakeError};
pub use machine::Machine;
pub use node::{MetaNode, NodeMetrics};
pub use space::free_bytes;
