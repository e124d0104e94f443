//! Events of the session, and returning what others want.

use std::time::Duration;

use cairn_proto::ids::InodeId;
use cairn_proto::meta::Event;

use super::Delegations;
use crate::meta::MetaError;

/// What was written must be where others find it before a directory is returned; where chunkservers do not take it within this, it
/// follows later.
const WRITE_OUT: Duration = Duration::from_secs(10);
/// After a failure.
const PAUSE: Duration = Duration::from_millis(200);

impl Delegations {
    pub(super) async fn follow_events(&self) {
        let mut seen = 0;
        loop {
            let (session, events) = match self.meta.events(seen).await {
                Ok(answer) => answer,
                Err(MetaError::Stopping) => return,
                Err(error) => {
                    tracing::debug!(%error, "no events");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            seen = events.seen;
            self.is_with(session);
            let recalled: Vec<InodeId> = events.events.iter().filter_map(recalled).collect();
            if !recalled.is_empty() {
                self.give_back(recalled).await;
            }
            if events.events.contains(&Event::Flush)
                && let Err(error) = self.flush().await
            {
                tracing::debug!(%error, "not everything was sent");
            }
        }
    }

    /// Sends what was done, has written out what was written, and returns the directories.
    pub(super) async fn give_back(&self, dirs: Vec<InodeId>) {
        let files = {
            let mut inner = self.inner.lock();
            dirs.iter().for_each(|&dir| inner.table.begin_leaving(dir));
            inner.table.files_in(&dirs)
        };
        self.register_opens(&dirs).await;
        if let Some(above) = self.above()
            && tokio::time::timeout(WRITE_OUT, above.write_out(files)).await.is_err()
        {
            tracing::warn!(
                "a directory is returned before everything that was written in it has reached the chunkservers"
            );
        }
        for dir in dirs {
            if let Some(above) = self.above() {
                above.returned(dir);
            }
            if let Err(error) = self.return_one(dir).await {
                // Whoever wants it has it recalled again.
                tracing::debug!(%dir, %error, "not returned");
            }
        }
    }

    async fn return_one(&self, dir: InodeId) -> Result<(), MetaError> {
        self.flush().await?;
        // First: as soon as it is returned, others know better.
        self.rest(dir);
        self.meta.return_delegation(dir).await
    }

    pub(super) fn give_back_in_background(&self, dirs: Vec<InodeId>) {
        if let Some(me) = self.me.upgrade() {
            tokio::spawn(async move { me.give_back(dirs).await });
        }
    }
}

fn recalled(event: &Event) -> Option<InodeId> {
    match event {
        Event::Recall { inode } => Some(*inode),
        Event::Flush => None,
    }
}
