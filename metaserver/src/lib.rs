//! CairnFS metaserver: the namespace, who holds which chunk, and the sessions of the clients.
//!
//! From the bottom up:
//!
//! | module | what it is |
//! |---|---|
//! | [`store`] | the materialised state: one ordered keyspace over an engine |
//! | [`namespace`], [`command`] | the state machine: commands in, replies out |
//! | [`raft`] | the log that carries the commands: durable, replicated, the truth |
//! | [`node_log`], [`state`] | both as the rest uses them: propose, read, give out ids |
//! | [`local_log`] | a log in memory, for tests and simulation |
//! | [`session`] | clients: who is there, what they hold open, what they are asked to return |
//! | [`cluster`] | chunkservers: registry, placement, membership, repair, reconciliation, garbage |
//! | [`attention`] | the clock by which silence is judged |
//! | [`room`] | whether the disk has room for a mutation |
//! | [`fsck`] | everything compared with everything |
//! | [`service`] | the wire's face of it all: thin |
//! | [`config`], [`run`] | settings, and the daemon put together |
//!
//! What is durable changes by commands only. What is soft (where a server is, who is alive, what is open) is learned anew after
//! a start, and nothing is given up before everybody has had the time to show.

pub mod attention;
pub mod cluster;
pub mod command;
pub mod config;
pub mod fsck;
pub mod local_log;
pub mod namespace;
pub mod node_log;
pub mod raft;
pub mod room;
pub mod run;
pub mod service;
pub mod session;
pub mod state;
pub mod store;

#[cfg(test)]
mod testing;

/// A reading of [`cairn_runtime::clock::Clock::monotonic`]: time since some fixed moment.
pub type Moment = std::time::Duration;

pub use config::{ConfigProblem, MetaserverConfig};
pub use run::{Metaserver, RunError, StartError, run};
