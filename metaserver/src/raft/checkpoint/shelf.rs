//! The directory of checkpoints.

use std::path::{Path, PathBuf};

use cairn_runtime::crashsafe;
use parking_lot::Mutex;

use super::{CheckpointError, CheckpointHeader, CheckpointReader, write};
use crate::raft::log::EntryId;
use crate::store::Image;

/// Checkpoints that are kept.
const KEEP: usize = 2;

/// Ending of checkpoint files.
const SUFFIX: &str = "ckpt";

/// The checkpoints that there are, the newest two of them kept.
///
/// A file's name is the number of commands applied in it, in twenty digits.
#[derive(Debug)]
pub struct Checkpoints {
    dir: PathBuf,
    /// Oldest first. Their headers are valid; the rest of them is verified when they are written and when they are loaded.
    kept: Mutex<Vec<Kept>>,
}

#[derive(Debug, Clone)]
struct Kept {
    path: PathBuf,
    header: CheckpointHeader,
}

impl Checkpoints {
    /// Lists what is in `dir`, which exists. A file that does not begin as a checkpoint is reported and passed over.
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        crashsafe::remove_leftovers(dir).map_err(|e| CheckpointError::io("listing", dir, e))?;
        let mut kept = Vec::new();
        for path in list(dir)? {
            match CheckpointReader::open(&path) {
                Ok(reader) => kept.push(Kept { header: reader.header().clone(), path }),
                Err(error) => tracing::warn!(%error, "passing over a checkpoint"),
            }
        }
        Ok(Self { dir: dir.to_owned(), kept: Mutex::new(kept) })
    }

    /// Headers and files, newest first.
    pub fn newest_first(&self) -> Vec<(CheckpointHeader, PathBuf)> {
        self.kept.lock().iter().rev().map(|kept| (kept.header.clone(), kept.path.clone())).collect()
    }

    /// The newest header.
    pub fn newest(&self) -> Option<CheckpointHeader> {
        self.kept.lock().last().map(|kept| kept.header.clone())
    }

    /// The entry up to which the log can be dropped: everything after it is needed to start from the oldest checkpoint kept.
    pub fn log_floor(&self) -> Option<EntryId> {
        let kept = self.kept.lock();
        kept.first().filter(|_| kept.len() >= KEEP).map(|oldest| oldest.header.entry)
    }

    /// Bytes that the next checkpoint may take, judged by the newest one.
    pub fn expected_bytes(&self) -> u64 {
        let newest = self.kept.lock().last().map(|kept| kept.path.clone());
        newest.and_then(|path| path.metadata().ok()).map_or(0, |metadata| metadata.len() * 2)
    }

    /// Where they are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes `image` as a checkpoint named by `number`, reads it back, and drops those that are not to be kept.
    pub fn take(&self, number: u64, entry: EntryId, mut image: Image) -> Result<CheckpointHeader, CheckpointError> {
        let header = CheckpointHeader { entry, meta: image.meta().clone() };
        let path = self.path_of(number);
        write(&path, &header, &mut image)?;
        self.add(path)
    }

    /// Moves in a checkpoint that came from elsewhere.
    pub fn adopt(&self, number: u64, from: &Path) -> Result<CheckpointHeader, CheckpointError> {
        let path = self.path_of(number);
        let moved = std::fs::File::open(from).and_then(|file| file.sync_all());
        let moved = moved.and_then(|()| crashsafe::rename_durable(from, &path));
        moved.map_err(|e| CheckpointError::io("moving", from, e))?;
        self.add(path)
    }

    /// Verifies a file that is in place, and counts it in.
    fn add(&self, path: PathBuf) -> Result<CheckpointHeader, CheckpointError> {
        let header = match verify(&path) {
            Ok(header) => header,
            Err(error) => {
                // It must not be taken for one later.
                let _ = crashsafe::remove_durable(&path);
                return Err(error);
            }
        };
        let mut kept = self.kept.lock();
        kept.retain(|other| other.path != path);
        kept.push(Kept { path, header: header.clone() });
        let surplus = kept.len().saturating_sub(KEEP);
        kept.drain(..surplus);
        self.remove_others(&kept);
        Ok(header)
    }

    /// Removes all files but `kept`, those that were passed over included: the newest two are known to be good now.
    fn remove_others(&self, kept: &[Kept]) {
        if kept.len() < KEEP {
            return;
        }
        for path in list(&self.dir).unwrap_or_default() {
            if kept.iter().all(|kept| kept.path != path)
                && let Err(error) = crashsafe::remove_durable(&path)
            {
                tracing::warn!(%error, path = %path.display(), "an old checkpoint was not removed");
            }
        }
    }

    /// The file of the checkpoint named by `number`.
    pub fn path_of(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:020}.{SUFFIX}"))
    }

    /// Where a checkpoint that is being received is put.
    pub fn incoming(&self) -> PathBuf {
        self.dir.join(format!("incoming{}", crashsafe::TMP_SUFFIX))
    }
}

/// Reads all of a checkpoint.
fn verify(path: &Path) -> Result<CheckpointHeader, CheckpointError> {
    let mut reader = CheckpointReader::open(path)?;
    while reader.next_block()?.is_some() {}
    Ok(reader.header().clone())
}

fn list(dir: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    let failed = |e| CheckpointError::io("listing", dir, e);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == SUFFIX) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
