//! The MooseFS mount.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::config::ADDRESS;
use crate::daemon::Daemon;
use crate::error::{BenchError, IoContext};
use crate::mountpoint;
use crate::target::Site;

/// Attempts to mount, each of which waits for the master for some seconds.
const MOST_TRIES: u32 = 5;

/// `mfsmount` in the foreground; unmounted when dropped.
#[derive(Debug)]
pub struct Client {
    mountpoint: PathBuf,
    logs: PathBuf,
    daemon: Option<Daemon>,
}

impl Client {
    pub fn mount(site: &Site) -> Result<Self, BenchError> {
        let mountpoint = site.directory.join("mount");
        fs::create_dir(&mountpoint).doing("create", &mountpoint)?;
        let mut client = Self { mountpoint, logs: site.logs.clone(), daemon: None };
        client.remount()?;
        Ok(client)
    }

    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// A master that syncs its changelog may be too busy to answer a new client in time, which then ends: it is tried again.
    pub fn remount(&mut self) -> Result<(), BenchError> {
        let mut tries = 1;
        loop {
            match self.try_to_mount() {
                Err(BenchError::DaemonDied { .. }) if tries < MOST_TRIES => tries += 1,
                result => return result,
            }
        }
    }

    fn try_to_mount(&mut self) -> Result<(), BenchError> {
        let mut command = Command::new("mfsmount");
        command.arg("-f").arg(&self.mountpoint).args(["-H", ADDRESS]);
        let mut daemon = Daemon::spawn("mfsmount", &mut command, &self.logs)?;
        daemon.wait_until(|_| mountpoint::answers(&self.mountpoint))?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// The process ends by itself once its mount is gone; asking it as well does no harm.
    pub fn unmount(&mut self) -> Result<(), BenchError> {
        let Some(daemon) = self.daemon.take() else { return Ok(()) };
        mountpoint::unmount(&self.mountpoint)?;
        daemon.stop()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            eprintln!("{error}");
        }
    }
}
