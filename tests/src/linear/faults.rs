//! What clients have to live with while workers work on them: being stopped, killed, cut off, and the same with their metaserver.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::Rng;
use rand::rngs::StdRng;

use super::load::Load;
use crate::cluster::Cluster;
use crate::daemon::Daemon;
use crate::mount::Mount;
use crate::network::Host;
use crate::stopped::Stopped;

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A client is stopped for less than a term.
    Pause,
    /// A client is stopped for more than a term.
    Stop,
    /// A client is killed; another one takes its place.
    Kill,
    /// A client is cut off for less than a term.
    ShortCut,
    /// A client is cut off for more than a term.
    LongCut,
    /// The metaserver is stopped for less than a term.
    PauseMeta,
    /// The metaserver is killed and started again.
    RestartMeta,
}

/// A mount on a host of its own, if the cluster has a network, and its workers.
#[derive(Debug)]
pub struct Site {
    host: Option<Host>,
    mount: Option<Mount>,
    workers: Vec<usize>,
}

impl Site {
    /// On a host of its own.
    pub fn apart(cluster: &Cluster) -> Result<Self> {
        let host = cluster.host()?;
        let mount = cluster.mount_on(&host)?;
        Ok(Self { host: Some(host), mount: Some(mount), workers: Vec::new() })
    }

    /// Beside the servers.
    pub fn beside(cluster: &Cluster) -> Result<Self> {
        Ok(Self { host: None, mount: Some(cluster.mount()?), workers: Vec::new() })
    }

    pub fn mount(&self) -> Result<&Mount> {
        self.mount.as_ref().context("the mount was killed and not replaced")
    }

    /// Has that many workers of `load` work in `dir` of the mount.
    pub fn start_workers(&mut self, load: &mut Load, dir: &str, count: usize) -> Result<()> {
        let dir = self.mount()?.join(dir);
        self.workers = (0..count).map(|_| load.start(&dir)).collect::<Result<_>>()?;
        Ok(())
    }

    fn replace(&mut self, cluster: &Cluster, load: &mut Load, dir: &str) -> Result<()> {
        self.workers.iter().for_each(|worker| load.abandon(*worker));
        self.mount.take().context("mounted")?.kill()?;
        self.mount = Some(match &self.host {
            Some(host) => cluster.mount_on(host)?,
            None => cluster.mount()?,
        });
        self.start_workers(load, dir, self.workers.len())
    }

    fn host(&self) -> Result<&Host> {
        self.host.as_ref().context("only a client on a host of its own can be cut off")
    }

    /// Unmounts, and wants that to go well.
    pub fn end(mut self) -> Result<()> {
        self.mount.take().context("mounted")?.unmount()
    }
}

/// Clients, and a load on them, that have to live with faults.
#[derive(Debug)]
pub struct Trial<'a> {
    pub cluster: &'a mut Cluster,
    pub sites: &'a mut [Site],
    pub load: &'a mut Load,
    /// Where the load works, at the mounts' roots.
    pub dir: &'a str,
    /// Of sessions.
    pub term: Duration,
}

impl Trial<'_> {
    /// Has `fault` happen to one of the clients, or to the metaserver. Returns when it is over.
    pub fn strike(&mut self, fault: Fault, rng: &mut StdRng) -> Result<()> {
        let less = self.term.mul_f64(rng.random_range(0.1..0.6));
        let more = self.term.mul_f64(rng.random_range(1.2..2.0));
        let n = rng.random_range(0..self.sites.len());
        let site = &mut self.sites[n];
        match fault {
            Fault::Pause => stop_for(site.mount()?.daemon(), less),
            Fault::Stop => stop_for(site.mount()?.daemon(), more),
            Fault::Kill => site.replace(self.cluster, self.load, self.dir),
            Fault::ShortCut => cut_for(site.host()?, less),
            Fault::LongCut => cut_for(site.host()?, more),
            Fault::PauseMeta => stop_for(self.cluster.meta()?, less),
            Fault::RestartMeta => self.cluster.kill_meta().and_then(|()| self.cluster.start_meta()),
        }
        .with_context(|| format!("{fault:?} of client {n}"))
    }
}

fn stop_for(daemon: &Daemon, time: Duration) -> Result<()> {
    let stopped = Stopped::new(daemon)?;
    std::thread::sleep(time);
    stopped.resume();
    Ok(())
}

fn cut_for(host: &Host, time: Duration) -> Result<()> {
    let cut = host.cut()?;
    std::thread::sleep(time);
    cut.end();
    Ok(())
}

/// Makes `dir` with all that workers need, at a mount's root.
pub fn prepare(root: &Path, dir: &str) -> Result<()> {
    let dir = root.join(dir);
    std::fs::create_dir(&dir).with_context(|| dir.display().to_string())?;
    super::worker::prepare(&dir)?;
    // Its own name, too.
    std::fs::File::open(root)?.sync_all().context("fsync the root")
}
