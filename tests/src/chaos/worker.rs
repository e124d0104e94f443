//! One worker: random calls on files of its own, each done in the mirror, too, once it has returned.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::ledger::{Entry, Ledger};
use super::load;
use crate::pattern;

/// Files at most.
const FILES: usize = 24;
/// Bytes of one write at most.
const WRITE_MAX: usize = 96 << 10;
/// Bytes that an ordinary file grows to.
const FILE_MAX: u64 = 512 << 10;
/// One file in so many is wide: its bytes are around the boundaries of several chunks.
const ONE_IS_WIDE: u32 = 6;
const CHUNK: u64 = 64 << 20;
/// Boundaries that wide files are written around.
const BOUNDARIES: u64 = 3;
/// Wait between two calls on average: several workers share the machine with all servers.
const PACE: Duration = Duration::from_millis(4);

/// Where a worker works.
#[derive(Debug, Clone)]
pub struct Places {
    /// On the mount that it writes through.
    pub dir: PathBuf,
    /// The same directory on another mount.
    pub seen: PathBuf,
    /// On a local disk.
    pub mirror: PathBuf,
}

/// See the module.
#[derive(Debug)]
pub struct Worker {
    places: Places,
    rng: StdRng,
    ledger: Ledger,
    /// Names that were given.
    named: u64,
}

impl Worker {
    /// Makes its directory.
    pub fn new(places: Places, seed: u64) -> Result<Self> {
        fs::create_dir(&places.mirror).with_context(|| places.mirror.display().to_string())?;
        fs::create_dir(&places.dir).with_context(|| places.dir.display().to_string())?;
        Ok(Self { places, rng: StdRng::seed_from_u64(seed), ledger: Ledger::default(), named: 0 })
    }

    /// Works until `stop` says so. An error is one that the semantics do not allow, or bytes that are not what they should be.
    pub fn run(mut self, stop: impl Fn() -> bool) -> Result<Ledger> {
        let done = File::create(load::calls_of(&self.places))?;
        let mut calls = 0u64;
        while !stop() {
            self.step().with_context(|| format!("call {calls} in {}", self.places.dir.display()))?;
            calls += 1;
            done.set_len(calls)?;
            std::thread::sleep(PACE.mul_f64(self.rng.random_range(0.0..2.0)));
        }
        Ok(self.ledger)
    }

    fn step(&mut self) -> Result<()> {
        let Some(name) = self.any_file() else { return self.create() };
        match self.rng.random_range(0..100) {
            0..10 if self.ledger.0.len() < FILES => self.create(),
            0..25 => self.append(&name),
            25..50 => self.overwrite(&name),
            50..56 => self.rename(&name),
            56..62 => self.unlink(&name),
            62..67 => self.truncate(&name),
            67..80 => self.sync(&name),
            _ => self.look(&name),
        }
        .with_context(|| name)
    }

    fn any_file(&mut self) -> Option<String> {
        let count = self.ledger.0.len();
        if count == 0 {
            return None;
        }
        self.ledger.0.keys().nth(self.rng.random_range(0..count)).cloned()
    }

    fn new_name(&mut self) -> String {
        self.named += 1;
        let kind = if self.rng.random_ratio(1, ONE_IS_WIDE) { "wide" } else { "file" };
        format!("{kind}{}", self.named)
    }

    fn create(&mut self) -> Result<()> {
        let name = self.new_name();
        let made = File::create_new(self.places.dir.join(&name)).map(drop);
        if !allowed(made).context("create")? {
            // It may have been made.
            return remove(&self.places.dir.join(&name));
        }
        File::create_new(self.places.mirror.join(&name))?;
        self.ledger.0.insert(name, Entry::default());
        Ok(())
    }

    fn append(&mut self, name: &str) -> Result<()> {
        let size = self.mirrored(name)?.metadata()?.len();
        if size > FILE_MAX {
            return self.truncate(name);
        }
        let bytes = self.bytes();
        let mut options = OpenOptions::new();
        self.write(name, options.append(true), size, &bytes)
    }

    fn overwrite(&mut self, name: &str) -> Result<()> {
        let bytes = self.bytes();
        let at = if name.starts_with("wide") {
            let around = self.rng.random_range(1..=BOUNDARIES) * CHUNK;
            around - self.rng.random_range(0..WRITE_MAX as u64)
        } else {
            self.rng.random_range(0..FILE_MAX)
        };
        let mut options = OpenOptions::new();
        self.write(name, options.write(true), at, &bytes)
    }

