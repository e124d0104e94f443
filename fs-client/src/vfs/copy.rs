//! `copy_file_range`, through this client.

use cairn_proto::chunk::MAX_PIECE_BYTES;
use cairn_proto::time::Timestamp;

use super::Vfs;
use super::caller::Caller;
use super::error::VfsError;
use super::files::FileHandle;

/// Bytes copied in one call at most: a caller asks on, and can be interrupted in between.
const MAX_COPY_BYTES: u64 = 64 << 20;

impl Vfs {
    /// Bytes copied: fewer than asked for at the end of the source, or at the limit of one call.
    pub async fn copy_file_range(
        &self,
        caller: Caller,
        (from, mut offset_in): (FileHandle, u64),
        (to, mut offset_out): (FileHandle, u64),
        len: u64,
    ) -> Result<u64, VfsError> {
        let (source, target) = (self.files.get(from)?, self.files.get(to)?);
        if !source.access.read {
            return Err(VfsError::WrongAccess(from.0));
        }
        if !target.access.write {
            return Err(VfsError::WrongAccess(to.0));
        }
        target.check()?;
        let kill = self.kills_suid(caller, target.inode);
        let mut left = len.min(MAX_COPY_BYTES);
        let mut copied = 0;
        while left > 0 {
            let reading = self.reading(&source.io).await?;
            let bytes = source.io.read(offset_in, left.min(MAX_PIECE_BYTES as u64) as u32).await?;
            // Both may be one file: a lease to write it is not to wait for this read.
            drop(reading);
            let count = bytes.len() as u64;
            if count == 0 {
                break;
            }
            let _writing = self.writing(&target.io).await?;
            target.io.write(offset_out, bytes, Timestamp::now(), kill).await?;
            (offset_in, offset_out) = (offset_in + count, offset_out + count);
            (left, copied) = (left - count, copied + count);
        }
        self.touch_file(&source);
        if copied > 0 && target.writes_durably() {
            target.io.sync().await?;
        }
        Ok(copied)
    }
}
