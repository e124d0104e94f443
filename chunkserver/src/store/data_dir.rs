//! A data directory as a whole: whose it is, and that one server at a time uses it.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use cairn_proto::ids::{ClusterId, ServerId};
use cairn_runtime::crashsafe;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::seal::{SealError, format_of, seal, unseal};

const MAGIC: [u8; 8] = *b"CAIRNCSD";
/// Format of [`Identity`], and with it of the directory's layout.
const FORMAT: u16 = 2;
/// The oldest one that is read. Format 1 kept a chunk in two files, and was never released.
const OLDEST_FORMAT: u16 = 2;
/// What may be in a directory that no server has used yet.
const NO_CONTENT: [&str; 3] = ["lock", "identity.tmp", "lost+found"];

/// Whose directory it is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
struct Identity {
    /// Made at the first start.
    server: ServerId,
    /// Learned at the first registration.
    cluster: Option<ClusterId>,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("{path}: cannot {what}")]
    Io { path: PathBuf, what: &'static str, source: io::Error },
    #[error("{path}: another chunkserver runs on this directory")]
    InUse { path: PathBuf },
    #[error(
        "{path}: not a chunkserver's directory (there is `{found}`, but no `identity`): give the server an empty one"
    )]
    Foreign { path: PathBuf, found: String },
    #[error(
        "{path}: its `identity` file is damaged ({source}): restore it, or move the directory away and start empty"
    )]
    Damaged { path: PathBuf, source: SealError },
    #[error(
        "{path}: it is of format {found}, from before the first release, which no release reads: start with an empty directory"
    )]
    Older { path: PathBuf, found: u16 },
    #[error("{path}: it belongs to cluster {theirs}, not {ours}")]
    OtherCluster { path: PathBuf, ours: ClusterId, theirs: ClusterId },
}

/// A data directory, locked for this process.
#[derive(Debug)]
pub struct DataDir {
    layout: Layout,
    identity: Mutex<Identity>,
    _lock: Flock<File>,
}

impl DataDir {
    /// Opens a directory, or makes a new one where there is none or an empty one.
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        let layout = Layout::new(root);
        crashsafe::create_dir_all(root).map_err(io_error(root, "create the directory"))?;
        let lock = lock(&layout)?;
        let path = layout.identity();
        let identity = match std::fs::read(&path) {
            Ok(bytes) => {
                let identity = unseal(MAGIC, FORMAT, &bytes)
                    .map_err(|source| DataDirError::Damaged { path: root.to_owned(), source })?;
                if let Some(found) = format_of(&bytes).filter(|found| *found < OLDEST_FORMAT) {
                    return Err(DataDirError::Older { path: root.to_owned(), found });
                }
                identity
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                refuse_content(root)?;
                let identity = Identity { server: ServerId::random(), cluster: None };
                store(&path, &identity)?;
                identity
            }
            Err(source) => return Err(io_error(&path, "read it")(source)),
        };
        Ok(Self { layout, identity: identity.into(), _lock: lock })
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    pub fn server(&self) -> ServerId {
        self.identity.lock().server
    }

    /// `None` before the first registration.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.identity.lock().cluster
    }

    /// Makes the directory a part of `cluster`, durably and for good.
    pub fn join(&self, cluster: ClusterId) -> Result<(), DataDirError> {
        let mut identity = self.identity.lock();
        match identity.cluster {
            Some(theirs) if theirs == cluster => return Ok(()),
            Some(theirs) => {
                let path = self.layout.root().to_owned();
                return Err(DataDirError::OtherCluster { path, ours: cluster, theirs });
            }
            None => {}
        }
        let joined = Identity { cluster: Some(cluster), ..*identity };
        store(&self.layout.identity(), &joined)?;
        *identity = joined;
        Ok(())
    }
}

fn lock(layout: &Layout) -> Result<Flock<File>, DataDirError> {
    let path = layout.lock();
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(io_error(&path, "open it"))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => DataDirError::InUse { path: layout.root().to_owned() },
        errno => io_error(&path, "lock it")(errno.into()),
    })
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

fn store(path: &Path, identity: &Identity) -> Result<(), DataDirError> {
    let bytes = seal(MAGIC, FORMAT, identity).map_err(|e| io_error(path, "encode it")(io::Error::other(e)))?;
    crashsafe::write_atomic(path, &bytes).map_err(io_error(path, "write it"))
}

fn io_error(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> DataDirError {
    move |source| DataDirError::Io { path: path.to_owned(), what, source }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn golden_identity() {
        let id = |n: u8| Uuid::from_bytes([n; 16]);
        let identity = Identity { server: ServerId(id(0xab)), cluster: Some(ClusterId(id(0xcd))) };
        let bytes = seal(MAGIC, FORMAT, &identity).unwrap();
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let body = format!("10{}0110{}", "ab".repeat(16), "cd".repeat(16));
        assert_eq!(hex, format!("434149524e43534402002300e9e3a07c{body}"));
    }

    #[test]
    fn keeps_its_identity() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("new/data");
        let cluster = ClusterId::random();
        let server = {
            let data = DataDir::open(&root).unwrap();
            assert_eq!(data.cluster(), None);
            data.join(cluster).unwrap();
            data.server()
        };
        let data = DataDir::open(&root).unwrap();
        assert_eq!((data.server(), data.cluster()), (server, Some(cluster)));
        data.join(cluster).unwrap();
        let other = ClusterId::random();
        assert!(matches!(data.join(other), Err(DataDirError::OtherCluster { theirs, .. }) if theirs == cluster));
    }

    #[test]
    fn a_directory_of_before_the_first_release_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity");
        let old = seal(MAGIC, 1, &Identity { server: ServerId::random(), cluster: None }).unwrap();
        std::fs::write(&path, &old).unwrap();
        assert!(matches!(DataDir::open(dir.path()), Err(DataDirError::Older { found: 1, .. })));
        assert_eq!(std::fs::read(&path).unwrap(), old);
    }

    #[test]
    fn one_server_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(dir.path()).unwrap();
        assert!(matches!(DataDir::open(dir.path()), Err(DataDirError::InUse { .. })));
        drop(first);
        DataDir::open(dir.path()).unwrap();
    }

    #[test]
    fn other_peoples_files_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("photo.jpg"), b"x").unwrap();
        let error = DataDir::open(dir.path()).unwrap_err();
        assert!(matches!(&error, DataDirError::Foreign { found, .. } if found == "photo.jpg"), "{error}");
        assert!(!dir.path().join("identity").exists());
    }

    #[test]
    fn a_damaged_identity_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path()).unwrap());
        let path = dir.path().join("identity");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[20] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(DataDir::open(dir.path()), Err(DataDirError::Damaged { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}
