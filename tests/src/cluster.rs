//! A cluster of real daemons in a fresh temporary directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::memory_disk::MemoryDisk;
use crate::mount::Mount;
use crate::network::{self, Host, Network};
use crate::watchdog::Watchdog;
use crate::{binaries, run};

/// Of a cluster's disk in memory: more than any test writes.
const MEMORY: u64 = 8 << 30;
/// Between heartbeats, and between two counts of all chunks: tests wait for both.
const HEARTBEAT: Duration = Duration::from_millis(300);
const CENSUS: Duration = Duration::from_secs(1);

/// A build of `cairn` that can be asked for faults, and what it is asked for.
#[derive(Debug, Clone)]
pub struct Faults {
    pub binary: PathBuf,
    pub env: Vec<(&'static str, String)>,
}

/// What to start.
#[derive(Debug, Clone)]
pub struct Options {
    pub chunkservers: usize,
    pub copies: u8,
    /// Further arguments of the metaserver.
    pub meta_args: Vec<String>,
    /// Further arguments of each chunkserver.
    pub chunk_args: Vec<String>,
    /// All chunkservers are on one machine; else each is on one of its own.
    pub same_host: bool,
    /// Further labels of each chunkserver, by its number, as in `rack=r1`.
    pub labels: Vec<Vec<&'static str>>,
    /// Data directories of each chunkserver.
    pub disks: usize,
    /// Each chunkserver's disk is a tmpfs of this many bytes, each of its disks where it has several.
    pub chunk_disk: Option<u64>,
    /// The metaserver's disk is a tmpfs of this many bytes.
    pub meta_disk: Option<u64>,
    /// For the metaserver alone.
    pub meta_faults: Option<Faults>,
    /// For each start of each chunkserver.
    pub chunk_faults: Option<Faults>,
    /// The cluster has a network of its own: see [`Network`].
    pub network: bool,
    /// Each chunkserver is on a host of its own in that network.
    pub chunk_hosts: bool,
    /// All of it is on the machine's disk; else in memory, so that a disk that others keep busy does not matter.
    pub on_disk: bool,
    /// Whoever still uses the cluster then hangs: see [`Watchdog`].
    pub limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            chunkservers: 3,
            copies: 2,
            meta_args: Vec::new(),
            chunk_args: Vec::new(),
            same_host: false,
            labels: Vec::new(),
            disks: 1,
            chunk_disk: None,
            meta_disk: None,
            meta_faults: None,
            chunk_faults: None,
            network: false,
            chunk_hosts: false,
            on_disk: false,
            limit: Duration::from_secs(15 * 60),
        }
    }
}

impl Options {
    /// A dead server is given up after seconds, so that tests see repair.
    pub fn quick_detection() -> Self {
        let args = ["suspect_after_ms=1500", "dead_after_ms=4000", "reconcile_after_s=2"];
        let meta_args = args.iter().flat_map(|a| ["--set".to_owned(), (*a).to_owned()]).collect();
        Self { meta_args, ..Self::default() }
    }
}

/// Dropped, it ends its daemons; mounts are values of their own and have to go first.
#[derive(Debug)]
pub struct Cluster {
    // In order of dropping: daemons, their disks, the directory.
    chunkservers: Vec<Option<Daemon>>,
    meta: Option<Daemon>,
    meta_disk: Option<MemoryDisk>,
    chunk_disks: Vec<MemoryDisk>,
    /// Where everything is, unless it is on the machine's disk.
    memory: Option<MemoryDisk>,
    /// Hosts of the chunkservers, where they have some.
    chunk_hosts: Vec<Host>,
    network: Option<Network>,
    meta_endpoint: String,
    options: Options,
    dir: TempDir,
    mounts: std::cell::Cell<usize>,
    _watchdog: Watchdog,
}

