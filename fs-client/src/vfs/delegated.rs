//! What is done here under a delegation, brought together with everything else that is remembered.

use std::collections::HashSet;

use async_trait::async_trait;
use cairn_proto::attr::Attr;
use cairn_proto::ids::InodeId;
use cairn_proto::meta::{Mutation, MutationReply};
use futures::StreamExt;

use super::Vfs;
use crate::cache::{Learned, Moment};
use crate::delegation::Above;

/// Files that are written out at a time.
const FILES_AT_A_TIME: usize = 32;

impl Vfs {
    /// Enters attributes that the metaserver has answered to something asked at `asked`.
    pub(super) fn learn(&self, attr: &Attr, asked: Moment) -> Learned {
        self.delegations.learn(attr);
        self.known.attrs.learn(attr, asked)
    }

    /// The newest attributes that this mount knows of, however long ago.
    pub(super) fn last_seen(&self, inode: InodeId) -> Option<Attr> {
        self.delegations.attr(inode).or_else(|| self.known.attrs.last_seen(inode))
    }
}

#[async_trait]
impl Above for Vfs {
    fn answered(&self, mutation: &Mutation, reply: &MutationReply) {
        let now = self.known.now();
        match (mutation, reply) {
            (_, MutationReply::Entry { attr, parent, chunks, .. }) => {
                self.known.changed(attr, now);
                self.known.attrs.learn(&parent.attr, now);
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
                    self.known.attrs.learn(attr, now);
                }
            }
            (_, MutationReply::Removed { attr, parent }) => {
                self.known.attrs.learn(attr, now);
                self.known.attrs.learn(&parent.attr, now);
            }
            (_, MutationReply::Renamed { moved, replaced, exchanged, old_parent, new_parent }) => {
                let inodes = [Some(moved), replaced.as_ref(), exchanged.as_ref()].into_iter().flatten();
                for attr in inodes.chain([&old_parent.attr, &new_parent.attr]) {
                    self.known.attrs.learn(attr, now);
                }
            }
            _ => {}
        }
    }

    fn wants_chunk(&self, file: InodeId) -> bool {
        self.io.find(file).is_some_and(|io| io.is_dirty())
    }

    async fn write_out(&self, files: HashSet<InodeId>) {
        let dirty = self.io.dirty_files().into_iter().filter(|file| files.contains(&file.inode()));
        let writing = dirty.map(|file| async move {
            if let Err(error) = file.flush().await {
                tracing::error!(inode = %file.inode(), %error, "written data was lost after the last close");
            }
        });
        futures::stream::iter(writing).buffer_unordered(FILES_AT_A_TIME).collect::<Vec<()>>().await;
    }

    fn returned(&self, dir: InodeId) {
        self.known.names.forget_dir(dir);
        self.known.attrs.doubt(dir);
    }

    fn lost(&self) {
        self.known.clear();
    }
}
