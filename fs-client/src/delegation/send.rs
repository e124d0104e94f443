//! Sending what was done here.

use std::sync::Arc;
use std::time::Duration;

use cairn_proto::attr::{Attr, FileKind};
use cairn_proto::error::FsError;
use cairn_proto::ids::SessionId;
use cairn_proto::meta::{Mutation, MutationReply, NewNode};

use super::journal::Done;
use super::{Delegations, Inner};
use crate::meta::{AheadOp, MetaError};

/// Mutations sent at a time; with so many waiting they are sent at once.
pub(super) const BATCH: usize = 512;
/// Nothing waits longer than this.
const MAX_AGE: Duration = Duration::from_millis(500);
/// After a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// What was sent, or is about to be, and is not answered. It stays when whoever waits for it goes away.
#[derive(Debug, Default)]
pub(super) struct OnItsWay {
    done: Vec<Done>,
    ops: Vec<AheadOp>,
}

impl Delegations {
    /// Sends what is due, for as long as it is polled.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(self.send_what_is_due(), self.follow_events());
    }

    async fn send_what_is_due(&self) {
        loop {
            self.due.notified().await;
            let _ = tokio::time::timeout(MAX_AGE, self.urgent.notified()).await;
            match self.flush().await {
                Ok(()) => {}
                Err(MetaError::Stopping) => return,
                Err(error) => {
                    // A metaserver that is away was announced already.
                    if !matches!(error, MetaError::TimedOut { .. }) {
                        tracing::warn!(%error, "changes of the last moments were not sent; trying again");
                    }
                    tokio::time::sleep(PAUSE).await;
                    self.due.notify_one();
                }
            }
        }
    }

    /// Returns when the metaserver has, durably, everything that was done here before, but for what is lost: see [`super::losses`].
    pub async fn flush(&self) -> Result<(), MetaError> {
        let target = {
            let inner = self.inner.lock();
            if inner.journal.is_idle() {
                return Ok(());
            }
            inner.journal.done()
        };
        let mut on_its_way = self.on_its_way.lock().await;
        while !self.inner.lock().journal.has_reached(target) {
            self.send_batch(&mut on_its_way).await?;
        }
        Ok(())
    }

    async fn send_batch(&self, on_its_way: &mut OnItsWay) -> Result<(), MetaError> {
        let session = {
            let mut inner = self.inner.lock();
            if on_its_way.done.is_empty() {
                on_its_way.done = inner.journal.take(BATCH);
                on_its_way.ops = on_its_way.done.iter().map(|done| self.to_send(done)).collect();
            }
            inner.session
        };
        self.register_removed(&on_its_way.done).await;
        match self.meta.mutate_ahead(session, &mut on_its_way.ops).await {
            Ok(results) => {
                let count = results.len();
                for (done, result) in on_its_way.done.drain(..count).zip(results) {
                    self.answered(&done, result);
                }
                on_its_way.ops.drain(..count).for_each(|op| self.sent(&op));
                Ok(())
            }
            Err(MetaError::SessionLost) => {
                *on_its_way = OnItsWay::default();
                self.lose();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// A file that is open, or that was written to, is registered as open along with its creation, and gets its first chunk.
    fn to_send(&self, done: &Done) -> AheadOp {
        let mut mutation = done.mutation.clone();
        if let (Mutation::Create { node: NewNode::File, open, .. }, Some(inode)) = (&mut mutation, done.ahead.inode) {
            let wants_chunk = self.above().is_some_and(|above| above.wants_chunk(inode));
            *open = self.meta.begin_registering(inode, wants_chunk);
        }
        AheadOp::new(mutation, done.ahead)
    }

    fn sent(&self, op: &AheadOp) {
        if let (Mutation::Create { open: true, .. }, Some(inode)) = (&op.mutation, op.ahead.inode) {
            self.meta.end_registering(inode);
        }
    }

    fn answered(&self, done: &Done, result: Result<MutationReply, FsError>) {
        match result {
            Ok(reply) => {
                let mut inner = self.inner.lock();
                inner.journal.answered(done);
                for attr in attrs_of(&reply) {
                    inner.confirm(attr);
                }
                for &inode in &done.touches {
                    if !inner.journal.is_pending(inode) {
                        inner.table.exhume(inode);
                    }
                }
                drop(inner);
                if let Some(above) = self.above() {
                    above.answered(&done.mutation, &reply);
                }
            }
            Err(refusal) => {
                let mut inner = self.inner.lock();
                inner.journal.answered(done);
                inner.losses.record(done.touches.iter().copied());
                drop(inner);
                tracing::error!(mutation = ?done.mutation, %refusal, "the metaserver refused what was done ahead of it");
                self.distrust();
            }
        }
    }

    /// What is held here is not what the metaserver has: everything is returned, and asked about from then on.
    fn distrust(&self) {
        let dirs = self.inner.lock().table.dirs();
        self.give_back_in_background(dirs);
        if let Some(above) = self.above() {
            // Not here: what was written is sent along with it, which waits for what is being sent now.
            tokio::spawn(async move { above.distrust().await });
        }
    }

    /// The metaserver answers in `session`. Answers false where the delegations were with another one, and are lost.
    pub(super) fn is_with(&self, session: SessionId) -> bool {
        let is_ours = {
            let mut inner = self.inner.lock();
            let is_ours = inner.session.is_none_or(|ours| ours == session);
            if !is_ours {
                // The loss is not to be noticed once more by what is granted in the new session.
                inner.followed = Some(session);
            }
            is_ours
        };
        if !is_ours {
            self.lose();
        }
        is_ours
    }

    /// As [`Self::is_with`], also where nothing is delegated.
    pub(super) fn follow(&self, session: SessionId) {
        let before = self.inner.lock().followed.replace(session);
        if before.is_some_and(|before| before != session) {
            self.lose();
        }
    }

    /// The metaserver has given the session up, and the delegations with it.
    fn lose(&self) {
        let lost = {
            let mut inner = self.inner.lock();
            inner.table.clear();
            inner.session = None;
            let (lost, touched) = inner.journal.lose();
            if lost > 0 {
                // Before anybody who waits for them to be sent goes on.
                inner.losses.record(touched);
            }
            lost
        };
        if lost > 0 {
            tracing::error!(
                changes = lost,
                "changes of the last moments were lost: the metaserver had given this mount up before they were sent"
            );
        }
        if let Some(above) = self.above() {
            // What was granted in that session is not believed in another, whether this has been heard of or not.
            tokio::spawn(async move { above.lost().await });
        }
    }
}

impl Inner {
    /// The metaserver's word on an inode that something was done to here.
    fn confirm(&mut self, attr: &Attr) {
        let pending = self.journal.is_pending(attr.inode);
        if !pending
            && let Some(foreseen) = self.table.attr(attr.inode)
            && !is_as_foreseen(foreseen, attr)
        {
            tracing::error!(?foreseen, ?attr, "the metaserver came to another result than this mount");
        }
        self.table.learn(attr, pending);
    }
}

/// Whether the metaserver did what the rules foresaw. What reading and writing changes is left out.
fn is_as_foreseen(foreseen: &Attr, attr: &Attr) -> bool {
    let plain =
        |attr: &Attr| (attr.kind, attr.mode, attr.nlink, attr.uid, attr.gid, attr.rdev, attr.has_xattrs, attr.btime);
    let written = |attr: &Attr| (attr.size, attr.mtime, attr.ctime);
    plain(foreseen) == plain(attr) && (attr.kind == FileKind::File || written(foreseen) == written(attr))
}

fn attrs_of(reply: &MutationReply) -> Vec<&Attr> {
    match reply {
        MutationReply::Attr(attr) => vec![attr],
        MutationReply::Entry { attr, parent, .. } | MutationReply::Removed { attr, parent } => vec![attr, &parent.attr],
        MutationReply::Renamed { moved, replaced, exchanged, old_parent, new_parent } => {
            let mut attrs = vec![moved, &old_parent.attr, &new_parent.attr];
            attrs.extend(replaced);
            attrs.extend(exchanged);
            attrs
        }
        MutationReply::Done | MutationReply::Chunks(_) | MutationReply::Policy(_) | MutationReply::Delegated(_) => {
            Vec::new()
        }
    }
}
