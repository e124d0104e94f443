//! The ruler: the same workloads on CairnFS and on its peers, in turn, with medians and ratios.
//!
//! A [`target`] is a filesystem that can be started, made cold and stopped; a [`workload`] does something to a directory and
//! answers with [`figure`]s, which are rates, so that more is always better. The [`runner`] goes through targets and
//! workloads round by round, and [`report`] prints and writes what came out. `docs/benchmarks.md` is for those who read it.
//!
//! Mounts and daemons are cleaned up twice: each is stopped where it was started, and `bench/run` puts the whole
//! program into namespaces of its own, with which the kernel takes down whatever is left.

pub mod args;
pub mod contents;
pub mod daemon;
pub mod disk;
pub mod environment;
pub mod error;
pub mod figure;
pub mod fio;
pub mod kernel_cache;
pub mod mountpoint;
pub mod report;
pub mod runner;
pub mod scale;
pub mod stats;
pub mod target;
pub mod tool;
pub mod watchdog;
pub mod worker;
pub mod workload;
