//! MooseFS 3: one master, three chunkservers and a mount, from the Debian packages.
//!
//! Everything is as installed except for what the setting asks for: directories, addresses, two copies, and no trash (which
//! would keep every removed file for a day). Its chunkservers refuse to register from a loopback address, so the
//! benchmark's private network has [`config::ADDRESS`] on its loopback device.

mod client;
mod config;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use config::Durability;

use self::client::Client;
use super::{CHUNKSERVERS, COPIES, Site, Target};
use crate::daemon::Daemon;
use crate::error::{BenchError, IoContext};
use crate::{kernel_cache, tool};

/// The line that the master logs once a chunkserver's chunks are known to it.
const REGISTERED: &str = "chunkserver register end";

/// Fields go down in this order: the mount before the servers, the chunkservers before the master.
#[derive(Debug)]
pub struct MooseFs {
    directory: PathBuf,
    client: Client,
    chunkservers: Vec<Daemon>,
    master: Daemon,
}

impl MooseFs {
    pub fn start(site: &Site, durability: Durability) -> Result<Self, BenchError> {
        // Any free port: this asks only whether the address is ours.
        TcpListener::bind((config::ADDRESS, 0))
            .map_err(|_| BenchError::NoPrivateNetwork { address: config::ADDRESS })?;
        let mut master = start_master(site, durability)?;
        let chunkservers =
            (0..CHUNKSERVERS).map(|index| start_chunkserver(site, index, durability)).collect::<Result<Vec<_>, _>>()?;
        master.wait_until(|master| master.log_text().matches(REGISTERED).count() >= usize::from(CHUNKSERVERS))?;
        let client = Client::mount(site)?;
        let root = client.mountpoint();
        tool::run(Command::new("mfssetgoal").args(["-r", &COPIES.to_string()]).arg(root))?;
        tool::run(Command::new("mfssettrashtime").args(["-r", "0"]).arg(root))?;
        Ok(Self { directory: site.directory.clone(), client, chunkservers, master })
    }
}

fn start_master(site: &Site, durability: Durability) -> Result<Daemon, BenchError> {
    let directory = site.directory.join("master");
    fs::create_dir(&directory).doing("create", &directory)?;
    let config = config::write_master(&directory, durability)?;
    Daemon::spawn("mfsmaster", Command::new("mfsmaster").arg("-f").arg("-c").arg(&config).arg("start"), &site.logs)
}

fn start_chunkserver(site: &Site, index: u16, durability: Durability) -> Result<Daemon, BenchError> {
    let directory = site.directory.join(format!("chunkserver-{index}"));
    fs::create_dir(&directory).doing("create", &directory)?;
    let config = config::write_chunkserver(&directory, index, durability)?;
    let mut command = Command::new("mfschunkserver");
    command.arg("-f").arg("-c").arg(&config).arg("start");
    Daemon::spawn(&format!("mfschunkserver-{index}"), &mut command, &site.logs)
}

impl Target for MooseFs {
    fn root(&self) -> &Path {
        self.client.mountpoint()
    }

    /// Mounts anew; the servers go on, with the kernel's cache of their chunks gone.
    fn make_cold(&mut self) -> Result<(), BenchError> {
        self.client.unmount()?;
        self.sync_backing()?;
        kernel_cache::drop_all()?;
        self.client.remount()
    }

    fn sync_backing(&self) -> Result<(), BenchError> {
        kernel_cache::sync_filesystem(&self.directory)
    }

    fn stop(mut self: Box<Self>) -> Result<(), BenchError> {
        let mut result = self.client.unmount();
        for chunkserver in self.chunkservers.drain(..) {
            result = result.and(chunkserver.stop());
        }
        result.and(self.master.stop())
    }
}
