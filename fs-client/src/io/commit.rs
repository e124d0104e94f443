//! Telling the metaserver what is acknowledged: sizes, chunk lengths, the modification time.

use cairn_proto::attr::Attr;
use cairn_proto::meta::{ChunkExtent, MAX_CHUNKS_PER_CALL};
use cairn_proto::time::Timestamp;

use super::changes::{Changes, Reach};
use super::error::{IoError, MetaError};
use super::file::{FileIo, KnownAttr};
use crate::failpoint::{AFTER_COMMIT, crash_point};

impl FileIo {
    /// Commits what is acknowledged. Whoever comes while a commit is under way finds his own part done by the next one.
    pub(super) async fn commit(&self, reach: Reach) -> Result<(), IoError> {
        let _turn = self.commit_turn.lock().await;
        let Some(batch) = self.begin_commit(reach) else { return Ok(()) };
        let mut attempts = self.shared.write_attempts();
        loop {
            // What was written in a session that is gone must not be committed in another.
            if self.state.lock().committing.is_none() {
                return Err(IoError::Fenced(self.inode));
            }
            let Err(cause) = self.send(&batch).await else { return Ok(()) };
            let transient = cause.is_transient();
            let error = IoError::Meta { inode: self.inode, cause };
            if !transient {
                self.refused(&error);
                return Err(error);
            }
            if let Err(error) = attempts.pause(error).await {
                self.put_back();
                return Err(error);
            }
        }
    }

    /// The background's commit: lets the file grow only to the first byte that is still missing.
    pub(super) async fn commit_what_is_whole(&self) -> Result<(), IoError> {
        let reach = {
            let state = self.state.lock();
            state.pieces.first_from(state.known.size).map_or(Reach::LastAcknowledged, Reach::Before)
        };
        self.commit(reach).await
    }

    fn begin_commit(&self, reach: Reach) -> Option<Changes> {
        // One that was given up on its way may or may not have been done: doing it again does no harm.
        self.put_back();
        let mut state = self.state.lock();
        if !state.changes.is_due() {
            return None;
        }
        let known_size = state.known.size;
        let batch = state.changes.take(known_size, reach);
        if batch.extents().is_empty() && batch.size() <= known_size && reach != Reach::LastAcknowledged {
            state.changes.put_back(batch);
            return None;
        }
        state.committing = Some(batch.clone());
        Some(batch)
    }

    fn put_back(&self) {
        let mut state = self.state.lock();
        if let Some(batch) = state.committing.take() {
            state.changes.put_back(batch);
        }
    }

    /// Whoever sees the file's new size finds its chunks: the size goes with the last of them.
    async fn send(&self, batch: &Changes) -> Result<(), MetaError> {
        let extents = batch.extents();
        let mut groups: Vec<&[ChunkExtent]> = extents.chunks(MAX_CHUNKS_PER_CALL as usize).collect();
        let last = groups.pop().unwrap_or_default();
        for group in groups {
            self.call(batch, 0, group).await?;
        }
        let attr = self.call(batch, batch.size(), last).await?;
        crash_point(AFTER_COMMIT);
        // In this order: whoever finds nothing to correct any more finds the new attributes.
        (self.shared.observer)(attr.clone());
        self.committed(&attr);
        Ok(())
    }

    async fn call(&self, batch: &Changes, size: u64, extents: &[ChunkExtent]) -> Result<Attr, MetaError> {
        // Asked anew: the program may have set it since.
        let mtime = self.state.lock().committing.as_ref().and_then(Changes::mtime).or(batch.mtime());
        let mtime = mtime.unwrap_or_else(Timestamp::now);
        let kill = batch.kills_suid_sgid();
        self.shared.meta.commit_write(self.inode, size, mtime, extents.to_vec(), kill).await
    }

    fn committed(&self, attr: &Attr) {
        let mut state = self.state.lock();
        let batch = state.committing.take();
        // Unless a newer answer has overtaken this one.
        if attr.changed_at >= state.known.changed_at {
            state.known = KnownAttr::of(attr);
        }
        if let Some(batch) = batch {
            state.confirmed.add(batch.extents());
            state.forget_times(batch.mtime());
            if batch.mtime() == Some(attr.mtime) {
                state.stamp.committed(attr.mtime);
            }
        }
        state.size = state.least_size();
    }

    fn refused(&self, error: &IoError) {
        if error.is_gone() {
            tracing::info!(inode = %self.inode, "bytes were written to a file that is gone");
            self.discard_for_good();
        } else {
            tracing::error!(inode = %self.inode, %error, "the metaserver refused a commit: written bytes are lost");
        }
        let mut state = self.state.lock();
        state.committing = None;
        state.errors.record(error.clone());
        state.size = state.least_size();
    }
}
