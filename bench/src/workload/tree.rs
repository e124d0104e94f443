//! A source tree to unpack: the same files in every run, made once, as a tar file on a local disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use crate::error::{BenchError, IoContext};
use crate::tool;

/// The directory that all of the tar file is in.
pub const TREE_NAME: &str = "tree";

/// About what source repositories have.
const FILES_IN_A_DIRECTORY: u64 = 16;

/// One file in so many is large: a picture or a generated table among the sources.
const LARGE_EVERY: u64 = 50;

const SMALL_BYTES: std::ops::Range<usize> = 100..12_000;
const LARGE_BYTES: std::ops::Range<usize> = 50_000..200_000;

/// A tar file, not compressed, as a decompressor would be measured along with the filesystem.
#[derive(Debug)]
pub struct Tarball {
    path: PathBuf,
    pub files: u64,
}

impl Tarball {
    /// Makes a tree of `files` in `scratch` and packs it.
    pub fn build(scratch: &Path, files: u64) -> Result<Self, BenchError> {
        let tree = scratch.join(TREE_NAME);
        let mut random = StdRng::seed_from_u64(files);
        for index in 0..files {
            write_file(&tree, index, &mut random)?;
        }
        let path = scratch.join("tree.tar");
        // Sorted, and with owner and time fixed: the same archive in every run.
        let mut pack = Command::new("tar");
        pack.args(["--sort=name", "--mtime=@1700000000", "--owner=0", "--group=0", "--numeric-owner", "-cf"]);
        tool::run(pack.arg(&path).arg("-C").arg(scratch).arg(TREE_NAME))?;
        fs::remove_dir_all(&tree).doing("remove", &tree)?;
        Ok(Self { path, files })
    }

    /// Brings the tar file into the page cache, so that unpacking does not wait for the disk that it is on.
    pub fn preload(&self) -> Result<(), BenchError> {
        fs::read(&self.path).map(drop).doing("read", &self.path)
    }

    /// Unpacks into `directory` as a user would: owned by whoever unpacks.
    pub fn unpack(&self, directory: &Path) -> Result<(), BenchError> {
        let mut unpack = Command::new("tar");
        tool::run(unpack.args(["--no-same-owner", "-xf"]).arg(&self.path).arg("-C").arg(directory))
    }
}

fn write_file(tree: &Path, index: u64, random: &mut StdRng) -> Result<(), BenchError> {
    let leaf = index / FILES_IN_A_DIRECTORY;
    let directory = tree.join(format!("part-{:02}", leaf % 20)).join(format!("module-{leaf:04}"));
    fs::create_dir_all(&directory).doing("create", &directory)?;
    let range = if index % LARGE_EVERY == LARGE_EVERY - 1 { LARGE_BYTES } else { SMALL_BYTES };
    let mut bytes = vec![0; random.random_range(range)];
    random.fill_bytes(&mut bytes);
    let path = directory.join(format!("source-{index:05}.rs"));
    fs::write(&path, bytes).doing("write", &path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_the_same_in_every_run_and_unpacks_to_all_its_files() {
        let first = tempfile::tempdir().unwrap();
        let second = tempfile::tempdir().unwrap();
        let tarball = Tarball::build(first.path(), 60).unwrap();
        let twin = Tarball::build(second.path(), 60).unwrap();
        assert_eq!(fs::read(&tarball.path).unwrap(), fs::read(&twin.path).unwrap());

        tarball.unpack(second.path()).unwrap();
        let listing = tool::output(Command::new("find").arg(second.path().join(TREE_NAME)).args(["-type", "f"]));
        assert_eq!(listing.unwrap().lines().count(), 60);
    }
}
