//! Disks in memory: a tmpfs of a given size.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::run;

/// Mounted as long as it lives. It holds memory only for what is on it.
#[derive(Debug)]
pub struct MemoryDisk {
    path: PathBuf,
}

impl MemoryDisk {
    pub fn mount(path: &Path, bytes: u64) -> Result<Self> {
        std::fs::create_dir_all(path)?;
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(format!("size={bytes}").as_str()))?;
        Ok(Self { path: path.to_owned() })
    }

    /// Bytes that are free.
    pub fn free(&self) -> Result<u64> {
        let stat = nix::sys::statvfs::statvfs(&self.path)?;
        Ok(stat.blocks_available() as u64 * stat.fragment_size() as u64)
    }

    /// Takes all that is free, as long as the answer lives.
    pub fn fill(&self) -> Result<Ballast> {
        let path = self.path.join("ballast");
        let ballast = Ballast { path: path.clone() };
        let file = std::fs::File::create(&path)?;
        loop {
            let free = self.free()? as i64;
            match nix::fcntl::fallocate(&file, nix::fcntl::FallocateFlags::empty(), 0, free) {
                // Somebody was faster, and took some of it, or all.
                Err(Errno::ENOSPC) => {}
                Err(Errno::EINVAL) if free == 0 => return Ok(ballast),
                filled => return Ok(filled.map(|()| ballast)?),
            }
        }
    }

    /// Makes it larger, as an operator would who was called.
    pub fn grow(&self, bytes: u64) -> Result<()> {
        run::check(Command::new("mount").args(["-o", &format!("remount,size={bytes}")]).arg(&self.path)).map(|_| ())
    }
}

/// What a disk is full of. Dropped, there is room again.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Drop for MemoryDisk {
    fn drop(&mut self) {
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
    }
}
