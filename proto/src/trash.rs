//! The trash as it is shown.

use serde::{Deserialize, Serialize};

use crate::attr::FileKind;
use crate::ids::{DirCookie, InodeId};
use crate::name::Name;
use crate::time::Timestamp;

/// Records in a [`TrashPage`] at most, and records that are looked at for it.
pub const MAX_TRASH_PAGE: usize = 512;
/// Inodes in one call that empties the trash at most.
pub const MAX_EMPTIED: usize = 512;

/// Something in the trash.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct TrashEntry {
    pub inode: InodeId,
    pub kind: FileKind,
    pub deleted: Timestamp,
    /// When it will be gone.
    pub expires: Timestamp,
    /// As `stat` says.
    pub size: u64,
    /// Bytes that it holds on chunkservers, of one copy.
    pub bytes: u64,
    /// Its name last.
    pub name: Name,
    /// The way from the root to it, by what the directories on it are called now; those may be in the trash, too. `None` where one of them
    /// is gone.
    pub path: Option<Vec<Name>>,
}

/// A place in the trash, which is in the order of removal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Debug)]
pub struct TrashCursor {
    pub deleted: Timestamp,
    pub inode: InodeId,
}

/// A part of the trash.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct TrashPage {
    pub entries: Vec<TrashEntry>,
    /// Pass it on for more. `None`: there are no more.
    pub resume: Option<TrashCursor>,
}

/// Which of the trash is meant.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct TrashFilter {
    /// What was there or below; empty: everything.
    pub below: Vec<Name>,
    /// What was removed by then.
    pub deleted_by: Option<Timestamp>,
}

/// What is to be restored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct RestoreRequest {
    /// Where it was: the one that was removed last, of several.
    pub path: Vec<Name>,
    /// That one, wherever it was.
    pub inode: Option<InodeId>,
    /// The directory that it goes to; without it, where it was.
    pub to: Option<InodeId>,
}

/// A directory that has its name again, or has one still, and what is to be restored below it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct RestoredDir {
    pub inode: InodeId,
    /// What was removed when this was the next cookie was removed with the directory: nothing was added to it after that.
    pub next_cookie: DirCookie,
    /// It had a name before: of what is below it, some may be restored already.
    pub was_there: bool,
}

/// What a restore began with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct RestoredTop {
    /// Where it is now.
    pub path: Option<Vec<Name>>,
    /// Where there may be more below it.
    pub directory: Option<RestoredDir>,
}

/// What has become of some of what was removed from a directory.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct RestoredPage {
    pub restored: u64,
    /// Removed earlier than with the directory, or by the same name before: left in the trash.
    pub earlier: u64,
    /// Names that are taken: left in the trash.
    pub taken: Vec<Name>,
    /// Directories below this one, to go on with.
    pub directories: Vec<RestoredDir>,
    /// Opaque; pass it on for more.
    pub resume: Option<RestoreResume>,
}

/// How far a directory is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum RestoreResume {
    /// What was removed from it, behind this row.
    Trash(Vec<u8>),
    /// What is in it, behind this entry.
    Entries(DirCookie),
}

/// What has left the trash for good.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct TrashCount {
    pub entries: u64,
    /// Of one copy.
    pub bytes: u64,
}
