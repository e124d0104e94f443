//! Events of the session, and returning what others want.

use std::sync::Arc;
use std::time::Duration;

use cairn_proto::ids::InodeId;
use cairn_proto::meta::Event;

use super::Delegations;
use crate::meta::{MetaError, Standing};

/// After a failure.
const PAUSE: Duration = Duration::from_millis(200);

impl Delegations {
    pub(super) async fn follow_events(self: &Arc<Self>) {
        let mut seen = 0;
        let mut was: Option<Standing> = None;
        loop {
            let (standing, events) = match self.meta.events(was, seen).await {
                Ok(answer) => answer,
                Err(MetaError::Stopping) => return,
                Err(error) => {
                    tracing::debug!(%error, "no events");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            seen = events.seen;
            self.follow(standing.session);
            // In a session from before its restart the metaserver waits to be told what is still wanted.
            if standing.has_restarted_since(was.replace(standing))
                && let Some(above) = self.above()
            {
                // Not here: it takes its time where there is much, and what others ask for meanwhile is done.
                tokio::spawn(async move { above.metaserver_restarted(standing.incarnation).await });
            }
            self.act_upon(events.events);
        }
    }

    /// Each by itself, as some take longer than others.
    fn act_upon(self: &Arc<Self>, events: Vec<(u64, Event)>) {
        for (number, event) in events {
            let me = self.clone();
            tokio::spawn(async move {
                me.act(event).await;
                me.acted(vec![number]).await;
            });
        }
    }

    async fn act(&self, event: Event) {
        let above = self.above();
        match (event, above) {
            (Event::Flush, _) => {
                if let Err(error) = self.flush().await {
                    tracing::debug!(%error, "not everything was sent");
                }
            }
            (Event::Recall { inode }, _) => self.give_back(vec![inode]).await,
            (Event::Drop { inodes }, Some(above)) => above.drop_leases(inodes).await,
            (Event::Downgrade { inode }, Some(above)) => above.downgrade(inode).await,
            (Event::Drop { .. } | Event::Downgrade { .. }, None) => {}
        }
    }

    async fn acted(&self, events: Vec<u64>) {
        if let Err(error) = self.meta.acted(events).await {
            // The session is gone, and whoever waited for this does not any more.
            tracing::debug!(%error, "the metaserver was not told that it was obeyed");
        }
    }

    /// Has the directories' leases end, with all that was written in them, sends what was done, and returns them.
    pub(super) async fn give_back(&self, dirs: Vec<InodeId>) {
        {
            let mut inner = self.inner.lock();
            dirs.iter().for_each(|&dir| inner.table.begin_leaving(dir));
        }
        self.register_opens(&dirs).await;
        for dir in dirs {
            let named = self.inner.lock().table.named_in(dir);
            if let Some(above) = self.above() {
                above.returned(dir, named).await;
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
