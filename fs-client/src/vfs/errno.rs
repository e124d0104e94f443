//! The one table from errors to error numbers. Exhaustive on purpose: a new error does not compile until its number is chosen.

use cairn_proto::error::FsError;
use cairn_proto::name::NameError;

use super::error::VfsError;
use crate::io::{self, IoError};
use crate::meta::MetaError;

impl VfsError {
    /// What `errno` is to a program.
    pub fn errno(&self) -> i32 {
        match self {
            Self::Meta(error) => meta(error),
            Self::Io(error) => contents(error),
            Self::LostChanges(_) | Self::LostSomething => libc::EIO,
            Self::Name(NameError::TooLong) => libc::ENAMETOOLONG,
            Self::Name(NameError::Invalid) => libc::EINVAL,
            Self::BadHandle(_) | Self::WrongAccess(_) => libc::EBADF,
            Self::Invalid(_) => libc::EINVAL,
            Self::Unsupported(_) => libc::EOPNOTSUPP,
            Self::NoSpace => libc::ENOSPC,
            Self::TooLarge => libc::EFBIG,
            Self::ReadOnly => libc::EROFS,
            Self::NoData => libc::ENXIO,
            Self::BufferTooSmall => libc::ERANGE,
            Self::Locked => libc::EAGAIN,
            Self::TooManyLocks => libc::ENOLCK,
            Self::Deadlock => libc::EDEADLK,
            Self::Interrupted => libc::EINTR,
        }
    }
}

fn meta(error: &MetaError) -> i32 {
    match error {
        MetaError::Refused(error) => refused(error),
        MetaError::TooLarge { .. } => libc::E2BIG,
        MetaError::TimedOut { .. } | MetaError::Stopping | MetaError::SessionLost | MetaError::Unexpected { .. } => {
            libc::EIO
        }
    }
}

fn refused(error: &FsError) -> i32 {
    match error {
        FsError::NotFound => libc::ENOENT,
        FsError::Exists => libc::EEXIST,
        FsError::NotDirectory => libc::ENOTDIR,
        FsError::IsDirectory => libc::EISDIR,
        FsError::NotEmpty => libc::ENOTEMPTY,
        FsError::NameTooLong => libc::ENAMETOOLONG,
        FsError::InvalidArgument => libc::EINVAL,
        FsError::NotPermitted => libc::EPERM,
        FsError::AccessDenied => libc::EACCES,
        FsError::TooManyLinks => libc::EMLINK,
        FsError::FileTooLarge => libc::EFBIG,
        FsError::NoSpace => libc::ENOSPC,
        FsError::NoXattr => libc::ENODATA,
        FsError::XattrExists => libc::EEXIST,
        FsError::XattrTooLarge => libc::E2BIG,
        FsError::Unsupported => libc::EOPNOTSUPP,
        // The kernel looks the path up again when it sees this.
        FsError::Stale(_) => libc::ESTALE,
        // These are waited out; who sees one has a time-out, and it is over.
        FsError::NoServers
        | FsError::NoReplica(_)
        | FsError::ChunkBusy(_)
        | FsError::NotReady
        | FsError::Delegated(_)
        | FsError::Leased(_) => libc::EIO,
        FsError::SessionUnknown(_) | FsError::Storage | FsError::ChunkLost(_) => libc::EIO,
    }
}

fn contents(error: &IoError) -> i32 {
    match error {
        IoError::NoSpace { .. } => libc::ENOSPC,
        IoError::TooLarge(_) => libc::EFBIG,
        IoError::Meta { cause, .. } => match cause {
            io::MetaError::Refused(error) => refused(error),
            io::MetaError::Unreachable => libc::EIO,
        },
        IoError::Unreadable { .. }
        | IoError::Unwritable { .. }
        | IoError::NotTaken { .. }
        | IoError::LostUnsynced { .. }
        | IoError::Fenced(_)
        | IoError::Closed => libc::EIO,
    }
}
