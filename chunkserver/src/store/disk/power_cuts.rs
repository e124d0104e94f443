//! The operating system's files, on a disk whose power is cut at each start: what was not synced before is gone then. For tests with real
//! processes, in builds with faults only ([`cairn_runtime::faults::POWER_CUTS`]).
//!
//! What a write is about to change is put down first, in a journal of the file that stands beside the data directory; a sync of the file
//! empties it. A start puts back whatever the journals hold, the latest first. Likewise names that were made and not synced with their directory.
//! Removals and renames are durable at once, and so is a length that grew by a sync.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Capacity, Disk, DiskFile, OpenMode, OsDisk};

/// Offset, length of the file before, and number of bytes of a journal's entry, eight bytes each.
const ENTRY_HEAD: usize = 24;

/// See the module.
#[derive(Clone, Debug)]
pub struct PowerCuts {
    journals: PathBuf,
    open: Arc<Mutex<HashMap<PathBuf, Arc<Journal>>>>,
}

/// What is not synced of one file.
#[derive(Debug)]
struct Journal {
    /// Held while the file is changed, so that the journal is in the order of the changes.
    file: Mutex<File>,
    name: PathBuf,
}

#[derive(Debug)]
struct CutFile {
    file: Box<dyn DiskFile>,
    journal: Arc<Journal>,
}

impl PowerCuts {
    /// Cuts the power of the disk with the data directory `root`. Answers what is left.
    pub fn cut(root: &Path) -> io::Result<Self> {
        let journals = root.with_extension("unsynced");
        fs::create_dir_all(&journals)?;
        let (mut files, mut forgotten) = (0, 0);
        for entry in fs::read_dir(&journals)? {
            let journal = entry?.path();
            let (target, is_name) = target_of(&journal)?;
            if is_name {
                remove(&target)?;
            } else {
                forgotten += put_back(&journal, &target)?;
            }
            files += 1;
            fs::remove_file(&journal)?;
        }
        tracing::warn!(files, forgotten, "a power cut: what was not synced is forgotten");
        Ok(Self { journals, open: Arc::default() })
    }

    fn journal(&self, path: &Path) -> io::Result<Arc<Journal>> {
        let mut open = self.open.lock();
        if let Some(journal) = open.get(path) {
            return Ok(journal.clone());
        }
        let file = OpenOptions::new().read(true).append(true).create(true).open(self.place(path, "bytes"))?;
        let journal = Arc::new(Journal { file: Mutex::new(file), name: self.place(path, "name") });
        open.insert(path.to_owned(), journal.clone());
        Ok(journal)
    }

    /// Where the journal of `path` is: its name is the path, with other separators.
    fn place(&self, path: &Path, kind: &str) -> PathBuf {
        self.journals.join(format!("{kind}{}", path.display().to_string().replace('/', "\\")))
    }

    fn forget(&self, path: &Path) -> io::Result<()> {
        self.open.lock().remove(path);
        remove(&self.place(path, "bytes"))?;
        remove(&self.place(path, "name"))
    }
}

/// The file that a journal is about, and whether it says that its name is not synced.
fn target_of(journal: &Path) -> io::Result<(PathBuf, bool)> {
    let name = journal.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidData)?;
    let (kind, path) = name.split_once('\\').ok_or(io::ErrorKind::InvalidData)?;
    Ok((PathBuf::from(format!("/{}", path.replace('\\', "/"))), kind == "name"))
}

/// As `remove_file`, where there may be none.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Undoes what a journal holds. Answers how many bytes.
fn put_back(journal: &Path, target: &Path) -> io::Result<usize> {
    let mut bytes = Vec::new();
    File::open(journal)?.read_to_end(&mut bytes)?;
    let mut entries = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some((head, behind)) = rest.split_first_chunk::<ENTRY_HEAD>() {
        let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap_or_default());
        let (offset, length, count) = (number(0), number(8), number(16) as usize);
        // The last one may be cut short: then what it is about was not changed.
        let Some(old) = behind.get(..count) else { break };
        entries.push((offset, length, old));
        rest = &behind[count..];
    }
    let file = match OpenOptions::new().write(true).open(target) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        opened => opened?,
    };
    for (offset, length, old) in entries.iter().rev() {
        file.write_all_at(old, *offset)?;
        file.set_len(*length)?;
    }
    Ok(entries.iter().map(|(_, _, old)| old.len()).sum())
}

