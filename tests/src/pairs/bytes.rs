//! Bytes: written, appended, cut, punched, copied and mapped, and read by the others.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Stat, Views, each_round};
use crate::mapping::Mapping;
use crate::pattern;

/// Bytes of the files: of some blocks, the last one in part.
const LEN: usize = 13_000;
/// Rounds after which files are kept open in another way: see [`Known::act`].
const PHASE: u64 = 50;
/// What `O_DIRECT` writes, at multiples of it, from memory that begins at a multiple of it.
const BLOCK: usize = 4096;

/// A file that all views have open to read all the time, and what its bytes ought to be.
struct Known {
    name: &'static str,
    readers: Vec<File>,
    bytes: Vec<u8>,
    how: OpenOptions,
    /// Open by all to write, for some rounds.
    writers: Option<Vec<File>>,
    /// Open by the one who acted last, for some rounds.
    last: Option<File>,
}

impl Known {
    fn new(views: &Views, name: &'static str, bytes: Vec<u8>) -> Result<Self> {
        fs::write(views.roots[0].join(name), &bytes)?;
        let readers = views.open_all_to_read(name)?;
        let how = File::options().read(true).write(true).clone();
        Ok(Self { name, readers, bytes, how, writers: None, last: None })
    }

    /// What the one who acts does to the file: for some rounds nobody has it open to write but for this; for some, it is still open
    /// when the others look; and for some, all of them have it open to write all the time.
    fn act<T>(&mut self, views: &Views, round: u64, work: impl FnOnce(&File) -> Result<T>) -> Result<T> {
        let path = views.acting(round).join(self.name);
        match round / PHASE % 3 {
            0 => {
                self.writers = None;
                self.last = None;
                work(&self.how.open(path)?)
            }
            1 => {
                let file = self.last.insert(self.how.open(path)?);
                work(file)
            }
            _ => {
                let all = match self.writers.take() {
                    Some(all) => all,
                    None => views.open_all(self.name, &self.how)?,
                };
                let done = work(&all[views.actor(round)]);
                self.writers = Some(all);
                done
            }
        }
    }

    /// Everybody but the one who acts reads all of it: through what is open or, now and then, through what is opened now.
    fn look(&self, views: &Views, round: u64) -> Result<()> {
        for view in views.others(round) {
            let path = views.roots[view].join(self.name);
            let fresh = if round % 4 == 3 { Some(File::open(&path)?) } else { None };
            let file = fresh.as_ref().unwrap_or(&self.readers[view]);
            let size = Stat::of_open(file)?.size;
            ensure!(size == self.bytes.len() as u64, "mount {view}: {size} bytes, not {}", self.bytes.len());
            // More than there should be.
            let mut got = vec![0; self.bytes.len() + 100];
            let mut len = 0;
            while let n @ 1.. = file.read_at(&mut got[len..], len as u64)? {
                len += n;
            }
            ensure!(len == self.bytes.len(), "mount {view}: {len} bytes were read, not {}", self.bytes.len());
            let differs = self.bytes.iter().zip(&got).position(|(want, got)| want != got);
            ensure!(differs.is_none(), "mount {view}: byte {differs:?} is another one, of {len}");
        }
        Ok(())
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        if self.bytes.len() < offset + bytes.len() {
            self.bytes.resize(offset + bytes.len(), 0);
        }
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn zero(&mut self, offset: usize, len: usize) {
        let end = self.bytes.len().min(offset + len);
        if offset < end {
            self.bytes[offset..end].fill(0);
        }
    }
}

/// Any range is overwritten, in any block, also in one that another mount has just written, and past the page cache, too.
pub fn written(views: &Views, rounds: u64) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(2);
    let mut file = Known::new(views, "written", pattern::bytes(1, LEN))?;
    each_round(rounds, |n| {
        file.look(views, n).context("before")?;
        let path = views.acting(n).join(file.name);
        let offset = rng.random_range(0..LEN);
        let len = if rng.random() { rng.random_range(1..100) } else { rng.random_range(1..2 * BLOCK) };
        let bytes = pattern::bytes(n, len.min(LEN - offset));
        match n % 6 {
            5 => {
                let offset = offset.min(LEN - BLOCK) / BLOCK * BLOCK;
                let bytes = pattern::bytes(n, BLOCK);
                write_directly(&path, offset, &bytes).context("O_DIRECT")?;
                file.put(offset, &bytes);
            }
            _ => {
                file.act(views, n, |file| Ok(file.write_all_at(&bytes, offset as u64)?))?;
                file.put(offset, &bytes);
            }
        }
        file.look(views, n)?;
        views.stat(n, file.name).map(drop)
    })
}

fn write_directly(path: &Path, offset: usize, bytes: &[u8]) -> Result<()> {
    let file = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path)?;
    let mut room = vec![0u8; 2 * BLOCK];
    let start = room.as_ptr().align_offset(BLOCK);
    let block = &mut room[start..start + BLOCK];
    block.copy_from_slice(bytes);
    let n = file.write_at(block, offset as u64)?;
    ensure!(n == BLOCK, "{n} of {BLOCK} bytes were written");
    Ok(())
}

