//! The filesystems that are compared.

mod cairn;
mod local;
mod moosefs;
mod null;

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;

use crate::error::BenchError;

/// A running filesystem. Dropping it takes it down, with whatever it has started.
pub trait Target: Debug {
    /// The directory in which workloads work.
    fn root(&self) -> &Path;

    /// Empties every cache between the workloads and the disk that is cheap to empty, at least the kernel's and the client's.
    /// No file of the target may be open.
    fn make_cold(&mut self) -> Result<(), BenchError>;

    /// Makes the disk below hold all that the target's servers have been given.
    fn sync_backing(&self) -> Result<(), BenchError>;

    /// Whether what is written can be read again.
    fn keeps_data(&self) -> bool {
        true
    }

    /// Has the client give its servers whatever it still holds of what is closed. syncfs on a FUSE mount does not reach it.
    fn sync_client(&self) -> Result<(), BenchError> {
        Ok(())
    }

    /// Unmounts and ends everything, and says what did not go well.
    fn stop(self: Box<Self>) -> Result<(), BenchError>;
}

/// The filesystems that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// A directory on the disk that is below all of the others.
    Local,
    /// A FUSE filesystem that does nothing.
    Null,
    /// MooseFS as it is installed.
    Moosefs,
    /// MooseFS made to sync chunks and changelog, which is nearer to what CairnFS promises.
    MoosefsDurable,
    /// CairnFS.
    Cairn,
}

/// Where a target is set up and what it is made of.
#[derive(Debug, Clone)]
pub struct Site {
    /// An empty directory of its own on the disk under test.
    pub directory: PathBuf,
    /// Where daemons log.
    pub logs: PathBuf,
    pub cairn_program: PathBuf,
    pub null_program: PathBuf,
}

/// Chunkservers of a cluster.
pub const CHUNKSERVERS: u16 = 3;

/// Copies of every chunk.
pub const COPIES: u16 = 2;

impl TargetKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Null => "null",
            Self::Moosefs => "moosefs",
            Self::MoosefsDurable => "moosefs-durable",
            Self::Cairn => "cairn",
        }
    }

    /// Sets the filesystem up from nothing and waits until it answers.
    pub fn start(self, site: Site) -> Result<Box<dyn Target>, BenchError> {
        Ok(match self {
            Self::Local => Box::new(local::Local::start(&site)?),
            Self::Null => Box::new(null::Null::start(&site)?),
            Self::Moosefs => Box::new(moosefs::MooseFs::start(&site, moosefs::Durability::AsInstalled)?),
            Self::MoosefsDurable => Box::new(moosefs::MooseFs::start(&site, moosefs::Durability::Synced)?),
            Self::Cairn => Box::new(cairn::Cairn::start(site)?),
        })
    }
}
