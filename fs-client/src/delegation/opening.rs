//! Opening files for reading without asking: under a delegation nobody else can remove them.
//!
//! The metaserver keeps an unlinked file for as long as it knows that somebody has it open. So it is told of what was opened here before
//! it could matter: before a removal by this mount is sent, before the metaserver is asked to change something, and before the
//! directory is returned.

use cairn_proto::ids::InodeId;
use cairn_proto::meta::{MAX_LOCATE_FIRST, Mutation, Opened};

use super::Delegations;
use super::journal::Done;

impl Delegations {
    /// Opens a file for reading, where everything that takes is known. `is_at_hand`: its bytes are, or where they are.
    pub fn open(&self, inode: InodeId, is_at_hand: bool) -> Option<Opened> {
        let inner = self.usable()?;
        let opened = inner.table.open(inode, is_at_hand)?;
        // Under the same lock: whoever returns the directory finds it.
        self.meta.opened_ahead(inode);
        Some(opened)
    }

    /// A file had to be opened at the metaserver. Where others in its directory were, too, the chunks of all of them are looked up.
    pub fn opened_there(&self, inode: InodeId) {
        let lacking = self.held().map(|mut inner| inner.table.opened_there(inode)).unwrap_or_default();
        if !lacking.is_empty()
            && let Some(me) = self.me.upgrade()
        {
            tokio::spawn(async move { me.locate(lacking).await });
        }
    }

    async fn locate(&self, files: Vec<InodeId>) {
        for some in files.chunks(MAX_LOCATE_FIRST) {
            let seen: Vec<_> = {
                let inner = self.inner.lock();
                some.iter().filter_map(|&inode| Some((inode, inner.table.attr(inode)?.changed_at))).collect()
            };
            let inodes: Vec<_> = seen.iter().map(|(inode, _)| *inode).collect();
            let chunks = match self.meta.locate_first(&inodes).await {
                Ok(chunks) => chunks,
                Err(error) => return tracing::debug!(%error, "chunks were not located"),
            };
            let mut inner = self.inner.lock();
            for ((inode, changed_at), chunk) in seen.into_iter().zip(chunks) {
                if let Some(chunk) = chunk {
                    inner.table.located(inode, changed_at, chunk);
                }
            }
        }
    }

    /// Tells the metaserver of what is open of `inodes`, and in those of them that are directories.
    pub(super) async fn register_opens(&self, inodes: &[InodeId]) {
        let concerned = |inode: &InodeId| {
            let home = self.inner.lock().table.node(*inode).map(|node| node.home);
            inodes.contains(inode) || home.is_some_and(|home| inodes.contains(&home))
        };
        for inode in self.meta.unregistered().into_iter().filter(concerned) {
            self.meta.register_open(inode).await;
        }
    }

    /// Tells the metaserver of what is open and about to lose its name.
    pub(super) async fn register_removed(&self, batch: &[Done]) {
        let unregistered = self.meta.unregistered();
        if unregistered.is_empty() {
            return;
        }
        let removals =
            batch.iter().filter(|done| matches!(done.mutation, Mutation::Unlink { .. } | Mutation::Rename { .. }));
        for inode in removals.flat_map(|done| &done.touches).filter(|inode| unregistered.contains(inode)) {
            self.meta.register_open(*inode).await;
        }
    }
}
