//! What a call answered.

use nix::errno::Errno;

/// Success with what can be compared, or the errno.
pub type Outcome = Result<Value, Errno>;

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Done,
    Count(u64),
    Bytes(Vec<u8>),
    Names(Vec<String>),
    Stat(Stat),
    Times { atime: Option<(i64, i64)>, mtime: Option<(i64, i64)> },
}

/// The attributes that two file systems must agree on. Inode numbers, block counts and sizes of directories are each one's own.
#[derive(Debug, Clone, PartialEq)]
pub struct Stat {
    pub mode: u32,
    pub nlink: u64,
    pub uid: u32,
    pub gid: u32,
    /// 0 for directories.
    pub size: i64,
    pub rdev: u64,
}

impl From<libc::stat> for Stat {
    fn from(s: libc::stat) -> Self {
        let directory = s.st_mode & libc::S_IFMT == libc::S_IFDIR;
        Self {
            mode: s.st_mode,
            nlink: s.st_nlink,
            uid: s.st_uid,
            gid: s.st_gid,
            size: if directory { 0 } else { s.st_size },
            rdev: s.st_rdev,
        }
    }
}
