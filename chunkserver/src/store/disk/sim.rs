//! A disk in memory for tests: it runs full, fails, dies, and loses what was not synced.
//!
//! Every file has two faces: what the operating system shows, and what is on the platter. A sync copies the first to the
//! second; now and then a sector gets there by itself, as by write-back. A power cut takes each unsynced sector, length and
//! name, or leaves it, by a seeded coin, and tears some sectors.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Capacity, Disk, DiskFile, OpenMode};

const SECTOR: usize = 512;
const TOTAL: u64 = 1 << 40;

/// What shall go wrong. Everything off unless set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Bytes that may still be written; then `ENOSPC`, in the middle of a write if need be.
    pub room: Option<usize>,
    /// Operations that change something and still succeed; from then on everything fails: the process is as good as dead.
    pub dies_after: Option<u64>,
    /// Syncs fail with `EIO`.
    pub syncs_fail: bool,
    /// [`Disk::sync_all`] fails with `EIO`, whatever becomes of single files.
    pub whole_syncs_fail: bool,
    /// [`Disk::sync_all`] says nothing of files that could not be written.
    pub whole_syncs_hide: bool,
    /// What [`Disk::capacity`] says is free.
    pub free: Option<u64>,
    /// Everything fails with `EIO`.
    pub broken: bool,
}

#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<World>>);

#[derive(Debug)]
struct World {
    files: Vec<Node>,
    shown: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    faults: Faults,
    rng: StdRng,
    /// Files that cannot be written to the platter.
    broken: BTreeSet<usize>,
    /// Syncs of files so far.
    syncs: u64,
    /// Syncs of everything so far.
    whole_syncs: u64,
    /// Syncs of directories so far.
    dir_syncs: u64,
    /// Questions for free space so far.
    capacity_asked: u64,
}

#[derive(Clone, Debug, Default)]
struct Node {
    shown: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug)]
struct SimFile {
    world: Arc<Mutex<World>>,
    node: usize,
}

impl SimDisk {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(World {
            files: Vec::new(),
            shown: BTreeMap::new(),
            durable: BTreeMap::new(),
            faults: Faults::default(),
            rng: StdRng::seed_from_u64(seed),
            broken: BTreeSet::new(),
            syncs: 0,
            whole_syncs: 0,
            dir_syncs: 0,
            capacity_asked: 0,
        })))
    }

    pub fn set_faults(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    /// Syncs of files so far.
    pub fn syncs(&self) -> u64 {
        self.0.lock().syncs
    }

    /// Syncs of everything so far.
    pub fn whole_syncs(&self) -> u64 {
        self.0.lock().whole_syncs
    }

    /// From now on nothing of a file gets to the platter.
    pub fn break_file(&self, path: &Path) {
        let mut world = self.0.lock();
        let node = world.shown[path];
        world.broken.insert(node);
    }

    /// Syncs of directories so far.
    pub fn dir_syncs(&self) -> u64 {
        self.0.lock().dir_syncs
    }

    /// Questions for free space so far.
    pub fn capacity_asked(&self) -> u64 {
        self.0.lock().capacity_asked
    }

    /// The power goes, and comes back. Open files of before must not be used again.
    pub fn cut_power(&self) {
        let mut world = self.0.lock();
        let World { files, shown, durable, rng, faults, .. } = &mut *world;
        for node in files.iter_mut() {
            node.settle(rng);
        }
        let mut names: Vec<PathBuf> = shown.keys().chain(durable.keys()).cloned().collect();
        names.dedup();
        for name in names {
            let node = if rng.random() { shown.get(&name) } else { durable.get(&name) }.copied();
            match node {
                Some(node) => shown.insert(name, node),
                None => shown.remove(&name),
            };
        }
        durable.clone_from(shown);
        *faults = Faults::default();
    }

    /// Flips bits of a file behind everyone's back.
    pub fn damage(&self, path: &Path, offset: usize, mask: u8) {
        let mut world = self.0.lock();
        let node = world.shown[path];
        let node = &mut world.files[node];
        node.shown[offset] ^= mask;
        if let Some(byte) = node.durable.get_mut(offset) {
            *byte ^= mask;
        }
    }

    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let world = self.0.lock();
        world.shown.get(path).map(|node| world.files[*node].shown.clone())
    }

    /// Puts a file there, durably.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut world = self.0.lock();
        world.files.push(Node { shown: bytes.to_vec(), durable: bytes.to_vec() });
        let node = world.files.len() - 1;
        world.shown.insert(path.to_owned(), node);
        world.durable.insert(path.to_owned(), node);
    }
}

