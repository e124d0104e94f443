//! A load that knows what was acknowledged: files made, synced, renamed and removed, and a log that is appended and synced.
//!
//! It runs as a process of its own (`cairn-journal`), which prints a line for everything that was acknowledged. A test that kills
//! servers must not hold files on the mount itself: a child of it starts with copies of its descriptors, and closing those
//! before `exec` waits for the very servers that the child is to become.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::str::FromStr;
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail, ensure};

use crate::pattern;

/// Bytes of one record of the log.
pub const LOG_RECORD: usize = 777;

/// Something that was acknowledged and fsynced.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Record {
    /// File `n` holds `pattern(seed)` of this length, under its first or its second name.
    Synced {
        n: u64,
        seed: u64,
        len: usize,
        renamed: bool,
    },
    Removed {
        n: u64,
    },
    /// The log is at least this long.
    Logged {
        bytes: u64,
    },
}

impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Synced { n, seed, len, renamed } => write!(f, "synced {n} {seed} {len} {renamed}"),
            Self::Removed { n } => write!(f, "removed {n}"),
            Self::Logged { bytes } => write!(f, "logged {bytes}"),
        }
    }
}

impl FromStr for Record {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        Ok(match words.as_slice() {
            ["synced", n, seed, len, renamed] => {
                Self::Synced { n: n.parse()?, seed: seed.parse()?, len: len.parse()?, renamed: renamed.parse()? }
            }
            ["removed", n] => Self::Removed { n: n.parse()? },
            ["logged", bytes] => Self::Logged { bytes: bytes.parse()? },
            _ => bail!("no record: {line:?}"),
        })
    }
}

/// When a change of a name counts as acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// As soon as the call returns: whatever happens to the servers.
    AsReturned,
    /// After an fsync of the directory: whatever happens to the client, too.
    Synced,
}

impl Names {
    /// As an argument of `cairn-journal`.
    const SYNCED: &str = "--sync-names";

    pub fn of_arg(arg: Option<&str>) -> Result<Self> {
        match arg {
            None => Ok(Self::AsReturned),
            Some(Self::SYNCED) => Ok(Self::Synced),
            Some(other) => bail!("not {other:?} but {:?}, or nothing", Self::SYNCED),
        }
    }

    fn settle(self, dir: &Path) -> Result<()> {
        match self {
            Self::AsReturned => Ok(()),
            Self::Synced => File::open(dir)?.sync_all().context("fsync the directory"),
        }
    }
}

/// One step of the load in `dir`; `acknowledge` is told of each thing as soon as it holds.
pub fn step(dir: &Path, n: u64, seed: u64, names: Names, mut acknowledge: impl FnMut(Record)) -> Result<()> {
    let seed = seed.wrapping_add(n * 1_000);
    let len = (seed % 40_000) as usize + 1;
    let path = dir.join(format!("f{n}"));
    let mut file = File::create(&path).with_context(|| format!("create f{n}"))?;
    file.write_all(&pattern::bytes(seed, len)).with_context(|| format!("write f{n}"))?;
    file.sync_all().with_context(|| format!("fsync f{n}"))?;
    drop(file);
    acknowledge(Record::Synced { n, seed, len, renamed: false });
    if n.is_multiple_of(3) {
        #[expect(clippy::disallowed_methods, reason = "the rename is what is tested")]
        std::fs::rename(&path, dir.join(format!("g{n}"))).with_context(|| format!("rename f{n}"))?;
        names.settle(dir)?;
        acknowledge(Record::Synced { n, seed, len, renamed: true });
    } else if n % 5 == 1 {
        std::fs::remove_file(&path).with_context(|| format!("unlink f{n}"))?;
        names.settle(dir)?;
        acknowledge(Record::Removed { n });
    }
    let mut log = OpenOptions::new().append(true).create(true).open(dir.join("log")).context("open log")?;
    log.write_all(&pattern::bytes(n, LOG_RECORD)).context("append to log")?;
    log.sync_data().context("fdatasync log")?;
    acknowledge(Record::Logged { bytes: (n + 1) * LOG_RECORD as u64 });
    Ok(())
}

