//! Why an operation of the file system did not succeed.

use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::name::NameError;

use crate::io::IoError;
use crate::meta::MetaError;

/// Its errno is [`VfsError::errno`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VfsError {
    /// The metaserver refused, or could not be asked.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// File contents could not be read or written.
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    Name(#[from] NameError),
    /// What was done ahead of the metaserver never came to it.
    #[error("changes of {0} are lost: the metaserver had given this mount up before they were sent")]
    LostChanges(InodeId),
    /// The same, of anything on this mount.
    #[error("changes are lost: the metaserver had given this mount up before they were sent")]
    LostSomething,
    /// No such handle is open.
    #[error("handle {0} is not open")]
    BadHandle(u64),
    /// The handle is not open for this.
    #[error("handle {0} is not open for this kind of access")]
    WrongAccess(u64),
    #[error("invalid argument: {0}")]
    Invalid(&'static str),
    #[error("not supported: {0}")]
    Unsupported(&'static str),
    /// More space asked for than there is.
    #[error("no space left")]
    NoSpace,
    #[error("past the largest size of a file")]
    TooLarge,
    /// In the trash nothing is changed.
    #[error("the trash is read-only")]
    ReadOnly,
    /// `SEEK_DATA` or `SEEK_HOLE` past the end.
    #[error("no data there")]
    NoData,
    /// Somebody else's lock is in the way of one that is not to be waited for.
    #[error("locked by somebody else")]
    Locked,
    #[error("this mount holds, or waits for, as many locks as it may")]
    TooManyLocks,
    #[error("waiting for that lock would be waiting for oneself")]
    Deadlock,
    /// The program got a signal.
    #[error("interrupted")]
    Interrupted,
    /// The caller's buffer is smaller than the value.
    #[error("the buffer is too small")]
    BufferTooSmall,
}

impl From<FsError> for VfsError {
    fn from(error: FsError) -> Self {
        Self::Meta(error.into())
    }
}

impl VfsError {
    /// The metaserver's answer, where it is one.
    pub(super) fn refusal(&self) -> Option<&FsError> {
        match self {
            Self::Meta(error) => error.refusal(),
            _ => None,
        }
    }

    /// In a directory that is gone nothing is found, and nothing is made: it was empty when it went.
    pub(super) fn in_directory(self, dir: InodeId) -> Self {
        match self.refusal() {
            Some(FsError::Stale(gone)) if *gone == dir => FsError::NotFound.into(),
            _ => self,
        }
    }

    /// Whether it is an answer of the file system, and not a failure of something below it.
    pub fn is_answer(&self) -> bool {
        self.errno() != libc::EIO
    }

    /// Whether servers gave no answer for as long as the mount's `timeout` says.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Meta(MetaError::TimedOut { .. }) => true,
            Self::Io(IoError::Meta { cause, .. }) => *cause == crate::io::MetaError::Unreachable,
            Self::Io(error) => matches!(error, IoError::NotTaken { .. }),
            _ => false,
        }
    }
}
