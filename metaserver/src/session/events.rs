//! What sessions are asked to do: a queue of [`Event`]s for each, emptied by a long poll.
//!
//! Events are numbered. An answer carries the number of its last event, and the next call brings it back: up to there they have
//! been received. Until then they are sent again with every answer, so that an answer that is lost costs nothing. That one
//! has been acted upon is told apart from that, in whatever order: some take longer than others. Numbers begin
//! somewhere else in every process: one from an earlier metaserver is not known here, and acknowledges nothing.
//!
//! In memory only. What a lost event asked for is still wanted by whoever waits for it, and is asked for again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use cairn_proto::error::FsError;
use cairn_proto::ids::SessionId;
use cairn_proto::meta::{Event, Events};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::Moment;

/// Events that one session has not acted upon, at most. What is beyond is asked for later, by whoever still waits for it.
const MAX_PENDING: usize = 1024;

/// The queues of all sessions.
#[derive(Debug)]
pub struct EventQueues {
    queues: Mutex<HashMap<SessionId, Queue>>,
    /// The number before the first event of every queue.
    base: u64,
    /// Changes whenever some session has acted upon something, or is gone.
    acted: watch::Sender<()>,
}

#[derive(Debug)]
struct Queue {
    /// Not acted upon yet.
    events: BTreeMap<u64, Event>,
    /// The number of the last event that was asked for.
    last: u64,
    /// The number of the last event that was ever answered.
    sent: u64,
    /// The number of the last event that was received.
    received: u64,
    /// When it was last asked for.
    polled: Option<Moment>,
    arrived: Arc<Notify>,
}

impl EventQueues {
    /// `base`: another one in every process, and not close to the last.
    pub fn new(base: u64) -> Self {
        // 0 is the client's word for knowing nothing.
        Self { queues: Mutex::default(), base: base.clamp(1, u64::MAX / 2), acted: watch::Sender::new(()) }
    }

    /// From now on `session` has a queue.
    pub fn admit(&self, session: SessionId) {
        let base = self.base;
        self.queues.lock().entry(session).or_insert_with(|| Queue::new(base));
    }

    /// The session ended: nobody waits for it, or at its queue, any longer.
    pub fn drop_session(&self, session: SessionId) {
        if let Some(queue) = self.queues.lock().remove(&session) {
            queue.arrived.notify_waiters();
        }
        self.acted.send_replace(());
    }

    /// Asks a session to do something. Answers the number of the event; `None` where the session is gone, or its queue full.
    ///
    /// One that waits already, and would do, is not queued twice.
    pub fn ask(&self, session: SessionId, event: Event) -> Option<u64> {
        self.queues.lock().get_mut(&session)?.ask(event)
    }

    /// Asks all sessions that have looked for events since `since`.
    pub fn ask_all(&self, event: Event, since: Moment) -> Vec<(SessionId, u64)> {
        let mut queues = self.queues.lock();
        let listening = queues.iter_mut().filter(|(_, queue)| queue.polled.is_some_and(|polled| polled >= since));
        listening.filter_map(|(&session, queue)| Some((session, queue.ask(event.clone())?))).collect()
    }

    /// A session has acted upon some of its events. Answers those that were not known to be.
    pub fn acted(&self, session: SessionId, numbers: &[u64]) -> Vec<Event> {
        let acted = {
            let mut queues = self.queues.lock();
            let Some(queue) = queues.get_mut(&session) else { return Vec::new() };
            numbers.iter().filter_map(|number| queue.events.remove(number)).collect::<Vec<_>>()
        };
        if !acted.is_empty() {
            self.acted.send_replace(());
        }
        acted
    }

    /// Waits until `session` has acted upon its event `number`, or is gone.
    pub async fn until_acted(&self, session: SessionId, number: u64) {
        let mut acted = self.acted.subscribe();
        while self.is_pending(session, number) && acted.changed().await.is_ok() {}
    }

    /// Events for `session`, which has received those up to `seen`; none where none come within `limit`.
    pub async fn wait(&self, session: SessionId, seen: u64, now: Moment, limit: Duration) -> Result<Events, FsError> {
        let arrived = self.received(session, seen, now)?;
        let late = tokio::time::sleep(limit);
        tokio::pin!(late);
        loop {
            // Before the look, so that nothing comes unnoticed in between.
            let notified = arrived.notified();
            let events = self.pending(session)?;
            if !events.events.is_empty() {
                return Ok(events);
            }
            tokio::select! {
                () = notified => {}
                () = &mut late => return self.pending(session),
            }
        }
    }

    fn received(&self, session: SessionId, seen: u64, now: Moment) -> Result<Arc<Notify>, FsError> {
        let mut queues = self.queues.lock();
        let queue = queues.get_mut(&session).ok_or(FsError::SessionUnknown(session))?;
        queue.polled = Some(now);
        queue.received(seen);
        Ok(queue.arrived.clone())
    }

    fn pending(&self, session: SessionId) -> Result<Events, FsError> {
        let mut queues = self.queues.lock();
        let queue = queues.get_mut(&session).ok_or(FsError::SessionUnknown(session))?;
        Ok(queue.answer())
    }

    fn is_pending(&self, session: SessionId, number: u64) -> bool {
        self.queues.lock().get(&session).is_some_and(|queue| queue.events.contains_key(&number))
    }
}

impl Queue {
    fn new(base: u64) -> Self {
        Self { events: BTreeMap::new(), last: base, sent: base, received: base, polled: None, arrived: Arc::default() }
    }

    fn ask(&mut self, event: Event) -> Option<u64> {
        if let Some((&number, _)) = self.events.iter().rfind(|(_, pending)| **pending == event) {
            // A flush that is under way may be past what was done since.
            if number > self.sent || event != Event::Flush {
                return Some(number);
            }
        }
        if self.events.len() >= MAX_PENDING {
            return None;
        }
        self.last += 1;
        self.events.insert(self.last, event);
        self.arrived.notify_waiters();
        Some(self.last)
    }

    fn received(&mut self, seen: u64) {
        // What was never sent cannot have been seen: such a number is another process's.
        if seen <= self.sent {
            self.received = self.received.max(seen);
        }
    }

    fn answer(&mut self) -> Events {
        self.sent = self.last;
        let events = self.events.range(self.received + 1..).map(|(&number, event)| (number, event.clone()));
        Events { seen: self.sent, events: events.collect() }
    }
}

#[cfg(test)]
mod tests;
