//! One worker: random calls on the shared files of a directory, each written down before and after.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirEntryExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{RenameFlags, renameat2};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::model::{UNKNOWN, Value};
use super::record::{Attempt, Entry, Log, Object, Outcome, now};
use super::value;
use crate::mapping::Mapping;

/// Files of each kind.
pub const FILES: u8 = 2;
/// Names that are made and removed.
pub const NAMES: u8 = 4;
/// Names that a token may have.
pub const PLACES: u8 = 3;
/// Values of each worker, so that they can be told apart at a glance.
const EACH: Value = 10_000_000;
/// Reads that see halves of two writes before that is no coincidence.
const TEARS: usize = 1_000;
/// Wait after a call that failed: servers are away, and nothing is learnt by asking all the time.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// How a worker works.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manner {
    /// Number of this worker; no other has it, ever.
    pub worker: usize,
    pub seed: u64,
    /// Calls to make; it may be told to stop before.
    pub calls: usize,
    /// Average time between calls, in microseconds.
    pub pace_us: u64,
    /// What changes something is synced before it counts as done, so that it outlives the client.
    pub sync: bool,
    /// Part of the reads go through descriptors that are kept open.
    pub keep_open: bool,
    /// Part of the reads go through mappings.
    pub map: bool,
    /// The mount may be given up by the metaserver; what was open without a name is gone then.
    pub may_be_given_up: bool,
}

/// Makes what workers need in `dir`, which is empty.
pub fn prepare(dir: &Path) -> Result<()> {
    for n in 0..FILES {
        for kind in ["plain", "locked", "replaced"] {
            let file = File::create_new(dir.join(format!("{kind}{n}")))?;
            file.write_all_at(&[0; value::MAX_LEN], 0)?;
            file.sync_all()?;
        }
    }
    fs::create_dir(dir.join("names"))?;
    fs::create_dir(dir.join("token0"))?;
    File::create_new(dir.join("token0/0"))?.sync_all()?;
    for synced in ["names", "token0", "."] {
        File::open(dir.join(synced))?.sync_all()?;
    }
    Ok(())
}

/// See the module.
#[derive(Debug)]
pub struct Worker {
    /// Through a descriptor of the directory: where its mount is taken away, nothing is found beneath it.
    dir: PathBuf,
    _dir: File,
    log: Log,
    manner: Manner,
    rng: StdRng,
    written: u64,
    /// Kept open, to read or to write, too.
    open: BTreeMap<(Object, bool), Rc<File>>,
    maps: BTreeMap<Object, Mapping>,
    tears: usize,
}

