//! What is done here under a delegation, brought together with everything else that is remembered.

use std::sync::Arc;

use async_trait::async_trait;
use cairn_proto::attr::Attr;
use cairn_proto::ids::InodeId;
use cairn_proto::meta::{Mutation, MutationReply};

use super::Vfs;
use crate::cache::{Asked, Learned};
use crate::delegation::Above;

impl Vfs {
    /// Enters attributes that the metaserver has answered to something asked at `asked`.
    pub(super) fn learn(&self, attr: &Attr, leased: bool, asked: Asked) -> Learned {
        self.delegations.learn(attr);
        self.known.learn(attr, leased, asked)
    }

    /// The newest attributes that this mount knows of, however long ago.
    pub(super) fn last_seen(&self, inode: InodeId) -> Option<Attr> {
        self.delegations.attr(inode).or_else(|| self.known.last_seen(inode))
    }
}

#[async_trait]
impl Above for Vfs {
    fn answered(&self, mutation: &Mutation, reply: &MutationReply) {
        let now = self.known.asked();
        match (mutation, reply) {
            (_, MutationReply::Entry { attr, parent, chunks, .. }) => {
                self.known.changed(attr, now);
                self.known.learn(&parent.attr, false, now);
                if let Some(io) = self.io.find(attr.inode) {
                    io.located(chunks);
                }
            }
            (Mutation::SetAttr { set, .. }, MutationReply::Attr(attr)) => {
                if set.mtime.is_some() {
                    self.known.changed(attr, now);
                    if let Some(io) = self.io.find(attr.inode) {
                        io.times_confirmed(attr);
                    }
                } else {
                    self.known.learn(attr, false, now);
                }
            }
            (_, MutationReply::Removed { attr, parent }) => {
                self.known.learn(attr, false, now);
                self.known.learn(&parent.attr, false, now);
            }
            (_, MutationReply::Renamed { moved, replaced, exchanged, old_parent, new_parent }) => {
                let inodes = [Some(moved), replaced.as_ref(), exchanged.as_ref()].into_iter().flatten();
                for attr in inodes.chain([&old_parent.attr, &new_parent.attr]) {
                    self.known.learn(attr, false, now);
                }
            }
            _ => {}
        }
    }

    fn wants_chunk(&self, file: InodeId) -> bool {
        self.io.find(file).is_some_and(|io| io.is_dirty())
    }

    async fn returned(&self, dir: InodeId, named: Vec<InodeId>) {
        self.drop_leases(named.into_iter().chain([dir]).collect()).await;
    }

    async fn drop_leases(&self, inodes: Vec<InodeId>) {
        Self::drop_leases(self, inodes).await;
    }

    async fn downgrade(&self, inode: InodeId) {
        Self::downgrade(self, inode).await;
    }

    async fn metaserver_restarted(self: Arc<Self>, incarnation: u64) {
        if let Err(error) = self.reclaim_leases(incarnation).await {
            // The mount is being taken down.
            tracing::debug!(%error, "leases were not claimed again");
        }
    }

    async fn distrust(&self) {
        self.drop_all().await;
    }

    async fn lost(&self) {
        self.session_lost().await;
    }
}
