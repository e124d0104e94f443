//! A FUSE filesystem that answers at once and keeps no data: the ceiling of any FUSE client.
//!
//! It remembers names, attributes and sizes in a table in memory, drops what is written and reads zeros, so that every
//! workload that does not look at its bytes runs on it. What is left is the price of FUSE itself (the trips through the
//! kernel and the copies), set up as well as a client can: several threads on cloned descriptors, requests of 1 MiB,
//! read-ahead to match, lookups in parallel, readdirplus, and everything cacheable cached for as long as it lives.
//!
//! Two things that would make it faster are left out, as a client that owes other mounts a view of every change cannot
//! have them: the kernel's write-back cache, which keeps bytes after `write` has returned, and opens without a message, as the
//! servers have to hear who has a file open (and flags that let direct writes run in parallel come in the answer).

mod directory;
mod filesystem;
mod node;
mod readahead;
mod table;

use std::path::PathBuf;
use std::thread;

use clap::Parser;
use fuser::{Config, MountOption, Session, SessionACL};
use nix::sys::signal::{SigSet, Signal};

use crate::filesystem::NullFs;

/// A FUSE filesystem that answers at once and keeps no data.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// An existing directory to mount on.
    mountpoint: PathBuf,
    /// Event-loop threads, each with a descriptor of its own.
    #[arg(long, default_value_t = 4)]
    threads: usize,
}

#[derive(Debug, thiserror::Error)]
enum MountError {
    #[error("cannot block the termination signals")]
    Signals(#[source] nix::Error),
    #[error("cannot mount on {mountpoint}")]
    Mount { mountpoint: PathBuf, source: std::io::Error },
    #[error("the session on {mountpoint} ended badly")]
    Session { mountpoint: PathBuf, source: std::io::Error },
}

fn main() -> Result<(), MountError> {
    let args = Args::parse();
    let mountpoint = args.mountpoint;

    // Blocked before any thread exists, so that all inherit it and only the waiting thread below sees them.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block().map_err(MountError::Signals)?;

    let mut session = Session::new(NullFs::new(), &mountpoint, &mount_config(args.threads))
        .map_err(|source| MountError::Mount { mountpoint: mountpoint.clone(), source })?;
    let mut unmounter = session.unmount_callable();
    thread::spawn(move || {
        if signals.wait().is_ok()
            && let Err(error) = unmounter.unmount()
        {
            eprintln!("cannot unmount: {error}");
        }
    });
    // The mount answers only once the session runs, and finding its device takes an answer.
    let readahead_of = mountpoint.clone();
    thread::spawn(move || {
        if let Err(error) = readahead::raise(&readahead_of, filesystem::MAX_REQUEST_BYTES) {
            eprintln!("read-ahead stays at the kernel's default: {error}");
        }
    });
    session.run().map_err(|source| MountError::Session { mountpoint, source })
}

fn mount_config(threads: usize) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("cairn-null".to_owned()),
        MountOption::Subtype("null".to_owned()),
        MountOption::DefaultPermissions,
        MountOption::NoDev,
        MountOption::NoSuid,
    ];
    config.acl = SessionACL::All;
    config.n_threads = Some(threads.max(1));
    config.clone_fd = true;
    config
}
