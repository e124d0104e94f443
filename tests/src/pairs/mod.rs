//! Pairs of operations: what one mount has done, the others see as soon as the call has returned.
//!
//! A scenario goes through rounds on a few files. In each, another mount acts and the rest look, before and after, so that whatever
//! they may keep of the files is kept when it becomes wrong. All calls in a directory are made by one thread, one after the other: there are
//! no clocks to compare and nothing to wait for. Several directories are worked in at the same time, if the scenario stands it.

pub mod attributes;
pub mod bytes;
pub mod names;

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Result as IoResult};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::Cluster;

/// One directory, by several mounts, or several times by one.
#[derive(Debug, Clone)]
pub struct Views {
    roots: Vec<PathBuf>,
}

/// What is gone through.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    pub rounds: Rounds,
    /// Directories that are worked in at the same time on the same mounts.
    lanes: usize,
    /// Pairs of operations in a round, for each of those that look.
    pairs: u64,
}

/// Goes through that many rounds.
pub type Rounds = fn(&Views, u64) -> Result<()>;

impl Scenario {
    /// In several directories of the same mounts at the same time.
    pub const fn spread(rounds: Rounds) -> Self {
        Self { rounds, lanes: LANES, pairs: 1 }
    }

    /// In one directory, with nothing else going on on its mounts.
    pub const fn alone(rounds: Rounds) -> Self {
        Self { rounds, lanes: 1, pairs: 1 }
    }

    /// In each round that many things are done one after the other, and looked at by the others in between.
    pub const fn with_pairs(self, pairs: u64) -> Self {
        Self { pairs, ..self }
    }
}

/// Pairs of operations of each scenario on two mounts: `$CAIRN_PAIRS`, or ten thousand.
pub fn pairs() -> u64 {
    std::env::var("CAIRN_PAIRS").map_or(10_000, |text| text.parse().expect("a number of pairs"))
}

/// Directories that are worked in at the same time, on whichever mounts.
const LANES: usize = 4;

/// Rounds where it is shown that a scenario asks for what one machine does.
fn few() -> u64 {
    (pairs() / 20).max(20)
}

/// In a local directory; on one mount, as if it were two; and on two.
pub fn everywhere(scenario: Scenario) -> Result<()> {
    let local = tempfile::tempdir()?;
    (scenario.rounds)(&Views { roots: vec![local.path().to_owned(); 2] }, few()).context("in a local directory")?;
    let cluster = Cluster::start()?;
    let mounts: Vec<_> = (0..2 * LANES / scenario.lanes).map(|_| cluster.mount()).collect::<Result<_>>()?;
    let roots: Vec<_> = mounts.iter().map(|mount| mount.path()).collect();
    (scenario.rounds)(&Views::make(&[roots[0]; 2], "one")?, few()).context("on one mount")?;
    let groups: Vec<_> = roots.chunks(2).collect();
    in_lanes(&groups, "two", scenario, pairs()).context("on two mounts")?;
    mounts.into_iter().try_for_each(|mount| mount.unmount())
}

/// So many pairs of operations of a scenario, by several threads with a directory each, on `groups` of mounts. What one mount does, and each
/// of the others looks at, are as many pairs as there are others.
pub fn in_lanes(groups: &[&[&Path]], name: &str, scenario: Scenario, pairs: u64) -> Result<()> {
    let lanes: Vec<_> = groups.iter().flat_map(|roots| std::iter::repeat_n(*roots, scenario.lanes)).collect();
    let in_a_round = |roots: &[&Path]| scenario.pairs * (roots.len() as u64 - 1);
    let each = pairs.div_ceil(lanes.iter().map(|roots| in_a_round(roots)).sum());
    std::thread::scope(|scope| {
        let start = |(lane, roots)| {
            scope.spawn(move || {
                let name = format!("{name}{lane}");
                (scenario.rounds)(&Views::make(roots, &name)?, each).context(name)
            })
        };
        let lanes: Vec<_> = lanes.into_iter().enumerate().map(start).collect();
        lanes.into_iter().try_for_each(|lane| lane.join().expect("scenarios fail without panics"))
    })
}

impl Views {
    /// A new directory `name`, which is made by the first of `roots`.
    pub fn make(roots: &[&Path], name: &str) -> Result<Self> {
        std::fs::create_dir(roots[0].join(name)).with_context(|| format!("make {name}"))?;
        Ok(Self { roots: roots.iter().map(|root| root.join(name)).collect() })
    }

    /// Number of the view that acts in a round.
    fn actor(&self, round: u64) -> usize {
        (round % self.roots.len() as u64) as usize
    }

    fn acting(&self, round: u64) -> &Path {
        &self.roots[self.actor(round)]
    }

    /// Numbers of those that look.
    fn others(&self, round: u64) -> impl Iterator<Item = usize> + use<> {
        let actor = self.actor(round);
        (0..self.roots.len()).filter(move |view| *view != actor)
    }

    fn looking(&self, round: u64) -> impl Iterator<Item = &Path> {
        self.others(round).map(|view| self.roots[view].as_path())
    }

    /// A file of this name, opened by each view.
    fn open_all(&self, name: &str, how: &OpenOptions) -> Result<Vec<File>> {
        let opened = self.roots.iter().map(|root| how.open(root.join(name))).collect::<IoResult<_>>();
        opened.with_context(|| format!("open {name} by every mount"))
    }

    fn open_all_to_read(&self, name: &str) -> Result<Vec<File>> {
        self.open_all(name, File::options().read(true))
    }

    /// What `name` is to all of them: first to those that look, then to the one that acted.
    fn stat(&self, round: u64, name: &str) -> Result<Stat> {
        let mut seen: Option<Stat> = None;
        for root in self.looking(round).chain([self.acting(round)]) {
            let path = root.join(name);
            let stat = Stat::of(&path).with_context(|| format!("stat {}", path.display()))?;
            if let Some(seen) = &seen {
                ensure!(
                    *seen == stat,
                    "{name} is\n  {seen:?} to one that looks, and\n  {stat:?} to {}",
                    root.display()
                );
            }
            seen = Some(stat);
        }
        seen.context("there are views")
    }
}

/// What `stat` says that does not depend on who has read the file when.
#[derive(Debug, Clone, PartialEq)]
struct Stat {
    inode: u64,
    mode: u32,
    nlink: u64,
    owner: (u32, u32),
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl Stat {
    fn of(path: &Path) -> IoResult<Self> {
        path.symlink_metadata().map(|m| Self::from(&m))
    }

    fn of_open(file: &File) -> IoResult<Self> {
        file.metadata().map(|m| Self::from(&m))
    }
}

impl From<&Metadata> for Stat {
    fn from(m: &Metadata) -> Self {
        Self {
            inode: m.ino(),
            mode: m.mode(),
            nlink: m.nlink(),
            owner: (m.uid(), m.gid()),
            size: m.size(),
            mtime: (m.mtime(), m.mtime_nsec()),
            ctime: (m.ctime(), m.ctime_nsec()),
        }
    }
}

/// Wants `result` to be that there is no such file.
fn absent<T>(what: &str, result: IoResult<T>) -> Result<()> {
    match result {
        Ok(_) => bail!("{what}: it is there"),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| what.to_owned()),
    }
}

/// `scenario`'s rounds, with the number of the one that went wrong.
fn each_round(rounds: u64, mut round: impl FnMut(u64) -> Result<()>) -> Result<()> {
    (0..rounds).try_for_each(|n| round(n).with_context(|| format!("round {n}")))
}
