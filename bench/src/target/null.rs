//! The FUSE filesystem that does nothing (`bench/null-fuse`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Site, Target};
use crate::daemon::Daemon;
use crate::error::{BenchError, IoContext};
use crate::{kernel_cache, mountpoint};

#[derive(Debug)]
pub struct Null {
    root: PathBuf,
    daemon: Daemon,
}

impl Null {
    pub fn start(site: &Site) -> Result<Self, BenchError> {
        let root = site.directory.join("mount");
        fs::create_dir(&root).doing("create", &root)?;
        let mut daemon = Daemon::spawn("null-fuse", Command::new(&site.null_program).arg(&root), &site.logs)?;
        daemon.wait_until(|_| mountpoint::answers(&root))?;
        Ok(Self { root, daemon })
    }
}

impl Target for Null {
    fn root(&self) -> &Path {
        &self.root
    }

    /// The kernel's caches are all there is: what the daemon knows is what a server would have in memory.
    fn make_cold(&mut self) -> Result<(), BenchError> {
        kernel_cache::drop_all()
    }

    fn sync_backing(&self) -> Result<(), BenchError> {
        Ok(())
    }

    fn keeps_data(&self) -> bool {
        false
    }

    fn stop(self: Box<Self>) -> Result<(), BenchError> {
        mountpoint::unmount(&self.root)?;
        self.daemon.stop()
    }
}