impl Cluster {
    /// Three chunkservers, two copies.
    pub fn start() -> Result<Self> {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("cairn-test-").tempdir()?;
        let watchdog = Watchdog::start(dir.path(), options.limit);
        let memory = if options.on_disk { None } else { Some(MemoryDisk::mount(dir.path(), MEMORY)?) };
        let network = if options.network { Some(Network::new()?) } else { None };
        let mut cluster = Self {
            chunkservers: (0..options.chunkservers).map(|_| None).collect(),
            meta: None,
            meta_disk: None,
            chunk_disks: Vec::new(),
            memory,
            chunk_hosts: Vec::new(),
            meta_endpoint: String::new(),
            network,
            options,
            dir,
            mounts: std::cell::Cell::new(0),
            _watchdog: watchdog,
        };
        if let Some(bytes) = cluster.options.meta_disk {
            cluster.meta_disk = Some(MemoryDisk::mount(&cluster.meta_dir(), bytes)?);
        }
        if let Some(bytes) = cluster.options.chunk_disk {
            for i in 0..cluster.options.chunkservers {
                for n in 0..cluster.options.disks {
                    cluster.chunk_disks.push(MemoryDisk::mount(&cluster.disk_dir(i, n), bytes)?);
                }
            }
        }
        if cluster.options.chunk_hosts {
            cluster.chunk_hosts = (0..cluster.options.chunkservers).map(|_| cluster.host()).collect::<Result<_>>()?;
        }
        cluster.meta_endpoint = cluster.any_port();
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

    /// Leaves its directory for whoever looks into a failure. Answers where. (What is on disks of their own goes with them.)
    pub fn keep(&mut self) -> &Path {
        self.dir.disable_cleanup(true);
        std::mem::forget(self.memory.take());
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

    /// The data directory of a chunkserver's `n`th disk.
    pub fn disk_dir(&self, i: usize, n: usize) -> PathBuf {
        match n {
            0 => self.chunkserver_dir(i),
            _ => self.dir().join(format!("chunk{i}-disk{n}")),
        }
    }

    /// From its next start on each chunkserver has so many data directories.
    pub fn set_disks(&mut self, disks: usize) {
        self.options.disks = disks;
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.dir().join(format!("{name}.log"))
    }

    /// The metaserver's disk, where it has one of its own.
    pub fn meta_disk(&self) -> Result<&MemoryDisk> {
        self.meta_disk.as_ref().context("the metaserver has no disk of its own")
    }

    pub fn start_meta(&mut self) -> Result<()> {
        let mut command = self.faulty(self.options.meta_faults.as_ref());
        command.args(["metaserver", "--listen", &self.meta_endpoint, "--health", "127.0.0.1:0", "--data"]);
        command.arg(self.meta_dir()).args(["--copies", &self.options.copies.to_string()]);
        // Tests wait for all of these.
        let heartbeat = format!("heartbeat_ms={}", HEARTBEAT.as_millis());
        let census = format!("census_interval_s={}", CENSUS.as_secs());
        command.args(["--set", "garbage_grace_s=0", "--set", &heartbeat, "--set", &census]);
        command.args(&self.options.meta_args);
        let daemon = Daemon::spawn("metaserver", command, &self.log("meta"))?;
        self.meta_endpoint = daemon.endpoint()?;
        self.meta = Some(daemon);
        Ok(())
    }

    pub fn start_chunkserver(&mut self, i: usize) -> Result<()> {
        self.start_chunkserver_with(i, self.options.chunk_faults.clone().as_ref())
    }

    /// As [`Self::start_chunkserver`], with faults of its own.
    pub fn start_chunkserver_with(&mut self, i: usize, faults: Option<&Faults>) -> Result<()> {
        let name = format!("chunk{i}");
        let (mut command, listen) = match self.chunk_hosts.get(i) {
            Some(host) => (self.command_on(host, faults), format!("{}:0", host.address())),
            None => (self.faulty(faults), self.any_port()),
        };
        command.args(["chunkserver", "--listen", &listen, "--meta", &self.meta_endpoint, "--name", &name]);
        command.args(["--health", "127.0.0.1:0"]);
        for n in 0..self.options.disks {
            command.arg("--data").arg(self.disk_dir(i, n));
        }
        let host = if self.options.same_host { "one" } else { &name };
        command.args(["--label", &format!("host={host}")]).args(&self.options.chunk_args);
        for label in self.options.labels.get(i).into_iter().flatten() {
            command.args(["--label", label]);
        }
        self.chunkservers[i] = Some(Daemon::spawn(&name, command, &self.log(&name))?);
        Ok(())
    }

    pub fn meta(&self) -> Result<&Daemon> {
        self.meta.as_ref().context("the metaserver is not running")
    }

    pub fn chunkserver(&self, i: usize) -> Result<&Daemon> {
        self.chunkservers[i].as_ref().with_context(|| format!("chunkserver {i} is not running"))
    }

    pub fn chunkservers(&self) -> usize {
        self.chunkservers.len()
    }

    /// A chunkserver's host, where it has one of its own.
    pub fn chunk_host(&self, i: usize) -> Result<&Host> {
        self.chunk_hosts.get(i).context("the chunkserver has no host of its own")
    }

    /// A chunkserver's disk, where it has one of its own.
    pub fn chunk_disk(&self, i: usize) -> Result<&MemoryDisk> {
        self.chunk_disk_of(i, 0)
    }

    /// The same for its `n`th disk.
    pub fn chunk_disk_of(&self, i: usize, n: usize) -> Result<&MemoryDisk> {
        self.chunk_disks.get(i * self.options.disks + n).context("the chunkserver has no disk of its own")
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

    /// Whether a chunkserver has ended by itself.
    pub fn chunkserver_has_ended(&mut self, i: usize) -> bool {
        let ended = self.chunkservers[i].as_mut().is_none_or(|daemon| !daemon.is_running());
        if ended {
            self.chunkservers[i] = None;
        }
        ended
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
        self.start_mount(self.faulty(None), options)
    }

    /// Mounts by a client that can be asked for faults.
    pub fn mount_faulty(&self, faults: &Faults) -> Result<Mount> {
        self.start_mount(self.faulty(Some(faults)), "")
    }

    /// Mounts on another host of the cluster's network.
    pub fn mount_on(&self, host: &Host) -> Result<Mount> {
        self.start_mount(self.command_on(host, None), "")
    }

    /// `cairn`, on a host of the cluster's network.
    fn command_on(&self, host: &Host, faults: Option<&Faults>) -> Command {
        let mut command = Self::binary(faults);
        host.namespace().enter(&mut command);
        command
    }

    fn start_mount(&self, command: Command, options: &str) -> Result<Mount> {
        let n = self.mounts.replace(self.mounts.get() + 1);
        let path = self.dir().join(format!("mnt{n}"));
        Mount::start(command, &self.meta_endpoint, &path, options, &self.log(&format!("mount{n}")))
    }

    /// A new host on the cluster's network.
    pub fn host(&self) -> Result<Host> {
        self.network.as_ref().context("the cluster has no network of its own")?.host()
    }

    /// `cairn ARGS --meta ENDPOINT`.
    pub fn cairn(&self, args: &[&str]) -> Result<Output> {
        run::output(self.faulty(None).args(args).args(["--meta", &self.meta_endpoint]))
    }

    /// Like [`Cluster::cairn`] with `--json`, wants success, and parses what it printed.
    pub fn cairn_json(&self, args: &[&str]) -> Result<serde_json::Value> {
        let output = self.cairn(&[args, &["--json"]].concat())?;
        ensure!(output.status.success(), "cairn {args:?}: {}\n{}", output.status, run::printed(&output));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// What the metaserver was asked since it was started: calls by their names. Asking this is a call, too.
    pub fn requests(&self) -> Result<BTreeMap<String, u64>> {
        let stats = self.cairn_json(&["stats"])?;
        let requests = stats["requests"].as_array().context("stats has requests")?;
        let count = |r: &serde_json::Value| Some((r["name"].as_str()?.to_owned(), r["calls"].as_u64()?));
        requests.iter().map(|r| count(r).with_context(|| format!("a name and a count in {r}"))).collect()
    }

    /// What mounts asked the metaserver for during `work`. What they ask by the clock, whatever happens, is left out.
    pub fn requests_during<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(BTreeMap<String, u64>, T)> {
        let before = self.requests()?;
        let done = work()?;
        let mut asked = self.requests()?;
        for (name, calls) in &mut asked {
            let earlier = before.get(name).copied().unwrap_or(0);
            *calls = calls.checked_sub(earlier).context("the metaserver was started anew meanwhile")?;
        }
        let by_the_clock = |name: &str| ["MetaService.keep_alive", "MetaService.events"].contains(&name);
        asked.retain(|name, calls| *calls > 0 && name.starts_with("MetaService.") && !by_the_clock(name));
        Ok((asked, done))
    }

    fn faulty(&self, faults: Option<&Faults>) -> Command {
        self.placed(Self::binary(faults))
    }

    fn binary(faults: Option<&Faults>) -> Command {
        let Some(Faults { binary, env }) = faults else { return Command::new(binaries::cairn()) };
        let mut command = Command::new(binary);
        command.envs(env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// On the servers' host.
    fn placed(&self, mut command: Command) -> Command {
        if let Some(network) = &self.network {
            network.servers().enter(&mut command);
        }
        command
    }

    /// Where a server of this cluster listens that has no port yet.
    fn any_port(&self) -> String {
        let address = if self.network.is_some() { network::SERVERS } else { "127.0.0.1" };
        format!("{address}:0")
    }

    /// What `cairn status` says of a chunkserver.
    pub fn server_status(&self, i: usize) -> Result<serde_json::Value> {
        let status = self.cairn_json(&["status"])?;
        let servers = status["servers"].as_array().context("status has servers")?;
        let name = format!("chunk{i}");
        servers.iter().find(|s| s["name"] == name.as_str()).cloned().with_context(|| format!("{name} is not known"))
    }

    /// Numbers of the chunkservers that hold each chunk of a file, in chain order.
    pub fn holders(&self, path: &str) -> Result<Vec<Vec<usize>>> {
        let info = self.cairn_json(&["info", path])?;
        let number = |replica: &serde_json::Value| -> Result<usize> {
            let name = replica["name"].as_str().context("a replica has a name")?;
            Ok(name.trim_start_matches("chunk").parse()?)
        };
        let chunks = info["chunks"].as_array().context("info has chunks")?;
        let of_chunk = |c: &serde_json::Value| c["replicas"].as_array().into_iter().flatten().map(number).collect();
        chunks.iter().map(of_chunk).collect()
    }

    /// Adds a chunkserver with an empty data directory, on a machine of its own. Answers its number.
    pub fn add_chunkserver(&mut self) -> Result<usize> {
        self.options.same_host = false;
        let i = self.chunkservers.len();
        self.chunkservers.push(None);
        self.start_chunkserver(i)?;
        Ok(i)
    }

    /// Ids of the sessions that the metaserver knows, in order.
    pub fn sessions(&self) -> Result<Vec<u64>> {
        let status = self.cairn_json(&["status"])?;
        let sessions = status["sessions"].as_array().context("status has sessions")?;
        let mut ids: Vec<u64> = sessions.iter().filter_map(|s| s["id"].as_u64()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Id of the session of a mount.
    pub fn session_of(&self, mount: &Mount) -> Result<Option<u64>> {
        let status = self.cairn_json(&["status"])?;
        let sessions = status["sessions"].as_array().context("status has sessions")?;
        let path = mount.path().display().to_string();
        Ok(sessions.iter().find(|s| s["mountpoint"] == path).and_then(|s| s["id"].as_u64()))
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
        let kinds = ["dirty", "below_target", "unavailable", "garbage"];
        self.wait_for_none("all chunks clean and at their target", &kinds, limit)
    }

    /// Waits until `cairn status` counts no chunk of these kinds, in a count that knew of all that was done before.
    pub fn wait_for_none(&self, what: &str, kinds: &[&str], limit: Duration) -> Result<()> {
        let begin = Instant::now();
        run::wait_until(what, limit, || {
            // At least so long after the beginning the count began, as servers had to tell first.
            let passed = begin.elapsed();
            let status = self.cairn_json(&["status"])?;
            let chunks = &status["chunks"];
            let counted = chunks["counted_ms"].as_u64().map(Duration::from_millis);
            let is_late_enough = counted.is_some_and(|ago| passed.saturating_sub(ago) >= 2 * HEARTBEAT);
            Ok(is_late_enough && kinds.iter().all(|kind| chunks[kind].as_u64() == Some(0)))
        })
    }

    /// `cairn fsck --data` finds nothing.
    pub fn assert_fsck_clean(&self) -> Result<()> {
        let output = self.cairn(&["fsck", "--data"])?;
        ensure!(output.status.success(), "fsck found faults:\n{}", run::printed(&output));
        Ok(())
    }
}
