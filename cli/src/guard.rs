//! A small process beside each client that mounts, which tells the kernel when the client has been killed.
//!
//! The kernel finds out by itself when the last descriptor of the device is closed. But a killed client that has a thread in the kernel
//! which waits for pages of a program's read keeps one open for as long as that read waits for an answer: for ever. Programs would hang, and
//! could not be killed either. This process sees the client's end of a pipe close, and ends the connection; they get `ENOTCONN`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::Result;

/// The command that [`watch`]es.
pub const COMMAND: &str = "guard";
/// What it is told at the end of a client that was not killed.
const DISMISSED: &[u8] = b"done";
/// Written to the kernel's control file, ends the connection.
const ABORT: &[u8] = b"1";

/// The process beside this one, where there can be one.
#[derive(Debug)]
pub struct Guard(Option<Child>);

impl Guard {
    /// For a connection by its number. Where there cannot be one, that is logged.
    pub fn start(connection: Option<u64>) -> Self {
        let Some(connection) = connection else {
            tracing::warn!("the mount is not in the mount table: it may hang if this process is killed");
            return Self(None);
        };
        let path = format!("/sys/fs/fuse/connections/{connection}/abort");
        // Opened now: the number may belong to another file system by the time that it is needed.
        let started = OpenOptions::new().write(true).open(&path).and_then(watched_by);
        let started =
            started.inspect_err(|error| tracing::warn!(path, %error, "the mount may hang if this process is killed"));
        Self(started.ok())
    }

    /// The client ends by itself.
    pub fn dismiss(self) {
        let Self(Some(mut process)) = self else { return };
        if let Some(mut pipe) = process.stdin.take() {
            // If it is gone already, nothing is lost.
            let _ = pipe.write_all(DISMISSED);
        }
        let _ = process.wait();
    }
}

fn watched_by(abort: File) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    // Not of the terminal's group: Ctrl-C is for the client.
    command.arg(COMMAND).stdin(Stdio::piped()).stdout(abort).process_group(0).spawn()
}

/// What the process does: waits until standard input ends, and unless it was dismissed ends the connection that standard output controls.
pub fn watch() -> Result<()> {
    let mut told = Vec::new();
    io::stdin().lock().take(DISMISSED.len() as u64).read_to_end(&mut told)?;
    if told != DISMISSED {
        File::from(io::stdout().as_fd().try_clone_to_owned()?).write_all(ABORT)?;
    }
    Ok(())
}