impl World {
    fn check_whole(&self) -> io::Result<()> {
        if self.faults.broken { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
    }

    /// Counts an operation that changes something.
    fn step(&mut self) -> io::Result<()> {
        self.check_whole()?;
        match &mut self.faults.dies_after {
            Some(0) => Err(io::Error::other("the process is dead")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.step()?;
        self.syncs += 1;
        if self.faults.syncs_fail { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
    }

    fn check(&self, node: usize) -> io::Result<()> {
        if self.broken.contains(&node) { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
    }

    /// As many of `len` bytes as there is room for.
    fn take_room(&mut self, len: usize) -> io::Result<usize> {
        match &mut self.faults.room {
            None => Ok(len),
            Some(0) => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
            Some(room) => {
                let n = len.min(*room);
                *room -= n;
                Ok(n)
            }
        }
    }
}

impl Node {
    fn settle(&mut self, rng: &mut StdRng) {
        let len = if rng.random() { self.shown.len() } else { self.durable.len() };
        let mut settled = vec![0; len];
        for (n, sector) in settled.chunks_mut(SECTOR).enumerate() {
            let torn = match rng.random_range(0..8) {
                0 => rng.random_range(0..sector.len()),
                1..4 => 0,
                _ => sector.len(),
            };
            let (new, old) = sector.split_at_mut(torn);
            copy_from(&self.shown, n * SECTOR, new);
            copy_from(&self.durable, n * SECTOR + torn, old);
        }
        self.shown.clone_from(&settled);
        self.durable = settled;
    }

    fn write_back(&mut self, rng: &mut StdRng) {
        if self.shown.is_empty() || rng.random_ratio(3, 4) {
            return;
        }
        let start = rng.random_range(0..self.shown.len()) / SECTOR * SECTOR;
        let end = self.shown.len().min(start + SECTOR * rng.random_range(1..8));
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[start..end].copy_from_slice(&self.shown[start..end]);
    }
}

/// Fills `part` with what `bytes` has from `at` on, and zeros behind its end.
fn copy_from(bytes: &[u8], at: usize, part: &mut [u8]) {
    let bytes = bytes.get(at..).unwrap_or_default();
    let have = bytes.len().min(part.len());
    part[..have].copy_from_slice(&bytes[..have]);
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut world = self.0.lock();
        world.check_whole()?;
        let node = match (world.shown.get(path).copied(), mode) {
            (Some(_), OpenMode::New) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(node), _) => node,
            (None, OpenMode::Existing) => return Err(io::ErrorKind::NotFound.into()),
            (None, _) => {
                world.step()?;
                world.files.push(Node::default());
                let node = world.files.len() - 1;
                world.shown.insert(path.to_owned(), node);
                node
            }
        };
        Ok(Box::new(SimFile { world: self.0.clone(), node }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        world.step()?;
        world.shown.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        world.step()?;
        let node = world.shown.remove(from).ok_or(io::ErrorKind::NotFound)?;
        world.shown.insert(to.to_owned(), node);
        world.durable.remove(from);
        world.durable.insert(to.to_owned(), node);
        Ok(())
    }

    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let world = self.0.lock();
        world.check_whole()?;
        let depth = dir.components().count() + 1;
        let below = world.shown.keys().filter(|path| path.starts_with(dir));
        let mut entries: Vec<PathBuf> = below.map(|path| path.components().take(depth).collect()).collect();
        entries.dedup();
        Ok(entries)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        world.step()?;
        world.dir_syncs += 1;
        let World { shown, durable, .. } = &mut *world;
        durable.retain(|path, _| path.parent() != Some(dir));
        durable.extend(shown.iter().filter(|(path, _)| path.parent() == Some(dir)).map(|(p, n)| (p.clone(), *n)));
        Ok(())
    }

    fn sync_all(&self, _dir: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        world.step()?;
        world.whole_syncs += 1;
        let World { files, shown, durable, broken, faults, .. } = &mut *world;
        let sound = files.iter_mut().enumerate().filter(|(node, _)| !broken.contains(node));
        sound.for_each(|(_, node)| node.durable.clone_from(&node.shown));
        durable.clone_from(shown);
        let told = !broken.is_empty() && !faults.whole_syncs_hide;
        if told || faults.whole_syncs_fail || faults.syncs_fail {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        Ok(())
    }

    fn capacity(&self, _dir: &Path) -> io::Result<Capacity> {
        let mut world = self.0.lock();
        world.check_whole()?;
        world.capacity_asked += 1;
        Ok(Capacity { total: TOTAL, free: world.faults.free.unwrap_or(TOTAL) })
    }

    fn read_from_disk(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let world = self.0.lock();
        world.check_whole()?;
        let node = world.shown.get(path).ok_or(io::ErrorKind::NotFound)?;
        let bytes = world.files[*node].shown.get(offset as usize..).unwrap_or_default();
        Ok(bytes[..bytes.len().min(len)].to_vec())
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let world = self.world.lock();
        world.check_whole()?;
        let bytes = world.files[self.node].shown.get(offset as usize..).unwrap_or_default();
        let n = bytes.len().min(buf.len());
        buf[..n].copy_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn read_cached_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.world.lock().rng.random() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let mut world = self.world.lock();
        world.step()?;
        let n = world.take_room(buf.len())?;
        let World { files, rng, .. } = &mut *world;
        let node = &mut files[self.node];
        let end = offset as usize + n;
        if node.shown.len() < end {
            node.shown.resize(end, 0);
        }
        node.write_back(rng);
        node.shown[offset as usize..end].copy_from_slice(&buf[..n]);
        node.write_back(rng);
        Ok(n)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut world = self.world.lock();
        world.step()?;
        let shown = &mut world.files[self.node].shown;
        let end = shown.len().min((offset + len) as usize);
        shown.get_mut(offset as usize..end).unwrap_or_default().fill(0);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut world = self.world.lock();
        world.step()?;
        world.files[self.node].shown.resize(len as usize, 0);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.world.lock().files[self.node].shown.len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.world.lock();
        world.sync()?;
        world.check(self.node)?;
        let node = &mut world.files[self.node];
        node.durable.clone_from(&node.shown);
        Ok(())
    }

    fn check_written(&self) -> io::Result<()> {
        self.world.lock().check(self.node)
    }

    fn data_ranges(&self) -> io::Result<Vec<(u64, u64)>> {
        let world = self.world.lock();
        let sectors = world.files[self.node].shown.chunks(4096).enumerate();
        let filled = sectors.filter(|(_, bytes)| bytes.iter().any(|b| *b != 0));
        Ok(filled.map(|(n, bytes)| (n as u64 * 4096, bytes.len() as u64)).collect())
    }
}
