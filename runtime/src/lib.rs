//! What every CairnFS daemon stands on: durable files, background workers, orderly shutdown, health endpoints, logs.
//!
//! Nothing here knows of inodes or chunks. `proto` says what crosses the wire; this crate says how a process behaves.

pub mod bootid;
pub mod clock;
pub mod config;
pub mod crashsafe;
pub mod faults;
pub mod health;
pub mod host;
pub mod logging;
pub mod shutdown;
pub mod worker;