/// The load, running. It stops after the step under way when its stdin is closed.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    child: Child,
    stdin: Option<ChildStdin>,
    records: JoinHandle<Vec<Record>>,
    errors: JoinHandle<String>,
}

impl Writer {
    /// Works in a new directory `dir`.
    pub fn start(dir: &Path, seed: u64, names: Names) -> Result<Self> {
        let mut child = Command::new(crate::binaries::sibling("cairn-journal"))
            .arg(dir)
            .arg(seed.to_string())
            .args((names == Names::Synced).then_some(Names::SYNCED))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut stderr = child.stderr.take().context("stderr is piped")?;
        let records = std::thread::spawn(move || {
            // A last line that was cut off by a kill is no acknowledgement.
            BufReader::new(stdout).lines().map_while(Result::ok).filter_map(|l| l.parse().ok()).collect()
        });
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        Ok(Self { dir: dir.to_owned(), child, stdin, records, errors })
    }

    /// Stops it; an error that it met is a failure.
    pub fn finish(mut self) -> Result<Journal> {
        drop(self.stdin.take());
        let status = self.child.wait()?;
        let errors = self.errors.join().expect("reading does not panic");
        ensure!(status.success(), "the writer in {} noticed: {errors}", self.dir.display());
        Ok(Journal { dir: self.dir, records: self.records.join().expect("reading does not panic") })
    }

    /// Takes what was acknowledged until its mount was taken away.
    pub fn interrupted(mut self) -> Result<Journal> {
        drop(self.stdin.take());
        self.child.wait()?;
        Ok(Journal { dir: self.dir, records: self.records.join().expect("reading does not panic") })
    }
}

/// What was acknowledged to a writer.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    pub records: Vec<Record>,
}

impl Journal {
    /// The same directory, seen through another mount.
    pub fn at(self, dir: &Path) -> Self {
        Self { dir: dir.to_owned(), ..self }
    }

    /// The last word on each file and on the log must hold.
    pub fn check(&self) -> Result<()> {
        let mut last = BTreeMap::new();
        let mut logged = 0;
        for record in &self.records {
            match record {
                Record::Synced { n, .. } | Record::Removed { n } => {
                    last.insert(*n, *record);
                }
                Record::Logged { bytes } => logged = *bytes,
            }
        }
        let newest = last.keys().next_back().copied();
        for (n, record) in last {
            // What followed the very last acknowledgement may have happened or not.
            self.check_file(n, record, Some(n) == newest)?;
        }
        self.check_log(logged)
    }

    fn check_file(&self, n: u64, record: Record, in_flight: bool) -> Result<()> {
        let (first, second) = (self.dir.join(format!("f{n}")), self.dir.join(format!("g{n}")));
        match record {
            Record::Synced { seed, len, renamed, .. } => {
                let moved = renamed || (in_flight && n.is_multiple_of(3) && !first.exists());
                let path = if moved { &second } else { &first };
                if in_flight && n % 5 == 1 && !path.exists() {
                    return Ok(());
                }
                let got = std::fs::read(path).with_context(|| format!("{} is lost", path.display()))?;
                ensure!(got == pattern::bytes(seed, len), "{}: synced bytes are lost", path.display());
                ensure!(!moved || !first.exists(), "{} is back after its rename", first.display());
            }
            Record::Removed { .. } => ensure!(!first.exists(), "{} is back after its removal", first.display()),
            Record::Logged { .. } => {}
        }
        Ok(())
    }

    fn check_log(&self, logged: u64) -> Result<()> {
        let mut log = Vec::new();
        if logged > 0 {
            File::open(self.dir.join("log"))?.read_to_end(&mut log)?;
        }
        ensure!(log.len() as u64 >= logged, "the log has {} bytes, {logged} were synced", log.len());
        for (n, record) in log[..logged as usize].chunks(LOG_RECORD).enumerate() {
            ensure!(record == pattern::bytes(n as u64, LOG_RECORD), "log record {n} is not what was synced");
        }
        Ok(())
    }
}
