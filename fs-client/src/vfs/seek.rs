//! `lseek` to data and to holes.

use super::Vfs;
use super::error::VfsError;
use super::files::FileHandle;

/// What to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    /// `SEEK_DATA`
    Data,
    /// `SEEK_HOLE`; the end of the file counts as one.
    Hole,
}

impl Vfs {
    /// The first place at or after `offset`.
    pub async fn seek(&self, handle: FileHandle, offset: u64, whence: Whence) -> Result<u64, VfsError> {
        let file = self.files.get(handle)?;
        let _reading = self.reading(&file.io).await?;
        if offset >= file.io.size() {
            return Err(VfsError::NoData);
        }
        match whence {
            Whence::Data => file.io.seek_data(offset).await?.ok_or(VfsError::NoData),
            Whence::Hole => Ok(file.io.seek_hole(offset).await?),
        }
    }
}
