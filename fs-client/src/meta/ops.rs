//! The names of one session's mutations, and which of them are still waited for.

use std::collections::BTreeSet;
use std::sync::Arc;

use cairn_proto::ids::{OpId, SessionId};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Mutations from the oldest that is waited for to the newest. The metaserver keeps the results of twice as many.
const MAX_WINDOW_OPS: u64 = 8 << 10;

/// Hands out [`OpId`]s. The metaserver keeps a mutation's result until the window has moved past it.
#[derive(Debug)]
pub(super) struct OpWindow {
    session: SessionId,
    state: Mutex<State>,
    moved: Notify,
}

#[derive(Debug)]
struct State {
    next: u64,
    waiting: BTreeSet<u64>,
}

/// A mutation that is waited for, until dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    window: Arc<OpWindow>,
    seq: u64,
}

impl OpWindow {
    pub fn new(session: SessionId) -> Self {
        let state = State { next: 1, waiting: BTreeSet::new() };
        Self { session, state: Mutex::new(state), moved: Notify::new() }
    }

    /// Names a mutation. Waits while the window is full: one operation that gets no answer must not let the others run out of
    /// what the metaserver remembers.
    pub async fn open(self: &Arc<Self>) -> Ticket {
        loop {
            let moved = self.moved.notified();
            if let Some(ticket) = self.try_open() {
                return ticket;
            }
            moved.await;
        }
    }

    fn try_open(self: &Arc<Self>) -> Option<Ticket> {
        let mut state = self.state.lock();
        let seq = state.next;
        if state.waiting.first().is_some_and(|first| seq - first >= MAX_WINDOW_OPS) {
            return None;
        }
        state.next += 1;
        state.waiting.insert(seq);
        Some(Ticket { window: self.clone(), seq })
    }

    /// Results of mutations below this will never be asked for again.
    pub fn acked(&self) -> u64 {
        let state = self.state.lock();
        state.waiting.first().copied().unwrap_or(state.next)
    }
}

impl Ticket {
    pub fn op(&self) -> OpId {
        OpId { session: self.window.session, seq: self.seq }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.window.state.lock();
        let was_first = state.waiting.first() == Some(&self.seq);
        state.waiting.remove(&self.seq);
        drop(state);
        if was_first {
            self.window.moved.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn the_window_moves_past_what_nobody_waits_for() {
        let window = Arc::new(OpWindow::new(SessionId(7)));
        assert_eq!(window.acked(), 1);
        let open = || window.open().now_or_never().unwrap();
        let (first, second, third) = (open(), open(), open());
        assert_eq!(second.op(), OpId { session: SessionId(7), seq: 2 });
        drop(second);
        assert_eq!(window.acked(), 1);
        drop(first);
        assert_eq!(window.acked(), 3);
        drop(third);
        assert_eq!(window.acked(), 4);
    }

    #[tokio::test]
    async fn a_stuck_mutation_holds_up_the_others_in_time() {
        let window = Arc::new(OpWindow::new(SessionId(7)));
        let stuck = window.open().await;
        for _ in 1..MAX_WINDOW_OPS {
            drop(window.open().await);
        }
        assert!(window.open().now_or_never().is_none());
        let waiting = tokio::spawn({
            let window = window.clone();
            async move { window.open().await.op().seq }
        });
        tokio::task::yield_now().await;
        drop(stuck);
        assert_eq!(waiting.await.unwrap(), MAX_WINDOW_OPS + 1);
    }
}
