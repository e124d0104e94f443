//! Copies of chunks as files in the data directories of chunkservers, for tests that lay hands on them.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cluster::Cluster;

/// Where a chunk's bytes begin in its file: see `docs/formats/chunk-files.md`.
pub const DATA_OFFSET: u64 = 135_168;

/// One copy of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyFile {
    /// Number of its chunkserver.
    pub server: usize,
    pub handle: u64,
    /// As of the metadata.
    pub version: u64,
    /// Bytes of the chunk.
    pub length: u64,
    pub path: PathBuf,
}

/// The copies that the metadata know of a file's chunks.
pub fn of(cluster: &Cluster, file: &str) -> Result<Vec<CopyFile>> {
    let info = cluster.cairn_json(&["info", file])?;
    let mut copies = Vec::new();
    for chunk in info["chunks"].as_array().context("info has chunks")? {
        let number = |key: &str| chunk[key].as_u64().with_context(|| format!("a chunk has a {key}"));
        let (handle, version, length) = (number("handle")?, number("version")?, number("length")?);
        for replica in chunk["replicas"].as_array().into_iter().flatten() {
            let name = replica["name"].as_str().context("a replica has a name")?;
            let server = name.trim_start_matches("chunk").parse()?;
            copies.push(CopyFile { server, handle, version, length, path: path(cluster, server, handle) });
        }
    }
    Ok(copies)
}

/// Where a chunkserver keeps its copy of a chunk.
pub fn path(cluster: &Cluster, server: usize, handle: u64) -> PathBuf {
    let directory = format!("chunks/{:03x}", (handle >> 8) & 0xfff);
    cluster.chunkserver_dir(server).join(directory).join(format!("{handle:016x}.chunk"))
}

impl CopyFile {
    /// The chunk's bytes in this copy.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(DATA_OFFSET))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Flips a bit of the byte at `offset` of the chunk.
    pub fn flip(&self, offset: u64) -> Result<()> {
        Ok(flip_bit(&self.path, DATA_OFFSET + offset, 4)?)
    }
}

/// Flips one of the eight bits of the byte at `offset` of a file.
pub fn flip_bit(path: &Path, offset: u64, bit: u32) -> std::io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)?;
    file.write_all_at(&[byte[0] ^ (1 << bit)], offset)
}
