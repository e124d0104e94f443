//! A plain directory: the disk and the filesystem below all other targets.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Site, Target};
use crate::error::{BenchError, IoContext};
use crate::kernel_cache;

#[derive(Debug)]
pub struct Local {
    root: PathBuf,
}

impl Local {
    pub fn start(site: &Site) -> Result<Self, BenchError> {
        let root = site.directory.join("files");
        fs::create_dir(&root).doing("create", &root)?;
        Ok(Self { root })
    }
}

impl Target for Local {
    fn root(&self) -> &Path {
        &self.root
    }

    fn make_cold(&mut self) -> Result<(), BenchError> {
        self.sync_backing()?;
        kernel_cache::drop_all()
    }

    fn sync_backing(&self) -> Result<(), BenchError> {
        kernel_cache::sync_filesystem(&self.root)
    }

    fn stop(self: Box<Self>) -> Result<(), BenchError> {
        Ok(())
    }
}
