//! Recalls: a session is asked to return a directory that somebody else wants, and whoever wants it waits.
//!
//! A call waits for at most [`LIMIT`]; its client then asks again, for as long as it takes: until the holder has returned the
//! directory, or has been silent for its term and lost its session.

use std::collections::HashMap;
use std::time::Duration;

use cairn_proto::error::FsError;
use cairn_proto::ids::{InodeId, SessionId};
use cairn_proto::meta::Event;
use futures::future::join_all;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::Clients;
use super::leases::Announcement;
use crate::Moment;
use crate::namespace::query;

/// For directories to be returned during one call.
const LIMIT: Duration = Duration::from_secs(5);
/// Between two looks at a directory that is waited for, should nothing be heard of it. A holder that acted upon the recall and
/// has the directory still, or again, is then asked once more.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// After a recall nobody is given the directory for so long: one that several clients use would go to and fro.
const REST: Duration = Duration::from_secs(5);
/// Directories that are remembered as recalled, at most; beyond it the old ones are forgotten early.
const MAX_RESTING: usize = 16_384;

/// What is known of recalls.
#[derive(Debug)]
pub struct Recalls {
    /// Changes whenever a delegation may have ended.
    ended: watch::Sender<()>,
    /// When somebody last waited for these.
    recalled: Mutex<HashMap<InodeId, Moment>>,
}

impl Default for Recalls {
    fn default() -> Self {
        Self { ended: watch::Sender::new(()), recalled: Mutex::default() }
    }
}

impl Recalls {
    /// Some delegation may have ended: whoever waits for one looks again.
    pub fn ended(&self) {
        self.ended.send_replace(());
    }

    /// Whether `directory` was recalled so short a time ago that it is not delegated.
    pub fn is_resting(&self, directory: InodeId, now: Moment) -> bool {
        self.recalled.lock().get(&directory).is_some_and(|&then| now.saturating_sub(then) < REST)
    }

    fn note(&self, directory: InodeId, now: Moment) {
        let mut recalled = self.recalled.lock();
        if recalled.len() >= MAX_RESTING {
            recalled.retain(|_, &mut then| now.saturating_sub(then) < REST);
            if recalled.len() >= MAX_RESTING {
                recalled.clear();
            }
        }
        recalled.insert(directory, now);
    }
}

/// How long a call may still wait. It begins when the call first has to.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    limit: Duration,
    ends: Option<Instant>,
}

impl Patience {
    fn of(limit: Duration) -> Self {
        Self { limit, ends: None }
    }

    pub(super) fn end(&mut self) -> Instant {
        *self.ends.get_or_insert_with(|| Instant::now() + self.limit)
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self::of(LIMIT)
    }
}

impl Clients {
    /// Asks, and where a delegation is in the way, recalls it and asks again. `Delegated` where that takes too long.
    pub async fn recalling<T, F>(&self, ask: impl FnMut() -> F) -> Result<T, FsError>
    where
        F: Future<Output = Result<T, FsError>>,
    {
        self.recalling_within(None, Patience::default(), ask).await
    }

    /// As [`Self::recalling`], for somebody who does not ask again: waits out a holder that is silent.
    pub async fn recalling_to_the_end<T, F>(&self, ask: impl FnMut() -> F) -> Result<T, FsError>
    where
        F: Future<Output = Result<T, FsError>>,
    {
        self.recalling_within(None, Patience::of(self.sessions.term() + LIMIT), ask).await
    }

    /// `session`: who asks, where it is to have its turn.
    pub(super) async fn recalling_within<T, F>(
        &self,
        session: Option<SessionId>,
        mut patience: Patience,
        mut ask: impl FnMut() -> F,
    ) -> Result<T, FsError>
    where
        F: Future<Output = Result<T, FsError>>,
    {
        let mut turn: Option<(InodeId, Announcement)> = None;
        loop {
            match ask().await {
                Err(FsError::Delegated(directory)) => self.recall(directory, &mut patience).await?,
                Err(FsError::Leased(inode)) => {
                    if turn.as_ref().is_none_or(|(of, _)| *of != inode) {
                        turn = session.map(|session| (inode, self.turn_to_look(session, inode)));
                    }
                    self.sent_for_others(session, inode, &mut patience).await?;
                }
                answer => return answer,
            }
        }
    }

    /// Waits until `directory` is no longer delegated to whom it is now; `Delegated` when that takes too long.
    pub async fn recall(&self, directory: InodeId, patience: &mut Patience) -> Result<(), FsError> {
        let deadline = patience.end();
        let mut ended = self.recalls.ended.subscribe();
        let mut first = None;
        loop {
            let holder = self.state.read(|read| query::delegated_to(read, directory))?;
            let Some(holder) = holder.filter(|&holder| *first.get_or_insert(holder) == holder) else { return Ok(()) };
            self.recalls.note(directory, self.now());
            self.events.ask(holder, Event::Recall { inode: directory });
            let look = deadline.min(Instant::now() + LOOK_AGAIN);
            // Whether something was heard or not: look again.
            let _ = self.unless_stopping(timeout_at(look, ended.changed())).await?;
            if Instant::now() >= deadline {
                return Err(FsError::Delegated(directory));
            }
        }
    }

    /// Has every client send what it did under delegations, as far as it does so in a short time.
    pub async fn flush_all(&self) {
        let since = self.now().saturating_sub(self.sessions.term());
        let asked = self.events.ask_all(Event::Flush, since);
        let flushes = asked.into_iter().map(async |(session, number)| {
            if timeout(LIMIT, self.events.until_acted(session, number)).await.is_err() {
                tracing::debug!(%session, "a client has not sent what it did ahead: what it knows better is not seen");
            }
        });
        // Where it stops first nobody is asked any more.
        self.unless_stopping(join_all(flushes)).await.ok();
    }
}

#[cfg(test)]
mod tests;