impl Worker {
    pub fn new(dir: &Path, log: &Path, manner: Manner) -> Result<Self> {
        let held = File::open(dir).with_context(|| dir.display().to_string())?;
        Ok(Self {
            dir: PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd())),
            _dir: held,
            log: Log::create(log)?,
            rng: StdRng::seed_from_u64(manner.seed),
            manner,
            written: 0,
            open: BTreeMap::new(),
            maps: BTreeMap::new(),
            tears: 0,
        })
    }

    /// Works until all is done, `stop` says so, or the mount is gone.
    pub fn run(&mut self, stop: impl Fn() -> bool) -> Result<()> {
        for _ in 0..self.manner.calls {
            if stop() {
                break;
            }
            let attempt = self.draw();
            self.log.add(&Entry::Began { at: now()?, attempt })?;
            let result = self.make(attempt);
            let at = now()?;
            for _ in 0..std::mem::take(&mut self.tears) {
                self.log.add(&Entry::Tore)?;
            }
            let gone = result.as_ref().err().and_then(io::Error::raw_os_error) == Some(libc::ENOTCONN);
            let outcome = result.unwrap_or_else(|error| self.failure(attempt, &error));
            let failed = matches!(outcome, Outcome::Lost(_) | Outcome::Refused(_));
            self.log.add(&Entry::Ended { at, outcome })?;
            if gone {
                break;
            }
            if failed {
                self.open.clear();
                self.maps.clear();
                std::thread::sleep(AFTER_FAILURE);
            }
            if self.manner.pace_us > 0 {
                std::thread::sleep(Duration::from_micros(self.rng.random_range(0..2 * self.manner.pace_us)));
            }
        }
        Ok(())
    }

    fn draw(&mut self) -> Attempt {
        let rng = &mut self.rng;
        let n = rng.random_range(0..FILES);
        let file = match rng.random_range(0..3) {
            0 => Object::Plain(n),
            1 => Object::Locked(n),
            _ => Object::Replaced(n),
        };
        let name = rng.random_range(0..NAMES);
        match rng.random_range(0..100) {
            0..30 => Attempt::Read { file },
            30..50 => {
                self.written += 1;
                let put = (self.manner.worker as Value + 1) * EACH + self.written;
                match file {
                    Object::Locked(_) => Attempt::Swap { file, put },
                    _ => Attempt::Write { file, put },
                }
            }
            50..58 => Attempt::Create { name },
            58..66 => Attempt::Unlink { name },
            66..78 => Attempt::Look { name },
            78..82 => Attempt::List,
            82..90 => {
                let from = rng.random_range(0..PLACES);
                let to = (from + rng.random_range(1..PLACES)) % PLACES;
                Attempt::Rename { token: 0, from, to }
            }
            _ => Attempt::Peek { token: 0, name: rng.random_range(0..PLACES) },
        }
    }

    fn make(&mut self, attempt: Attempt) -> io::Result<Outcome> {
        match attempt {
            Attempt::Read { file } => self.read(file),
            Attempt::Write { file: file @ Object::Replaced(_), put } => self.replace(file, put),
            Attempt::Write { file, put } => self.write(file, put),
            Attempt::Swap { file, put } => self.swap(file, put),
            Attempt::Create { name } => self.create(name),
            Attempt::Unlink { name } => self.unlink(name),
            Attempt::Look { name } => self.look(name),
            Attempt::List => self.list(),
            Attempt::Rename { token, from, to } => self.rename(token, from, to),
            Attempt::Peek { token, name } => Ok(match fs::metadata(self.token(token, name)) {
                Ok(_) => Outcome::There,
                Err(error) => absent(error)?,
            }),
        }
    }

    /// What a call comes to that failed.
    fn failure(&self, attempt: Attempt, error: &io::Error) -> Outcome {
        let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
        let word = format!("{errno:?}");
        let changes =
            !matches!(attempt, Attempt::Read { .. } | Attempt::Look { .. } | Attempt::List | Attempt::Peek { .. });
        match errno {
            Errno::EIO | Errno::EINTR | Errno::ENOTCONN | Errno::ECONNABORTED | Errno::ETIMEDOUT | Errno::ENOLCK
                if changes =>
            {
                Outcome::Lost(word)
            }
            Errno::EIO | Errno::EINTR | Errno::ENOTCONN | Errno::ECONNABORTED | Errno::ETIMEDOUT => {
                Outcome::Refused(word)
            }
            // A page that could not be had.
            Errno::EFAULT if matches!(attempt, Attempt::Read { .. }) => Outcome::Refused(word),
            _ => Outcome::Wrong(format!("{word}: {error}")),
        }
    }

    fn path(&self, file: Object) -> PathBuf {
        self.dir.join(match file {
            Object::Plain(n) => format!("plain{n}"),
            Object::Locked(n) => format!("locked{n}"),
            Object::Replaced(n) => format!("replaced{n}"),
            Object::Name(n) => format!("names/{n}"),
            Object::Token(n) => format!("token{n}"),
        })
    }

    fn token(&self, token: u8, name: u8) -> PathBuf {
        self.path(Object::Token(token)).join(name.to_string())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.manner.sync { File::open(dir)?.sync_all() } else { Ok(()) }
    }

    /// Opened just now, or kept open. No descriptor is closed but the last one of an open file: closing flushes it.
    fn file(&mut self, object: Object, write: bool) -> io::Result<Rc<File>> {
        let mut how = File::options();
        how.read(true).write(write);
        // Half of the workers keep nothing open to write: who alone has a file open may do more with it.
        let keep = self.manner.keep_open && (!write || self.manner.seed.is_multiple_of(2));
        if !keep || matches!(object, Object::Replaced(_)) || self.rng.random_bool(0.3) {
            return Ok(Rc::new(how.open(self.path(object))?));
        }
        if self.rng.random_bool(0.02) {
            self.open.clear();
            self.maps.clear();
        }
        if let Some(file) = self.open.get(&(object, write)) {
            return Ok(Rc::clone(file));
        }
        let file = Rc::new(how.open(self.path(object))?);
        self.open.insert((object, write), Rc::clone(&file));
        Ok(file)
    }

    fn read(&mut self, file: Object) -> io::Result<Outcome> {
        if self.manner.map && !matches!(file, Object::Replaced(_)) && self.rng.random_bool(0.3) {
            return self.read_mapped(file);
        }
        let opened = self.file(file, false)?;
        for _ in 0..TEARS {
            let read = match read_value(&opened) {
                // It was opened, so that is not what a name leads to.
                Err(error) if self.manner.may_be_given_up && error.raw_os_error() == Some(libc::ESTALE) => {
                    return Ok(Outcome::Refused(error.to_string()));
                }
                read => read?,
            };
            match read {
                Some(value) => return Ok(Outcome::Saw(value)),
                // A replaced file was written before anybody could open it.
                None if matches!(file, Object::Replaced(_)) => break,
                None => self.tears += 1,
            }
        }
        Ok(Outcome::Wrong("bytes that are of no write".into()))
    }

    fn read_mapped(&mut self, file: Object) -> io::Result<Outcome> {
        if !self.maps.contains_key(&file) {
            let opened = File::open(self.path(file))?;
            self.maps.insert(file, Mapping::to_read(&opened, value::MAX_LEN)?);
        }
        let mapping = &self.maps[&file];
        for _ in 0..TEARS {
            // A fault that fails is an error here, and not a signal.
            match value::decode(&mapping.copy()?) {
                Some(value) => return Ok(Outcome::Saw(value)),
                None => self.tears += 1,
            }
        }
        Ok(Outcome::Wrong("mapped bytes that are of no write".into()))
    }

    fn write(&mut self, file: Object, put: Value) -> io::Result<Outcome> {
        let file = self.file(file, true)?;
        file.write_all_at(&value::encode(put), 0)?;
        if self.manner.sync {
            file.sync_data()?;
        }
        Ok(Outcome::Done)
    }

    /// Another file takes the name.
    fn replace(&mut self, file: Object, put: Value) -> io::Result<Outcome> {
        let new = self.dir.join(format!("new{}", self.manner.worker));
        fs::write(&new, value::encode(put))?;
        if self.manner.sync {
            File::open(&new)?.sync_all()?;
        }
        renameat2(nix::fcntl::AT_FDCWD, &new, nix::fcntl::AT_FDCWD, &self.path(file), RenameFlags::empty())?;
        self.sync_dir(&self.dir)?;
        Ok(Outcome::Done)
    }

    fn swap(&mut self, object: Object, put: Value) -> io::Result<Outcome> {
        let file = self.file(object, true)?;
        // One of them is locked in one way, the other in the other: they do not exclude each other.
        let by_range = matches!(object, Object::Locked(0));
        if let Err(error) = lock(&file, by_range, true) {
            return Ok(Outcome::Refused(error.to_string()));
        }
        let outcome = self.compare_and_write(&file, put);
        let unlocked = lock(&file, by_range, false);
        let outcome = outcome?;
        unlocked?;
        Ok(outcome)
    }

    fn compare_and_write(&mut self, file: &File, put: Value) -> io::Result<Outcome> {
        let Some(saw) = read_value(file)? else {
            return Ok(Outcome::Wrong("halves of two writes under a lock".into()));
        };
        // A comparison that fails now and then.
        if (saw ^ put).is_multiple_of(4) {
            return Ok(Outcome::Swapped { saw, put: None });
        }
        file.write_all_at(&value::encode(put), 0)?;
        if self.manner.sync {
            file.sync_data()?;
        }
        Ok(Outcome::Swapped { saw, put: Some(put) })
    }

    fn create(&mut self, name: u8) -> io::Result<Outcome> {
        let outcome = match File::create_new(self.path(Object::Name(name))) {
            Ok(file) => Outcome::Inode(file.metadata()?.ino()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(Outcome::Exists),
            Err(error) => return Err(error),
        };
        self.sync_dir(&self.dir.join("names"))?;
        Ok(outcome)
    }

    fn unlink(&mut self, name: u8) -> io::Result<Outcome> {
        if let Err(error) = fs::remove_file(self.path(Object::Name(name))) {
            return absent(error);
        }
        self.sync_dir(&self.dir.join("names"))?;
        Ok(Outcome::Done)
    }

    fn look(&mut self, name: u8) -> io::Result<Outcome> {
        let path = self.path(Object::Name(name));
        let found = match self.rng.random_range(0..3) {
            0 => fs::metadata(path).map(|there| there.ino()),
            1 => File::open(path).and_then(|file| file.metadata()).map(|there| there.ino()),
            _ => nix::unistd::access(&path, nix::unistd::AccessFlags::R_OK).map(|()| UNKNOWN).map_err(io::Error::from),
        };
        found.map(Outcome::Inode).or_else(absent)
    }

    fn list(&mut self) -> io::Result<Outcome> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.dir.join("names"))? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().to_string_lossy().parse() {
                found.push((name, entry.ino()));
            }
        }
        Ok(Outcome::Listed(found))
    }

    fn rename(&mut self, token: u8, from: u8, to: u8) -> io::Result<Outcome> {
        let flags = if self.rng.random() { RenameFlags::RENAME_NOREPLACE } else { RenameFlags::empty() };
        let (from, to) = (self.token(token, from), self.token(token, to));
        let at = nix::fcntl::AT_FDCWD;
        match renameat2(at, &from, at, &to, flags) {
            Ok(()) => {}
            Err(Errno::EEXIST) if flags == RenameFlags::RENAME_NOREPLACE => return Ok(Outcome::Exists),
            Err(error) => return absent(error.into()),
        }
        self.sync_dir(&self.path(Object::Token(token)))?;
        Ok(Outcome::Done)
    }
}

fn absent(error: io::Error) -> io::Result<Outcome> {
    if error.kind() == io::ErrorKind::NotFound { Ok(Outcome::Absent) } else { Err(error) }
}

/// The value in a file, or None if its bytes do not belong together.
fn read_value(file: &File) -> io::Result<Option<Value>> {
    let mut bytes = vec![0; value::MAX_LEN];
    let n = file.read_at(&mut bytes, 0)?;
    Ok(value::decode(&bytes[..n]))
}

/// Locks the whole file, and waits for that; or unlocks it. `by_range` with `fcntl`, else with `flock`.
fn lock(file: &File, by_range: bool, take: bool) -> io::Result<()> {
    if !by_range {
        let operation = if take { libc::LOCK_EX } else { libc::LOCK_UN };
        // SAFETY: the descriptor is open, and only integers are passed.
        return Errno::result(unsafe { libc::flock(file.as_raw_fd(), operation) }).map(drop).map_err(io::Error::from);
    }
    let kind = if take { libc::F_WRLCK } else { libc::F_UNLCK };
    let range = libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 };
    // SAFETY: the descriptor is open, and `range` is valid during the call.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLKW, std::ptr::from_ref(&range)) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}
