//! Whether the metaserver's own disk has room for a mutation.
//!
//! Two reserves, so that a full disk can be got out of: below the first, what adds to the namespace is refused while removing,
//! truncating, committing and closing go on; below the second, nothing that a client asks for is done, and what is left is for
//! the log's own checkpoints.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use cairn_proto::error::FsError;
use cairn_proto::meta::Mutation;
use cairn_runtime::worker::{WorkError, WorkState, Worker};

use crate::raft::free_bytes;

/// Between two looks at the disk.
const PAUSE: Duration = Duration::from_secs(1);

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Below the second reserve.
    Full,
    /// Below the first.
    Low,
    Enough,
}

/// The level as last seen.
#[derive(Debug)]
pub struct Room {
    level: AtomicU8,
}

impl Default for Room {
    fn default() -> Self {
        Self { level: AtomicU8::new(Level::Enough as u8) }
    }
}

impl Room {
    pub fn level(&self) -> Level {
        match self.level.load(Ordering::Relaxed) {
            0 => Level::Full,
            1 => Level::Low,
            _ => Level::Enough,
        }
    }

    pub fn set(&self, level: Level) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    /// Whether there is room for `mutation`.
    pub fn admit(&self, mutation: &Mutation) -> Result<(), FsError> {
        if self.level() >= needs(mutation) { Ok(()) } else { Err(FsError::NoSpace) }
    }
}

/// The least room at which a mutation is done.
fn needs(mutation: &Mutation) -> Level {
    match mutation {
        Mutation::Create { .. }
        | Mutation::Link { .. }
        | Mutation::SetXattr { .. }
        | Mutation::AllocateChunks { .. }
        | Mutation::SetPolicy { .. }
        // What is done under it is sent later, and has to find room then.
        | Mutation::TakeDelegation { .. }
        | Mutation::TouchAtime { .. } => Level::Enough,
        Mutation::Unlink { .. }
        | Mutation::Rmdir { .. }
        | Mutation::Rename { .. }
        | Mutation::SetAttr { .. }
        | Mutation::RemoveXattr { .. }
        | Mutation::CommitWrite { .. }
        | Mutation::ReturnDelegation { .. }
        | Mutation::ClearTrim { .. }
        | Mutation::ReplaceFailed { .. } => Level::Low,
    }
}

/// The level at `free` bytes with a reserve of `reserve`, of which the second half is the second reserve.
fn judge(free: u64, reserve: u64) -> Level {
    match free {
        _ if free >= reserve => Level::Enough,
        _ if free >= reserve / 2 => Level::Low,
        _ => Level::Full,
    }
}

/// Keeps the level up to date.
#[derive(Debug)]
pub struct RoomWorker {
    room: Arc<Room>,
    dir: PathBuf,
    reserve: u64,
    free: u64,
}

impl RoomWorker {
    /// `dir` on the disk to look at, `reserve` in bytes.
    pub fn new(room: Arc<Room>, dir: PathBuf, reserve: u64) -> Self {
        Self { room, dir, reserve, free: 0 }
    }
}

impl Worker for RoomWorker {
    fn name(&self) -> String {
        "room".to_owned()
    }

    async fn work(&mut self) -> Result<WorkState, WorkError> {
        self.free = free_bytes(&self.dir)?;
        let (before, now) = (self.room.level(), judge(self.free, self.reserve));
        self.room.set(now);
        if now < before {
            tracing::error!(dir = %self.dir.display(), free = self.free, level = ?now, "the metaserver's disk is filling up");
        } else if now > before {
            tracing::info!(dir = %self.dir.display(), free = self.free, level = ?now, "the metaserver's disk has room again");
        }
        Ok(WorkState::Wait(PAUSE))
    }

    fn detail(&self) -> Option<String> {
        Some(format!("{} bytes free, {} in reserve", self.free, self.reserve))
    }
}

#[cfg(test)]
mod tests {
    use cairn_proto::ids::InodeId;
    use cairn_proto::name::Name;

    use super::*;

    #[test]
    fn two_reserves() {
        assert_eq!(judge(100, 100), Level::Enough);
        assert_eq!(judge(99, 100), Level::Low);
        assert_eq!(judge(50, 100), Level::Low);
        assert_eq!(judge(49, 100), Level::Full);
    }

    #[test]
    fn a_full_disk_can_be_emptied() {
        let room = Room::default();
        let name = Name::new("x").unwrap();
        let unlink = Mutation::Unlink { parent: InodeId::ROOT, name: name.clone() };
        let link = Mutation::Link { inode: InodeId(2), parent: InodeId::ROOT, name };
        for (level, may_unlink, may_link) in
            [(Level::Enough, true, true), (Level::Low, true, false), (Level::Full, false, false)]
        {
            room.set(level);
            assert_eq!((room.admit(&unlink).is_ok(), room.admit(&link).is_ok()), (may_unlink, may_link), "{level:?}");
        }
        assert_eq!(room.admit(&unlink), Err(FsError::NoSpace));
    }
}
