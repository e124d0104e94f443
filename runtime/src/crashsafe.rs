//! The one audited way in this workspace to replace or create a file so that a crash leaves the old one or the new one, whole.
//!
//! Write to a temporary name, `fsync` the file, rename it over the target, `fsync` the directory. A rename without the first
//! sync may surface as an empty file after a power cut; without the second, the name itself may be lost.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Ending of the temporary files that [`write_atomic`] and [`AtomicFile`] leave behind when the process dies half way.
pub const TMP_SUFFIX: &str = ".tmp";

/// A file that becomes visible under its final name only by [`AtomicFile::commit`].
///
/// Dropped without `commit`, it removes its temporary file (best effort: a crash leaves it; see [`remove_leftovers`]).
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    tmp: PathBuf,
    target: PathBuf,
    committed: bool,
}

impl AtomicFile {
    /// Opens `target` + [`TMP_SUFFIX`] for writing, truncating a leftover.
    pub fn create(target: &Path) -> io::Result<Self> {
        let tmp = tmp_path(target);
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&tmp)?;
        Ok(Self { file, tmp, target: target.to_owned(), committed: false })
    }

    /// Syncs what was written and moves it to its final name, durably.
    pub fn commit(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        rename_durable(&self.tmp, &self.target)?;
        self.committed = true;
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.committed {
            let _ = std::fs::remove_file(&self.tmp);
        }
    }
}

/// Replaces `target` by `bytes`, durably and atomically.
pub fn write_atomic(target: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create(target)?;
    file.write_all(bytes)?;
    file.commit()
}

/// Renames a file whose contents are already synced, and syncs the directory (both, where they differ).
pub fn rename_durable(from: &Path, to: &Path) -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place: both syncs stand around it")]
    std::fs::rename(from, to)?;
    sync_parent(to)?;
    if from.parent() != to.parent() {
        sync_parent(from)?;
    }
    Ok(())
}

/// Removes `path` and makes the removal durable.
pub fn remove_durable(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)?;
    sync_parent(path)
}

/// Creates `dir` and its parents, each made durable in the directory above it.
pub fn create_dir_all(dir: &Path) -> io::Result<()> {
    if dir.as_os_str().is_empty() || dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        create_dir_all(parent)?;
    }
    match std::fs::create_dir(dir) {
        Ok(()) => sync_parent(dir),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(e) => Err(e),
    }
}

/// Makes the directory that holds `path` durable: names created, renamed or removed in it survive a power cut.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// `fsync` of a directory.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Removes the temporary files that a crash left in `dir`. Returns how many there were.
pub fn remove_leftovers(dir: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.as_os_str().as_encoded_bytes().ends_with(TMP_SUFFIX.as_bytes()) && path.is_file() {
            std::fs::remove_file(&path)?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn tmp_path(target: &Path) -> PathBuf {
    let mut name = OsString::from(target);
    name.push(TMP_SUFFIX);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn abandoned_write_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write_atomic(&path, b"one").unwrap();
        let mut half = AtomicFile::create(&path).unwrap();
        half.write_all(b"tw").unwrap();
        drop(half);
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_eq!(remove_leftovers(dir.path()).unwrap(), 0);
    }

    #[test]
    fn leftovers_of_a_crash_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f.tmp"), b"half").unwrap();
        std::fs::write(dir.path().join("f"), b"whole").unwrap();
        assert_eq!(remove_leftovers(dir.path()).unwrap(), 1);
        assert_eq!(std::fs::read(dir.path().join("f")).unwrap(), b"whole");
    }

    #[test]
    fn nested_directories() {
        let dir = tempfile::tempdir().unwrap();
        create_dir_all(&dir.path().join("a/b/c")).unwrap();
        create_dir_all(&dir.path().join("a/b/c")).unwrap();
        assert!(dir.path().join("a/b/c").is_dir());
    }
}
