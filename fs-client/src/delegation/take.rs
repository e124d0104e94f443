//! Having a directory delegated, and learning all that is in it.

use std::sync::atomic::Ordering;

use cairn_proto::ids::{DirCookie, InodeId};
use cairn_proto::meta::{Delegation, MAX_DIR_PAGE, ReadDir};
use cairn_proto::policy::Durability;

use super::numbers::BATCH;
use super::{Delegations, Use};
use crate::meta::MetaError;

/// Entries of the largest directory that is asked for.
const MAX_DIR_ENTRIES: u64 = 64 << 10;
/// Entries that are held over all directories; beyond that the ones that were not used for longest are returned.
const MAX_ENTRIES: usize = 256 << 10;
/// Directories are returned for so many entries at a time.
const RETURN_ENTRIES: usize = 16 << 10;

impl Delegations {
    /// A directory was used, and the metaserver had to be asked. Used often, it is asked for in the background.
    pub fn used(&self, dir: InodeId, how: Use) {
        let now = self.now();
        let due = {
            let mut inner = self.inner.lock();
            !inner.table.knows(dir) && inner.wishes.count(dir, how, now)
        };
        if due && let Some(me) = self.me.upgrade() {
            tokio::spawn(async move { me.take(dir).await });
        }
    }

    /// Asks for a directory, and returns when that is decided and, where it is granted, all of it is known.
    async fn take(&self, dir: InodeId) {
        self.make_room();
        self.active.store(true, Ordering::Release);
        if !self.inner.lock().table.begin_loading(dir) {
            return;
        }
        match self.load(dir).await {
            Ok(true) => tracing::debug!(%dir, "delegated"),
            Ok(false) => self.rest(dir),
            Err(error) => {
                tracing::debug!(%dir, %error, "not delegated");
                self.rest(dir);
            }
        }
    }

    /// Answers whether it is held now.
    async fn load(&self, dir: InodeId) -> Result<bool, MetaError> {
        if self.inner.lock().numbers.wants_more() {
            self.fetch_numbers().await;
        }
        let Some((delegation, session)) = self.meta.take_delegation(dir, MAX_DIR_ENTRIES).await? else {
            return Ok(false);
        };
        // Where every change is to be durable as it returns, none is done here.
        let is_lazy = delegation.policy.durability == Durability::Fsync;
        let is_ours = self.is_with(session);
        self.inner.lock().session = Some(session);
        let loaded = if is_ours && is_lazy { self.load_entries(dir, delegation).await } else { Ok(false) };
        if !matches!(loaded, Ok(true)) {
            self.give_back(vec![dir]).await;
        }
        loaded
    }

    async fn load_entries(&self, dir: InodeId, delegation: Delegation) -> Result<bool, MetaError> {
        let mut after = DirCookie::START;
        let keeps = loop {
            let page = self.meta.read_dir(ReadDir { inode: dir, after, limit: MAX_DIR_PAGE, plus: true }).await?;
            after = page.entries.last().map_or(after, |entry| entry.cookie);
            let (end, keeps) = (page.end || page.entries.is_empty(), page.keeps);
            if !self.inner.lock().table.load(dir, page.entries) {
                return Ok(false);
            }
            if end {
                break keeps;
            }
        };
        // Operations of this mount that were under way may have changed it since. What those that end meanwhile have changed, the
        // table hears of.
        let attr = self.meta.get_attr(dir).await?.value;
        Ok(self.inner.lock().table.loaded(Delegation { attr, ..delegation }, keeps))
    }

    /// The directory is not held, and not asked for again for a while.
    pub(super) fn rest(&self, dir: InodeId) {
        let now = self.now();
        let mut inner = self.inner.lock();
        inner.table.remove(dir);
        inner.wishes.rest(dir, now);
    }

    fn make_room(&self) {
        let oldest = {
            let inner = self.inner.lock();
            if inner.table.entries() < MAX_ENTRIES { Vec::new() } else { inner.table.oldest(RETURN_ENTRIES) }
        };
        if !oldest.is_empty() {
            self.give_back_in_background(oldest);
        }
    }

    pub(super) fn ask_for_numbers(&self) {
        if let Some(me) = self.me.upgrade() {
            tokio::spawn(async move { me.fetch_numbers().await });
        }
    }

    async fn fetch_numbers(&self) {
        let range = self.meta.reserve_inodes(BATCH).await;
        let range = range.inspect_err(|error| tracing::debug!(%error, "no inode numbers were reserved")).ok();
        self.inner.lock().numbers.add(range);
    }
}
