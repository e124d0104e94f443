//! Making written bytes part of the file.

use cairn_proto::attr::MAX_FILE_SIZE;
use cairn_proto::chunk::CHUNK_SIZE;
use cairn_proto::error::FsError;
use cairn_proto::ids::InodeId;
use cairn_proto::meta::{ChunkExtent, MAX_CHUNKS_PER_CALL};
use cairn_proto::time::Timestamp;

use super::super::change::Change;
use super::super::error::Outcome;
use super::super::reply::Reply;
use super::super::{chunk, inode, slot, trash, xattr};
use super::set_attr::valid;

pub(super) struct CommitWrite<'a> {
    pub inode: InodeId,
    pub size: u64,
    pub mtime: Timestamp,
    pub extents: &'a [ChunkExtent],
    /// Clear setuid and setgid.
    pub kill: bool,
}

impl CommitWrite<'_> {
    pub fn run(self, change: &mut Change<'_>) -> Outcome<Reply> {
        let mut inode = inode::get(&change.txn, self.inode)?;
        let size = inode.as_file()?.size;
        if self.size > MAX_FILE_SIZE {
            return Err(FsError::FileTooLarge.into());
        }
        if self.extents.len() > MAX_CHUNKS_PER_CALL as usize || self.extents.iter().any(|extent| !is_valid(extent)) {
            return Err(FsError::InvalidArgument.into());
        }
        let mut allocated = inode.as_file()?.allocated;
        for extent in self.extents {
            allocated = allocated.saturating_add_signed(self.commit_extent(change, extent)?);
        }
        let file = inode.as_file_mut()?;
        file.size = size.max(self.size);
        file.allocated = allocated;
        inode.times.mtime = valid(self.mtime)?;
        inode.times.ctime = change.at;
        if self.kill {
            inode.clear_suid_sgid();
        }
        xattr::drop_capabilities(change, &mut inode)?;
        trash::resized(change, &inode)?;
        change.save(&mut inode);
        Ok(Reply::Attr(inode.attr()))
    }

    /// Answers by how much the bytes allocated have changed. A chunk that has left its slot was truncated away meanwhile, and
    /// what was written to it with it.
    fn commit_extent(&self, change: &mut Change<'_>, extent: &ChunkExtent) -> Outcome<i64> {
        match slot::find(&change.txn, self.inode, extent.index)? {
            Some(slot) if slot.handle == extent.handle => {
                let mut chunk = chunk::of_slot(&change.txn, slot)?;
                let grown = i64::from(extent.allocated) - i64::from(chunk.allocated);
                chunk.length = chunk.length.max(extent.length);
                chunk.allocated = extent.allocated;
                chunk::put(&mut change.txn, slot.handle, &chunk);
                Ok(grown)
            }
            _ => Ok(0),
        }
    }
}

fn is_valid(extent: &ChunkExtent) -> bool {
    u64::from(extent.length) <= CHUNK_SIZE && u64::from(extent.allocated) <= CHUNK_SIZE
}