/// Each mount in its turn appends, and the others have the new end of the file at once.
pub fn appended(views: &Views, rounds: u64) -> Result<()> {
    let mut file = Known::new(views, "log", Vec::new())?;
    file.how = File::options().append(true).clone();
    let mut size = 0;
    each_round(rounds, |n| {
        for view in views.others(n) {
            let before = Stat::of_open(&file.readers[view])?.size;
            ensure!(before == size, "mount {view}: before, {before} bytes, not {size}");
        }
        let record = pattern::bytes(n, 1 + (n as usize * 37) % 300);
        file.act(views, n, |mut file| Ok(file.write_all(&record)?))?;
        for view in views.others(n) {
            let mut got = vec![0; record.len() + 1];
            let len = file.readers[view].read_at(&mut got, size)?;
            ensure!(len == record.len(), "mount {view}: {len} bytes behind byte {size}, not {}", record.len());
            ensure!(got[..len] == record, "mount {view}: other bytes than were appended");
        }
        size += record.len() as u64;
        let seen = views.stat(n, "log")?.size;
        ensure!(seen == size, "{seen} bytes, not {size}");
        Ok(())
    })
}

/// Files are cut, grown, emptied when they are opened, punched, zeroed, and copied into each other.
pub fn cut_and_grown(views: &Views, rounds: u64) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(3);
    let mut file = Known::new(views, "cut", pattern::bytes(1, LEN))?;
    let source = Known::new(views, "source", pattern::bytes(5, LEN))?;
    each_round(rounds, |n| {
        file.look(views, n).context("before")?;
        let path = views.acting(n).join(file.name);
        let (offset, len) = (rng.random_range(0..LEN), rng.random_range(1..LEN));
        let what = match n % 7 {
            0 | 1 => {
                let len = rng.random_range(0..2 * LEN);
                if n.is_multiple_of(2) {
                    file.act(views, n, |file| Ok(file.set_len(len as u64)?))?;
                } else {
                    nix::unistd::truncate(&path, len as i64)?;
                }
                file.bytes.resize(len, 0);
                "after its length was set"
            }
            2 => {
                let bytes = pattern::bytes(n, len);
                fs::write(&path, &bytes)?;
                file.bytes = bytes;
                "after it was opened with O_TRUNC and written"
            }
            3 => {
                let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
                file.act(views, n, |file| Ok(fallocate(file, punch, offset as i64, len as i64)?))?;
                file.zero(offset, len);
                "after it was punched"
            }
            4 => {
                let plain = FallocateFlags::empty();
                file.act(views, n, |file| Ok(fallocate(file, plain, offset as i64, len as i64)?))?;
                let size = file.bytes.len().max(offset + len);
                file.bytes.resize(size, 0);
                "after space was allocated"
            }
            5 => {
                let bytes = pattern::bytes(n, len);
                file.act(views, n, |file| Ok(file.write_all_at(&bytes, offset as u64)?))?;
                file.put(offset, &bytes);
                "after it was written, beyond the end perhaps"
            }
            _ => {
                let from = &source.readers[views.actor(n)];
                let copied = file.act(views, n, |file| copy(from, file, len, offset))?;
                file.put(offset, &source.bytes[..copied]);
                "after it was copied into"
            }
        };
        file.look(views, n).context(what)?;
        views.stat(n, file.name).map(drop)
    })
}

/// From the start of `source` to `offset` of `target`; how much of `len` it copied.
fn copy(source: &File, target: &File, len: usize, offset: usize) -> Result<usize> {
    let (mut from, mut to) = (0, offset as i64);
    // SAFETY: both descriptors are open, and the offsets are valid during the call.
    let n =
        unsafe { libc::copy_file_range(source.as_raw_fd(), &raw mut from, target.as_raw_fd(), &raw mut to, len, 0) };
    Ok(Errno::result(n)? as usize)
}

/// What is written is in the others' mappings, and what is stored into a mapping and synced is read by the others.
pub fn mapped(views: &Views, rounds: u64) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(4);
    let mut file = Known::new(views, "mapped", pattern::bytes(1, LEN))?;
    let maps = file.readers.iter().map(|f| Mapping::to_read(f, LEN)).collect::<std::io::Result<Vec<_>>>()?;
    each_round(rounds, |n| {
        let byte = (n % 251) as u8;
        let offset = rng.random_range(0..LEN);
        let want = file.bytes[offset];
        for view in views.others(n) {
            let got = maps[view].load(offset);
            ensure!(got == want, "mount {view}: before, byte {offset} is {got}, not {want}, in its mapping");
        }
        let how = if n % 4 < 2 {
            file.act(views, n, |file| Ok(file.write_all_at(&[byte], offset as u64)?))?;
            "written"
        } else {
            file.act(views, n, |file| {
                let mapping = Mapping::new(file, LEN)?;
                mapping.store(offset, byte);
                mapping.sync().context("msync")
            })?;
            "stored and synced"
        };
        file.put(offset, &[byte]);
        for view in views.others(n) {
            let got = maps[view].load(offset);
            ensure!(got == byte, "mount {view}: byte {offset} is {got}, not {byte} as {how}, in its mapping");
            let mut got = [0];
            file.readers[view].read_exact_at(&mut got, offset as u64)?;
            ensure!(got[0] == byte, "mount {view}: byte {offset} is read as {}, not {byte} as {how}", got[0]);
        }
        if n.is_multiple_of(100) { file.look(views, n) } else { Ok(()) }
    })
}
