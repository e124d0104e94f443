//! What rots, vanishes or is cut off on a disk: chunk files of one chunkserver.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::copies::flip_bit;

/// Files that one fault damages at most.
const AT_ONCE: usize = 5;

/// How.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// One bit of each.
    Flip,
    /// Cut off somewhere, in the header, too.
    Truncate,
    Delete,
}

/// Damages some of the chunk files in a chunkserver's directory. Answers how many.
pub fn strike(data_dir: &Path, damage: Damage, rng: &mut StdRng) -> Result<usize> {
    let mut files = chunk_files(&data_dir.join("chunks"))?;
    // Directories are listed in no order, and a seed is to do the same again.
    files.sort();
    files.shuffle(rng);
    files.truncate(AT_ONCE);
    let mut done = 0;
    for path in &files {
        match hurt(path, damage, rng) {
            Ok(()) => done += 1,
            // Chunks come and go.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        }
    }
    Ok(done)
}

fn hurt(path: &Path, damage: Damage, rng: &mut StdRng) -> std::io::Result<()> {
    if damage == Damage::Delete {
        return fs::remove_file(path);
    }
    let size = fs::metadata(path)?.len();
    if size == 0 {
        return Ok(());
    }
    let at = rng.random_range(0..size);
    if damage == Damage::Truncate {
        return OpenOptions::new().write(true).open(path)?.set_len(at);
    }
    flip_bit(path, at, rng.random_range(0..8))
}

fn chunk_files(chunks: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if !chunks.exists() {
        // It has not been given any yet.
        return Ok(files);
    }
    for dir in fs::read_dir(chunks).with_context(|| chunks.display().to_string())? {
        for file in fs::read_dir(dir?.path())? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "chunk") {
                files.push(path);
            }
        }
    }
    Ok(files)
}
