//! What is answered while the metaserver is away.
//!
//! `umount`, `df`, `mountpoint` and their like look at a mount's root and its space before they do anything else. They are shown what
//! was last known of these, so that a mount can always be taken away; everything else waits.

use std::time::Duration;

use cairn_proto::ids::InodeId;
use cairn_proto::meta::FsStat;
use parking_lot::Mutex;

use super::Vfs;
use super::error::VfsError;
use super::lookup::Looked;

/// How long the metaserver must have been away. A restart that is quicker is nobody's business.
const MOMENT: Duration = Duration::from_secs(1);

/// What was last known.
#[derive(Debug, Default)]
pub(super) struct LastKnown {
    root: Mutex<Option<Looked>>,
    space: Mutex<Option<FsStat>>,
}

impl Vfs {
    /// Asks for what is shown during outages. To be called once the file system is there.
    pub async fn look_around(&self) -> Result<(), VfsError> {
        self.getattr_or_last_known(InodeId::ROOT).await?;
        self.statfs_or_last_known().await.map(drop)
    }

    /// As [`Self::getattr`]; of the root what was last known, where the metaserver is away.
    pub async fn getattr_or_last_known(&self, inode: InodeId) -> Result<Looked, VfsError> {
        if inode != InodeId::ROOT {
            return self.getattr(inode).await;
        }
        let last_known = || {
            let known = self.last_known.root.lock().clone();
            known.map(|looked| Looked { attr_validity: Duration::ZERO, name_validity: Duration::ZERO, ..looked })
        };
        let looked = self.or_last_known(self.getattr(inode), last_known).await?;
        *self.last_known.root.lock() = Some(looked.clone());
        Ok(looked)
    }

    /// As [`Self::statfs`]; what was last known, where the metaserver is away.
    pub async fn statfs_or_last_known(&self) -> Result<FsStat, VfsError> {
        let stat = self.or_last_known(self.statfs(), || *self.last_known.space.lock()).await?;
        *self.last_known.space.lock() = Some(stat);
        Ok(stat)
    }

    async fn or_last_known<T>(
        &self,
        answer: impl Future<Output = Result<T, VfsError>>,
        last_known: impl FnOnce() -> Option<T>,
    ) -> Result<T, VfsError> {
        let mut answer = std::pin::pin!(answer);
        let answered = tokio::select! {
            biased;
            answered = &mut answer => Some(answered),
            () = self.meta.outage().has_lasted(MOMENT) => None,
        };
        match answered {
            Some(Err(error)) if error.is_timeout() => last_known().ok_or(error),
            Some(answered) => answered,
            None => match last_known() {
                Some(known) => Ok(known),
                None => answer.await,
            },
        }
    }
}
