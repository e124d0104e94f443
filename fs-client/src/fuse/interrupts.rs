//! Requests whose callers were interrupted: a program that waits gets a signal, and the kernel says so. What comes of it is decided in
//! [`super::waiting`].

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use fuser::RequestId;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Interrupts that came before their requests were registered, at most: as many as threads can be between reading a request and
/// registering it.
const MAX_EARLY: usize = 64;

/// The requests that can be interrupted.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupts {
    requests: Arc<Mutex<Requests>>,
}

#[derive(Debug, Default)]
struct Requests {
    waiting: HashMap<RequestId, CancellationToken>,
    /// Another thread may read an interrupt before this one has registered the request that it has read.
    early: VecDeque<RequestId>,
}

/// One request, until this is dropped.
#[derive(Debug)]
pub(super) struct Interruptible {
    interrupts: Interrupts,
    id: RequestId,
    pub interrupted: CancellationToken,
}

impl Interrupts {
    pub fn register(&self, id: RequestId) -> Interruptible {
        let interrupted = CancellationToken::new();
        let mut requests = self.requests.lock();
        if let Some(at) = requests.early.iter().position(|early| *early == id) {
            requests.early.remove(at);
            interrupted.cancel();
        }
        requests.waiting.insert(id, interrupted.clone());
        Interruptible { interrupts: self.clone(), id, interrupted }
    }

    /// The kernel says that whoever waits for `id` was interrupted.
    pub fn interrupt(&self, id: RequestId) {
        let mut requests = self.requests.lock();
        match requests.waiting.get(&id) {
            Some(interrupted) => interrupted.cancel(),
            // Or the request has been answered.
            None => {
                if requests.early.len() >= MAX_EARLY {
                    requests.early.pop_front();
                }
                requests.early.push_back(id);
            }
        }
    }
}

impl Drop for Interruptible {
    fn drop(&mut self) {
        self.interrupts.requests.lock().waiting.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_reaches_its_request_whichever_comes_first() {
        let interrupts = Interrupts::default();
        let first = interrupts.register(RequestId(1));
        interrupts.interrupt(RequestId(1));
        assert!(first.interrupted.is_cancelled());
        interrupts.interrupt(RequestId(2));
        assert!(interrupts.register(RequestId(2)).interrupted.is_cancelled());
        assert!(!interrupts.register(RequestId(2)).interrupted.is_cancelled(), "it counts once");
        drop(first);
        assert!(interrupts.requests.lock().waiting.is_empty());
    }

    #[test]
    fn early_interrupts_are_limited() {
        let interrupts = Interrupts::default();
        (0..1000).for_each(|id| interrupts.interrupt(RequestId(id)));
        assert_eq!(interrupts.requests.lock().early.len(), MAX_EARLY);
        assert!(interrupts.register(RequestId(999)).interrupted.is_cancelled());
    }
}
