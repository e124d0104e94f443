//! One directory as it is found at a start, before it is decided whether it is used.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use cairn_runtime::crashsafe;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::identity::Identity;
use super::{DataDirError, io_error};
use crate::store::layout::Layout;

/// What may be in a directory that no server has used yet.
const NO_CONTENT: [&str; 3] = ["lock", "identity.tmp", "lost+found"];

/// A directory that can be used, locked for this process.
#[derive(Debug)]
pub struct Locked {
    pub layout: Layout,
    _lock: Flock<File>,
}

/// What was found.
#[derive(Debug)]
pub enum Candidate {
    Used(Locked, Identity),
    Empty(Locked),
    Absent,
    Unusable(DataDirError),
}

impl Candidate {
    /// Looks at a directory. Fails where nobody may go on without somebody's looking at it.
    pub fn look(root: &Path) -> Result<Self, DataDirError> {
        match look(root) {
            Err(error) if error.is_of_the_disk() => Ok(Self::Unusable(error)),
            looked => looked,
        }
    }
}

impl Locked {
    /// A directory that is made where there is none.
    pub fn make(root: &Path) -> Result<Self, DataDirError> {
        crashsafe::create_dir_all(root).map_err(io_error(root, "create the directory"))?;
        Self::of(Layout::new(root))
    }

    fn of(layout: Layout) -> Result<Self, DataDirError> {
        let path = layout.lock();
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(io_error(&path, "open it"))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => DataDirError::InUse { path: layout.root().to_owned() },
            errno => io_error(&path, "lock it")(errno.into()),
        })?;
        Ok(Self { layout, _lock: lock })
    }
}

fn look(root: &Path) -> Result<Candidate, DataDirError> {
    match std::fs::symlink_metadata(root) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Candidate::Absent),
        Err(error) => return Err(io_error(root, "look at it")(error)),
    }
    let layout = Layout::new(root);
    let path = layout.identity();
    // Read before anything is written: what is not ours stays as it is.
    match std::fs::read(&path) {
        Ok(_) => {
            let locked = Locked::of(layout)?;
            // Again, now that nobody else changes it.
            let bytes = std::fs::read(&path).map_err(io_error(&path, "read it"))?;
            Ok(Candidate::Used(locked, Identity::decode(&bytes, root)?))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            refuse_content(root)?;
            Ok(Candidate::Empty(Locked::of(layout)?))
        }
        Err(source) => Err(io_error(&path, "read it")(source)),
    }
}

fn refuse_content(root: &Path) -> Result<(), DataDirError> {
    let entries = std::fs::read_dir(root).map_err(io_error(root, "list it"))?;
    for entry in entries {
        let found = entry.map_err(io_error(root, "list it"))?.file_name().to_string_lossy().into_owned();
        if !NO_CONTENT.contains(&found.as_str()) {
            return Err(DataDirError::Foreign { path: root.to_owned(), found });
        }
    }
    Ok(())
}
