//! CairnFS: `cairn up`, which runs a metaserver, the chunkservers and the mount in one process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{CHUNKSERVERS, COPIES, Site, Target};
use crate::daemon::Daemon;
use crate::error::{BenchError, IoContext};
use crate::{kernel_cache, mountpoint, tool};

#[derive(Debug)]
pub struct Cairn {
    site: Site,
    data: PathBuf,
    root: PathBuf,
    /// Absent only while the cluster is restarted, or after a restart that failed.
    cluster: Option<Daemon>,
}

impl Cairn {
    pub fn start(site: Site) -> Result<Self, BenchError> {
        let data = site.directory.join("data");
        let root = site.directory.join("mount");
        for directory in [&data, &root] {
            fs::create_dir(directory).doing("create", directory)?;
        }
        let mut target = Self { site, data, root, cluster: None };
        target.up()?;
        Ok(target)
    }

    fn up(&mut self) -> Result<(), BenchError> {
        let mut command = Command::new(&self.site.cairn_program);
        command
            .arg("up")
            .arg("--data")
            .arg(&self.data)
            .arg("--mount")
            .arg(&self.root)
            .arg(format!("--chunkservers={CHUNKSERVERS}"))
            .arg(format!("--copies={COPIES}"));
        let mut cluster = Daemon::spawn("cairn", &mut command, &self.site.logs)?;
        cluster.wait_until(|_| mountpoint::answers(&self.root))?;
        self.cluster = Some(cluster);
        Ok(())
    }

    fn down(&mut self) -> Result<(), BenchError> {
        let stopped = self.cluster.take().map_or(Ok(()), Daemon::stop);
        // A clean stop has unmounted; after any other this takes the dead mount away.
        stopped.and(mountpoint::unmount(&self.root))
    }
}

impl Target for Cairn {
    fn root(&self) -> &Path {
        &self.root
    }

    /// Client and servers share a process, so all of them start again.
    fn make_cold(&mut self) -> Result<(), BenchError> {
        self.down()?;
        self.sync_backing()?;
        kernel_cache::drop_all()?;
        self.up()
    }

    fn sync_backing(&self) -> Result<(), BenchError> {
        kernel_cache::sync_filesystem(&self.data)
    }

    fn sync_client(&self) -> Result<(), BenchError> {
        let mut command = Command::new(&self.site.cairn_program);
        tool::run(command.arg("sync").arg(&self.root))
    }

    fn stop(mut self: Box<Self>) -> Result<(), BenchError> {
        self.down()
    }
}

impl Drop for Cairn {
    fn drop(&mut self) {
        if let Err(error) = self.down() {
            eprintln!("{error}");
        }
    }
}
