//! A cluster of real daemons in a fresh temporary directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::mount::Mount;
use crate::small_disk::SmallDisk;
use crate::{binaries, run};

/// What to start.
#[derive(Debug, Clone)]
pub struct Options {
    pub chunkservers: usize,
    pub copies: u8,
    /// Further arguments of the metaserver.
    pub meta_args: Vec<String>,
    /// Further arguments of each chunkserver.
    pub chunk_args: Vec<String>,
    /// Each chunkserver's disk is a tmpfs of this many bytes.
    pub chunk_disk: Option<u64>,
    /// The metaserver's disk is a tmpfs of this many bytes.
    pub meta_disk: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            chunkservers: 3,
            copies: 2,
            meta_args: Vec::new(),
            chunk_args: Vec::new(),
            chunk_disk: None,
            meta_disk: None,
        }
    }
}

/// Dropped, it ends its daemons; mounts are values of their own and have to go first.
#[derive(Debug)]
pub struct Cluster {
    // In order of dropping: daemons, their disks, the directory.
    chunkservers: Vec<Option<Daemon>>,
    meta: Option<Daemon>,
    meta_disk: Option<SmallDisk>,
    chunk_disks: Vec<SmallDisk>,
    meta_endpoint: String,
    options: Options,
    dir: TempDir,
    mounts: std::cell::Cell<usize>,
}

