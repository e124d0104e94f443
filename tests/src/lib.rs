//! The harness of the whole-system tests: real daemons as processes, real mounts, real kills.
//!
//! A [`cluster::Cluster`] owns a fresh temporary directory, the daemons in it and the mounts on it; dropping it unmounts and
//! ends them all. The suites are under `tests/`; `docs/testing.md` lists them.

pub mod binaries;
pub mod chaos;
pub mod cluster;
pub mod copies;
pub mod daemon;
pub mod journal;
pub mod linear;
pub mod locker;
pub mod mapping;
pub mod memory_disk;
pub mod mount;
pub mod network;
pub mod ops;
pub mod pairs;
pub mod pattern;
pub mod run;
pub mod stopped;
pub mod watchdog;
