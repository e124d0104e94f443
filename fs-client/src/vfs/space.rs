//! `fallocate`.

use cairn_proto::attr::{MAX_FILE_SIZE, SetAttr, SetTime};

use super::Vfs;
use super::caller::Caller;
use super::error::VfsError;
use super::files::{FileHandle, OpenFile};

impl Vfs {
    /// `mode` as in `fallocate(2)`.
    ///
    /// Space is promised by looking, not by setting it aside: chunks take space where they are written.
    pub async fn fallocate(
        &self,
        caller: Caller,
        handle: FileHandle,
        offset: u64,
        len: u64,
        mode: i32,
    ) -> Result<(), VfsError> {
        let file = self.files.get(handle)?;
        if !file.access.write {
            return Err(VfsError::WrongAccess(handle.0));
        }
        file.check()?;
        if len == 0 {
            return Err(VfsError::Invalid("nothing to allocate"));
        }
        let end = offset.checked_add(len).filter(|end| *end <= MAX_FILE_SIZE).ok_or(VfsError::TooLarge)?;
        let keep_size = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
        match mode & !libc::FALLOC_FL_KEEP_SIZE {
            0 => {
                self.check_space(len).await?;
                self.grow(caller, &file, end, keep_size, false).await
            }
            libc::FALLOC_FL_PUNCH_HOLE if keep_size => {
                self.zero(&file, offset, end).await?;
                self.grow(caller, &file, end, true, true).await
            }
            libc::FALLOC_FL_ZERO_RANGE => {
                self.zero(&file, offset, end).await?;
                self.grow(caller, &file, end, keep_size, true).await
            }
            _ => Err(VfsError::Unsupported("this mode of fallocate")),
        }
    }

    async fn zero(&self, file: &OpenFile, offset: u64, end: u64) -> Result<(), VfsError> {
        let _writing = self.writing(&file.io).await?;
        let end = end.min(file.io.size());
        if offset < end {
            file.io.zero(offset, end - offset).await?;
        }
        Ok(())
    }

    /// Sets the size where it grows, and the times in any case.
    async fn grow(
        &self,
        caller: Caller,
        file: &OpenFile,
        end: u64,
        keep_size: bool,
        wrote: bool,
    ) -> Result<(), VfsError> {
        let size = (!keep_size && end > file.io.size()).then_some(end);
        let mtime = wrote.then_some(SetTime::Now);
        let kill_suid_sgid = self.kills_suid(caller, file.inode);
        self.setattr(caller, file.inode, SetAttr { size, mtime, kill_suid_sgid, ..SetAttr::default() }).await?;
        Ok(())
    }

    async fn check_space(&self, len: u64) -> Result<(), VfsError> {
        if len > self.meta.stat_fs().await?.free { Err(VfsError::NoSpace) } else { Ok(()) }
    }
}
