//! `read` and `write`.

use bytes::Bytes;
use cairn_proto::attr::{MAX_FILE_SIZE, S_ISGID, S_ISUID, SetAttr};
use cairn_proto::ids::InodeId;
use cairn_proto::time::Timestamp;

use super::Vfs;
use super::error::VfsError;
use super::files::{FileHandle, OpenFile};
use super::leases::Turn;

/// How a write is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteHow {
    /// At the end, wherever that is by then.
    pub append: bool,
    /// Clear setuid and setgid bits.
    pub kill_suid_sgid: bool,
    /// The kernel writes pages of a mapping.
    pub from_pages: bool,
}

impl Vfs {
    /// Fewer bytes than asked for only at the end of the file.
    pub async fn read(&self, handle: FileHandle, offset: u64, len: u32) -> Result<Bytes, VfsError> {
        let file = self.files.get(handle)?;
        if !file.access.read {
            return Err(VfsError::WrongAccess(handle.0));
        }
        let at_hand = self.try_reading(&file.io).and_then(|_reading| file.io.try_read(offset, len));
        let bytes = match at_hand {
            Some(bytes) => bytes,
            None => {
                let _reading = self.reading(&file.io).await?;
                file.io.read(offset, len).await?
            }
        };
        self.touch_file(&file);
        Ok(bytes)
    }

    /// All of `data`, or an error.
    pub async fn write(&self, handle: FileHandle, offset: u64, data: Bytes, how: WriteHow) -> Result<(), VfsError> {
        self.take_in(handle, offset, data, how).await?;
        self.write_through(handle).await
    }

    /// The first half of a write: its bytes are in the buffer when this has returned, and where it is dropped before, they never
    /// will be.
    pub async fn take_in(&self, handle: FileHandle, offset: u64, data: Bytes, how: WriteHow) -> Result<(), VfsError> {
        let file = self.files.get(handle)?;
        if !file.access.write {
            return Err(VfsError::WrongAccess(handle.0));
        }
        file.check()?;
        if how.kill_suid_sgid {
            self.clear_suid(file.inode).await?;
        }
        // Pages of a mapping come when the kernel likes, which may wait for them before it lets others have their turn. Stores to
        // a mapping are in no order with what others do before they are synced, so they need no lease.
        let turn = match how {
            WriteHow { from_pages: true, .. } => Turn::Pages,
            _ if file.is_direct => Turn::Lease(self.writing(&file.io).await?),
            _ => self.writing_pages(&file.io).await?,
        };
        let mtime = Timestamp::now();
        if how.append {
            self.append(&file, offset, data, mtime, how).await?;
        } else {
            if offset.saturating_add(data.len() as u64) > MAX_FILE_SIZE {
                return Err(VfsError::TooLarge);
            }
            file.io.write(offset, data, mtime, how.kill_suid_sgid).await?;
        }
        if matches!(turn, Turn::AtOnce(_)) {
            file.io.flush().await?;
        }
        drop(turn);
        Ok(())
    }

    /// The second half: where writes are to be durable when they return, they are.
    pub async fn write_through(&self, handle: FileHandle) -> Result<(), VfsError> {
        let file = self.files.get(handle)?;
        if !file.writes_durably() {
            return Ok(());
        }
        let synced = file.io.sync().await;
        // It may be that there is no such file any more.
        self.check_losses(&file)?;
        Ok(synced?)
    }

    async fn append(
        &self,
        file: &OpenFile,
        expected: u64,
        data: Bytes,
        mtime: Timestamp,
        how: WriteHow,
    ) -> Result<(), VfsError> {
        let offset = file.io.append(data, mtime, how.kill_suid_sgid).await?;
        if offset != expected {
            // The kernel took another place for the end, and has put the bytes there in its pages.
            drop(self.drop_pages(file.inode));
        }
        Ok(())
    }

    /// Clears setuid and setgid before the first byte is written. Writes carry the wish too, for bits that somebody else sets
    /// meanwhile.
    async fn clear_suid(&self, inode: InodeId) -> Result<(), VfsError> {
        let known = self.last_seen(inode);
        if known.is_some_and(|attr| attr.mode & (S_ISUID | S_ISGID) == 0) {
            return Ok(());
        }
        let asked = self.known.asked();
        let set = SetAttr { kill_suid_sgid: true, ..SetAttr::default() };
        if let Some(attr) = self.delegations.set_attr(inode, &set) {
            self.known.learn(&attr, false, asked);
            return Ok(());
        }
        let _asking = self.delegations.ask(&[inode]).await?;
        let attr = self.meta.set_attr(inode, set).await?;
        self.saw(attr, false, asked);
        Ok(())
    }
}
