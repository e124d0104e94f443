//! `statfs`.

use cairn_proto::meta::FsStat;

use super::Vfs;
use super::error::VfsError;

impl Vfs {
    pub async fn statfs(&self) -> Result<FsStat, VfsError> {
        self.delegations.flush().await?;
        Ok(self.meta.stat_fs().await?)
    }
}