impl Cluster {
    /// Three chunkservers, two copies.
    pub fn start() -> Result<Self> {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("cairn-test-").tempdir()?;
        let mut cluster = Self {
            chunkservers: (0..options.chunkservers).map(|_| None).collect(),
            meta: None,
            meta_disk: None,
            chunk_disks: Vec::new(),
            meta_endpoint: "127.0.0.1:0".into(),
            options,
            dir,
            mounts: std::cell::Cell::new(0),
        };
        if let Some(bytes) = cluster.options.meta_disk {
            cluster.meta_disk = Some(SmallDisk::mount(&cluster.meta_dir(), bytes)?);
        }
        if let Some(bytes) = cluster.options.chunk_disk {
            for i in 0..cluster.options.chunkservers {
                cluster.chunk_disks.push(SmallDisk::mount(&cluster.chunkserver_dir(i), bytes)?);
            }
        }
        cluster.start_meta()?;
        for i in 0..cluster.options.chunkservers {
            cluster.start_chunkserver(i)?;
        }
        cluster.wait_healthy()?;
        Ok(cluster)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn meta_endpoint(&self) -> &str {
        &self.meta_endpoint
    }

    pub fn meta_dir(&self) -> PathBuf {
        self.dir().join("meta")
    }

    pub fn chunkserver_dir(&self, i: usize) -> PathBuf {
        self.dir().join(format!("chunk{i}"))
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.dir().join(format!("{name}.log"))
    }

    /// The metaserver's disk, where it has one of its own.
    pub fn meta_disk(&self) -> Result<&SmallDisk> {
        self.meta_disk.as_ref().context("the metaserver has no disk of its own")
    }

    pub fn start_meta(&mut self) -> Result<()> {
        let mut args: Vec<String> = ["metaserver", "--data"].map(String::from).into();
        args.push(self.meta_dir().display().to_string());
        args.extend(["--listen".into(), self.meta_endpoint.clone()]);
        args.extend(["--health".into(), "127.0.0.1:0".into(), "--copies".into(), self.options.copies.to_string()]);
        args.extend(self.options.meta_args.iter().cloned());
        let daemon = Daemon::start("metaserver", &args, &self.log("meta"))?;
        self.meta_endpoint = daemon.endpoint()?;
        self.meta = Some(daemon);
        Ok(())
    }

    pub fn start_chunkserver(&mut self, i: usize) -> Result<()> {
        let mut args: Vec<String> = ["chunkserver", "--data"].map(String::from).into();
        args.push(self.chunkserver_dir(i).display().to_string());
        args.extend(["--listen".into(), "127.0.0.1:0".into(), "--meta".into(), self.meta_endpoint.clone()]);
        args.extend(["--health".into(), "127.0.0.1:0".into(), "--name".into(), format!("chunk{i}")]);
        args.extend(self.options.chunk_args.iter().cloned());
        let name = format!("chunk{i}");
        self.chunkservers[i] = Some(Daemon::start(&name, &args, &self.log(&name))?);
        Ok(())
    }

    pub fn meta(&self) -> Result<&Daemon> {
        self.meta.as_ref().context("the metaserver is not running")
    }

    pub fn chunkserver(&self, i: usize) -> Result<&Daemon> {
        self.chunkservers[i].as_ref().with_context(|| format!("chunkserver {i} is not running"))
    }

    pub fn kill_meta(&mut self) -> Result<()> {
        self.meta.take().context("the metaserver is not running")?.kill()
    }

    pub fn stop_meta(&mut self) -> Result<()> {
        let status = self.meta.take().context("the metaserver is not running")?.stop()?;
        ensure!(status.success(), "the metaserver ended with {status}");
        Ok(())
    }

    pub fn kill_chunkserver(&mut self, i: usize) -> Result<()> {
        self.chunkservers[i].take().with_context(|| format!("chunkserver {i} is not running"))?.kill()
    }

    pub fn stop_chunkserver(&mut self, i: usize) -> Result<()> {
        let daemon = self.chunkservers[i].take().with_context(|| format!("chunkserver {i} is not running"))?;
        let status = daemon.stop()?;
        ensure!(status.success(), "chunkserver {i} ended with {status}");
        Ok(())
    }

    /// `kill -9` of every daemon.
    pub fn kill_all(&mut self) -> Result<()> {
        self.kill_meta()?;
        (0..self.chunkservers.len()).try_for_each(|i| self.kill_chunkserver(i))
    }

    pub fn start_all(&mut self) -> Result<()> {
        self.start_meta()?;
        (0..self.chunkservers.len()).try_for_each(|i| self.start_chunkserver(i))
    }

    /// Mounts at a fresh directory.
    pub fn mount(&self) -> Result<Mount> {
        self.mount_with("")
    }

    pub fn mount_with(&self, options: &str) -> Result<Mount> {
        let n = self.mounts.replace(self.mounts.get() + 1);
        let path = self.dir().join(format!("mnt{n}"));
        Mount::start(&self.meta_endpoint, &path, options, &self.log(&format!("mount{n}")))
    }

    /// `cairn ARGS --meta ENDPOINT`.
    pub fn cairn(&self, args: &[&str]) -> Result<Output> {
        run::output(Command::new(binaries::cairn()).args(args).args(["--meta", &self.meta_endpoint]))
    }

    /// Like [`Cluster::cairn`] with `--json`, wants success, and parses what it printed.
    pub fn cairn_json(&self, args: &[&str]) -> Result<serde_json::Value> {
        let output = self.cairn(&[args, &["--json"]].concat())?;
        ensure!(output.status.success(), "cairn {args:?}: {}\n{}", output.status, run::printed(&output));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Waits until every chunkserver that was started is registered and has reported.
    pub fn wait_healthy(&self) -> Result<()> {
        let running = self.chunkservers.iter().flatten().count();
        run::wait_until("all chunkservers healthy", Duration::from_secs(30), || {
            let status = self.cairn_json(&["status"])?;
            let servers = status["servers"].as_array().context("status has servers")?;
            Ok(servers.iter().filter(|s| s["state"] == "healthy").count() == running)
        })
    }

    /// Waits until no chunk is dirty, below its target, unavailable or garbage.
    pub fn wait_settled(&self, limit: Duration) -> Result<()> {
        run::wait_until("all chunks clean and at their target", limit, || {
            let status = self.cairn_json(&["status"])?;
            let chunks = &status["chunks"];
            Ok(["dirty", "below_target", "unavailable", "garbage"].iter().all(|k| chunks[k].as_u64() == Some(0)))
        })
    }

    /// `cairn fsck --data` finds nothing.
    pub fn assert_fsck_clean(&self) -> Result<()> {
        let output = self.cairn(&["fsck", "--data"])?;
        ensure!(output.status.success(), "fsck found faults:\n{}", run::printed(&output));
        Ok(())
    }
}
