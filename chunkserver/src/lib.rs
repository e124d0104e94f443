//! The CairnFS chunkserver: keeps copies of chunks, takes writes and passes them down the chain, answers reads.
//!
//! From the bottom up: [`store`] is the chunks of its data directories, one a disk; [`replication`] is what servers do together;
//! [`service`] answers requests; [`heartbeat`] tells the metaservers what is here, and carries out their orders; [`server`]
//! puts it all together as a daemon that an embedding process can start and stop.

pub mod config;
mod directories;
mod disks;
pub mod failpoint;
mod ground;
pub mod heartbeat;
mod load;
pub mod replication;
pub mod scrub;
pub mod server;
pub mod service;
pub mod store;
mod validate;
pub mod writers;

#[cfg(test)]
mod tests;

pub use config::{ChunkserverConfig, ConfigProblem, Settings};
pub use directories::Directories;
pub use server::{Chunkserver, RunError, run};
