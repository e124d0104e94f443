//! What is mounted at a place, and whether a process still answers for it.

use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use cairn_proto::transport::Endpoint;
use nix::errno::Errno;

use super::mountinfo;

/// File system type, as `mount` and `findmnt` show it.
pub(super) const FS_TYPE: &str = "fuse.cairn";

/// A dead mount answers at once; a live one may wait for its servers.
const ANSWER_LIMIT: Duration = Duration::from_millis(500);

/// What is on top at a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// No CairnFS.
    Free,
    /// A mount with a process behind it, of the file system named here.
    Mounted { source: String },
    /// A mount whose process is gone: whoever comes near is told `Transport endpoint is not connected`.
    Dead { source: String },
}

impl Place {
    /// Looks at `mountpoint`, a real path. Never waits for servers.
    pub fn of(mountpoint: &Path) -> Self {
        let is_ours = |mount: &mountinfo::MountInfo| mount.kind == FS_TYPE || mount.source.starts_with("cairn#");
        match mountinfo::at(mountpoint).filter(is_ours) {
            None => Self::Free,
            Some(mount) if is_dead(mountpoint) => Self::Dead { source: mount.source },
            Some(mount) => Self::Mounted { source: mount.source },
        }
    }

    /// A dead mount of this file system.
    pub fn is_dead_mount_of(&self, metaserver: &Endpoint) -> bool {
        matches!(self, Self::Dead { source } if *source == source_of(metaserver))
    }
}

/// Names the cluster in `mount`'s output: `cairn#HOST:PORT`.
pub(super) fn source_of(metaserver: &Endpoint) -> String {
    format!("cairn#{metaserver}")
}

fn is_dead(mountpoint: &Path) -> bool {
    let (say, answer) = channel();
    let path = mountpoint.to_owned();
    // A thread of its own: a mount that lives may keep it waiting.
    thread::spawn(move || {
        let answer = nix::sys::statvfs::statvfs(&path);
        let _ = say.send(matches!(answer, Err(Errno::ENOTCONN | Errno::ECONNABORTED)));
    });
    answer.recv_timeout(ANSWER_LIMIT).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_is_no_mount() {
        assert_eq!(Place::of(Path::new("/")), Place::Free);
        assert_eq!(Place::of(Path::new("/no/such/directory")), Place::Free);
    }

    #[test]
    fn only_a_dead_mount_of_the_same_cluster_may_be_replaced() {
        let metaserver: Endpoint = "meta:7400".parse().unwrap();
        let source = source_of(&metaserver);
        assert!(Place::Dead { source: source.clone() }.is_dead_mount_of(&metaserver));
        assert!(!Place::Dead { source: "cairn#other:7400".into() }.is_dead_mount_of(&metaserver));
        assert!(!Place::Mounted { source }.is_dead_mount_of(&metaserver));
    }
}