impl Journal {
    /// Does `change`, which concerns `len` bytes from `offset` on, once it is noted what they are.
    fn change<T>(
        &self,
        file: &dyn DiskFile,
        offset: u64,
        len: u64,
        change: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let mut journal = self.file.lock();
        let length = file.length()?;
        let mut old = vec![0; len.min(length.saturating_sub(offset)) as usize];
        let count = file.read_at(&mut old, offset)?;
        let head = [offset, length, count as u64].map(u64::to_le_bytes).concat();
        journal.write_all(&[&head, &old[..count]].concat())?;
        change()
    }

    /// Does `sync`, after which nothing of what was done before is forgotten.
    fn synced(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut journal = self.file.lock();
        sync()?;
        journal.set_len(0)?;
        journal.seek(SeekFrom::Start(0)).map(drop)
    }
}

impl Disk for PowerCuts {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let is_new = !path.exists();
        let journal = self.journal(path)?;
        if is_new && mode != OpenMode::Existing {
            File::create(&journal.name)?;
        }
        let file = OsDisk.open(path, mode)?;
        Ok(Box::new(CutFile { file, journal }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove(path)?;
        self.forget(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.forget(to)?;
        OsDisk.rename(from, to)?;
        self.forget(from)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        OsDisk.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        OsDisk.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsDisk.sync_dir(dir)?;
        let open = self.open.lock();
        open.iter().filter(|(path, _)| path.parent() == Some(dir)).try_for_each(|(_, journal)| remove(&journal.name))
    }

    fn sync_all(&self, dir: &Path) -> io::Result<()> {
        OsDisk.sync_all(dir)?;
        let open: Vec<Arc<Journal>> = self.open.lock().values().cloned().collect();
        open.iter().try_for_each(|journal| {
            journal.synced(|| Ok(()))?;
            remove(&journal.name)
        })
    }

    fn capacity(&self, dir: &Path) -> io::Result<Capacity> {
        OsDisk.capacity(dir)
    }

    fn device(&self, dir: &Path) -> Option<u64> {
        OsDisk.device(dir)
    }

    fn read_from_disk(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        OsDisk.read_from_disk(path, offset, len)
    }
}

impl DiskFile for CutFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn read_cached_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_cached_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.journal.change(&*self.file, offset, buf.len() as u64, || self.file.write_at(buf, offset))
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.journal.change(&*self.file, offset, len, || self.file.punch(offset, len))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.journal.change(&*self.file, len, u64::MAX, || self.file.set_len(len))
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.journal.synced(|| self.file.sync_data())
    }

    fn check_written(&self) -> io::Result<()> {
        self.file.check_written()
    }

    fn data_ranges(&self) -> io::Result<Vec<(u64, u64)>> {
        self.file.data_ranges()
    }
}

#[cfg(test)]
mod tests {
    use super::super::write_all_at;
    use super::*;

    #[test]
    fn what_was_synced_is_there_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("data");
        fs::create_dir(&root).unwrap();
        let disk = PowerCuts::cut(&root).unwrap();
        let (kept, lost) = (root.join("kept"), root.join("lost"));
        let file = disk.open(&kept, OpenMode::New).unwrap();
        write_all_at(&*file, b"synced", 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(&root).unwrap();
        write_all_at(&*file, b"SYN", 0).unwrap();
        write_all_at(&*file, b"more", 6).unwrap();
        file.punch(0, 2).unwrap();
        file.set_len(4).unwrap();
        disk.open(&lost, OpenMode::New).unwrap();
        let disk = PowerCuts::cut(&root).unwrap();
        assert_eq!(fs::read(&kept).unwrap(), b"synced");
        assert!(!lost.exists());
        let file = disk.open(&kept, OpenMode::Existing).unwrap();
        write_all_at(&*file, b"again", 0).unwrap();
        disk.sync_all(&root).unwrap();
        PowerCuts::cut(&root).unwrap();
        assert_eq!(fs::read(&kept).unwrap(), b"againd");
    }
}