    /// Writes `bytes`, which come to be at `at`, and syncs them in one of four cases.
    fn write(&mut self, name: &str, options: &OpenOptions, at: u64, bytes: &[u8]) -> Result<()> {
        let range = at..at + bytes.len() as u64;
        let path = self.places.dir.join(name);
        let file = match options.open(&path) {
            Ok(file) => file,
            Err(error) => return self.failed(name, Err(error), 0..0).context("open"),
        };
        let sync = self.rng.random_ratio(1, 4);
        let written = file.write_all_at(bytes, at);
        if written.is_err() {
            return self.failed(name, written, range).context("write");
        }
        self.mirrored(name)?.write_all_at(bytes, at)?;
        self.entry(name).wrote(range.clone());
        if sync {
            let synced = if self.rng.random() { file.sync_all() } else { file.sync_data() };
            return self.synced(name, synced);
        }
        Ok(())
    }

    fn sync(&mut self, name: &str) -> Result<()> {
        let synced = File::open(self.places.dir.join(name)).and_then(|file| file.sync_all());
        self.synced(name, synced)
    }

    fn synced(&mut self, name: &str, synced: io::Result<()>) -> Result<()> {
        if synced.is_err() {
            return self.failed(name, synced, 0..0).context("fsync");
        }
        self.entry(name).synced();
        Ok(())
    }

    fn rename(&mut self, name: &str) -> Result<()> {
        // Half of them over another file.
        let over = self.any_file().filter(|other| other != name && kind(other) == kind(name));
        let to = over.filter(|_| self.rng.random()).unwrap_or_else(|| {
            self.named += 1;
            format!("{}{}", kind(name), self.named)
        });
        let [from_path, to_path] = [name, &to].map(|name| self.places.dir.join(name));
        #[expect(clippy::disallowed_methods, reason = "the rename is what is tested")]
        let renamed = fs::rename(&from_path, &to_path);
        if !allowed(renamed).context("rename")? && from_path.exists() {
            return Ok(());
        }
        #[expect(clippy::disallowed_methods, reason = "as above")]
        fs::rename(self.places.mirror.join(name), self.places.mirror.join(&to))?;
        if let Some(entry) = self.ledger.0.remove(name) {
            self.ledger.0.insert(to, entry);
        }
        Ok(())
    }

    fn unlink(&mut self, name: &str) -> Result<()> {
        remove(&self.places.dir.join(name))?;
        fs::remove_file(self.places.mirror.join(name))?;
        self.ledger.0.remove(name);
        Ok(())
    }

    fn truncate(&mut self, name: &str) -> Result<()> {
        let size = self.mirrored(name)?.metadata()?.len();
        let to = if size == 0 { 0 } else { self.rng.random_range(0..=size + size / 8) };
        let cut = OpenOptions::new().write(true).open(self.places.dir.join(name)).and_then(|file| file.set_len(to));
        if cut.is_err() {
            return self.failed(name, cut, 0..0).context("truncate");
        }
        self.mirrored(name)?.set_len(to)?;
        self.entry(name).truncated(to);
        Ok(())
    }

    /// Looks at a part of a file through the other mount, or through this one.
    fn look(&mut self, name: &str) -> Result<()> {
        let size = self.mirrored(name)?.metadata()?.len();
        if size == 0 {
            return Ok(());
        }
        let at = self.rng.random_range(0..size);
        let range = at..size.min(at + WRITE_MAX as u64);
        let places = &self.places;
        let from = if self.rng.random() { &places.seen } else { &places.dir };
        let entry = self.ledger.0.get(name).context("it is in the ledger")?;
        entry.check_part(&from.join(name), &places.mirror.join(name), range).context("look")
    }

    /// A call has failed that may fail: the file has its size again, and what was tried is in doubt. Any other failure is one.
    fn failed(&mut self, name: &str, result: io::Result<()>, attempted: Range<u64>) -> Result<()> {
        allowed(result)?;
        let mirror = self.mirrored(name)?;
        let size = mirror.metadata()?.len();
        self.entry(name).failed(attempted.clone());
        let path = self.places.dir.join(name);
        let restore = || OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(size));
        while !allowed(restore()).context("set the size again")? {
            std::thread::sleep(PACE);
        }
        self.entry(name).truncated(size);
        Ok(())
    }

    fn bytes(&mut self) -> Vec<u8> {
        let len = self.rng.random_range(1..=WRITE_MAX);
        pattern::bytes(self.rng.random(), len)
    }

    fn mirrored(&self, name: &str) -> Result<File> {
        let path = self.places.mirror.join(name);
        OpenOptions::new().read(true).write(true).open(&path).with_context(|| path.display().to_string())
    }

    fn entry(&mut self, name: &str) -> &mut Entry {
        self.ledger.0.entry(name.to_owned()).or_default()
    }
}

/// Wide files stay wide under other names.
fn kind(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit())
}

/// Whether it was done. A full disk is the one thing that may be in the way: chunkservers and metaservers that are away are waited for.
fn allowed(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::StorageFull => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> Result<()> {
    let is_gone = || match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        removed => allowed(removed),
    };
    while !is_gone().context("unlink")? {
        std::thread::sleep(PACE);
    }
    Ok(())
}
