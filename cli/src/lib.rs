//! The `cairn` command: every daemon and every command of CairnFS.
//!
//! Exit codes: 0 done; 1 it did not work, or `fsck` found something, or `fsck --repair` left something; 2 the command line is wrong; 141 nobody reads
//! what it prints any more.

mod admin;
mod args;
mod background;
mod commands;
mod daemon_args;
mod guard;
mod mount_helper;
mod mountinfo;
mod out;
mod supervise;
mod target;
mod view;

use std::process::ExitCode;

use anyhow::Result;
use args::{Cli, Command};
use clap::Parser;

/// Does what the command line says.
pub fn main() -> ExitCode {
    let outcome = match mount_helper::arguments(std::env::args_os()) {
        Some(Ok(args)) => commands::mount::run(args),
        Some(Err(e)) => Err(e),
        None => dispatch(Cli::parse().command),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("cairn: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a command; answers whether all was well.
fn dispatch(command: Command) -> Result<bool> {
    match command {
        Command::Up(args) => commands::up::run(args)?,
        Command::Metaserver(args) => commands::metaserver::run(args)?,
        Command::Chunkserver(args) => commands::chunkserver::run(args)?,
        Command::Mount(args) => return commands::mount::run(args),
        Command::Sync(args) => commands::sync::run(&args)?,
        Command::Guard => guard::watch()?,
        Command::Umount(args) => commands::umount::run(args)?,
        Command::Status(args) => wait_for(commands::status::run(args))?,
        Command::Stats(args) => wait_for(commands::stats::run(args))?,
        Command::Info(args) => wait_for(commands::info::run(args))?,
        Command::Df(args) => wait_for(commands::df::run(args))?,
        Command::Policy(command) => wait_for(commands::policy::run(command))?,
        Command::Simulate(command) => wait_for(commands::simulate::run(command))?,
        Command::Repair(command) => wait_for(commands::repair::run(command))?,
        Command::Server(command) => wait_for(commands::server::run(command))?,
        Command::Trash(command) => return wait_for(commands::trash::run(command)),
        Command::Scrub(command) => return wait_for(commands::scrub::run(command)),
        Command::Fsck(args) => return wait_for(commands::fsck::run(args)),
        Command::Checkpoint(args) => wait_for(commands::checkpoint::run(args))?,
    }
    Ok(true)
}

/// Runs a short command's future: one thread is enough for a few calls.
fn wait_for<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}
