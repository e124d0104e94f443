//! One process per data directory.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::OpenError;

/// How long to wait for the process before this one to be gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// Held for as long as anything in the directory may be written. The kernel releases it when the process dies.
#[derive(Debug)]
pub(super) struct DirLock {
    _file: Flock<File>,
}

impl DirLock {
    pub(super) fn acquire(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("lock");
        let failed = |source| OpenError::Io { action: "open", path: path.clone(), source };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        let deadline = Instant::now() + PATIENCE;
        let mut file = file;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => return Ok(Self { _file: file }),
                Err((back, Errno::EWOULDBLOCK)) if Instant::now() < deadline => file = back,
                Err((_, Errno::EWOULDBLOCK)) => return Err(OpenError::InUse { dir: dir.to_owned() }),
                Err((_, errno)) => return Err(OpenError::Io { action: "lock", path, source: errno.into() }),
            }
            std::thread::sleep(PATIENCE / 50);
        }
    }
}
