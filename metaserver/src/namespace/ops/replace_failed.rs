//! Going on without members of a chunk that failed a write.

use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkHandle, ChunkIndex, ChunkVersion, InodeId, ServerId};

use super::super::change::Change;
use super::super::error::Outcome;
use super::super::reply::Reply;
use super::super::{chunk, inode, slot};

pub(super) struct ReplaceFailed {
    pub inode: InodeId,
    pub index: ChunkIndex,
    pub handle: ChunkHandle,
    /// The version that the writer was writing at.
    pub version: ChunkVersion,
    pub survivors: Vec<ServerId>,
    /// They start with nothing; and the writer has all bytes up to this one.
    pub anew: Option<u32>,
}

impl ReplaceFailed {
    /// Answers the chunk as it is then. Where its version is another one already, another writer has reported the same failure,
    /// or repair was faster: the answer says how to go on.
    pub fn run(self, change: &mut Change<'_>) -> Outcome<Reply> {
        inode::get(&change.txn, self.inode)?.as_file()?;
        let slot = slot::find(&change.txn, self.inode, self.index)?
            .filter(|slot| slot.handle == self.handle)
            .ok_or(FsError::NotFound)?;
        let mut chunk = chunk::of_slot(&change.txn, slot)?;
        let left: Vec<_> = chunk.members.iter().filter(|member| self.survivors.contains(member)).copied().collect();
        let misses_nothing = self.anew.is_none_or(|held| held >= chunk.length);
        if chunk.version == self.version && !left.is_empty() && misses_nothing {
            chunk.version = chunk.version.next();
            chunk.members = left;
            if self.anew.is_some() {
                chunk.length = 0;
            }
            chunk::put(&mut change.txn, self.handle, &chunk);
        }
        Ok(Reply::Chunks(vec![chunk.view(slot)]))
    }
}
