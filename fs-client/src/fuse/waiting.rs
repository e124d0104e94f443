//! Calls that could not be answered at once, and programs that stop waiting for them.
//!
//! Any signal that reaches a program in a call makes the kernel say so, once; programs expect no `EINTR` from most calls, least of all
//! for a timer or a child. So while the servers answer, an interrupt changes nothing: the call ends soon. But whoever waits for a
//! metaserver that is away must be able to stop waiting, and so must a program that is being killed, whatever it waits for. Those are
//! answered `EINTR`, at once.
//!
//! What the call was about is not cut short by that where it may have reached the servers already: it goes on by itself to its end, so that
//! nobody is in doubt about what came of it, and what it opened is closed again. What changes nothing ends there and then. A program that
//! lives on after its `EINTR` must not lose by a call that is done late what it does next: see [`Left`].

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fuser::{Errno, RequestId};
use futures::FutureExt;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::answer::{Answer, Handle};
use super::fate::Fate;
use super::interrupts::Interruptible;
use super::outcome::Outcomes;
use crate::vfs::{Vfs, VfsError};

/// The metaserver has been away for so long, or a program been killed so long ago, before its calls are answered for that. A restart of
/// the metaserver that is quicker disturbs nobody.
const MOMENT: Duration = Duration::from_secs(1);
/// Between two looks at a process that may be ending.
const LOOK: Duration = Duration::from_millis(200);
/// Calls that go on although nobody waits for them. Beyond that, programs wait.
const MAX_LEFT: usize = 4096;

/// What a call comes to.
pub(super) type Work<T> = Pin<Box<dyn Future<Output = Result<T, VfsError>> + Send>>;

/// What becomes of a call when nobody waits for it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// It changes nothing, so it ends.
    Ends,
    /// It goes on, and does no harm by being done late.
    GoesOn,
    /// It goes on, and late it might take away something newer: `unlink`, `rename`, `truncate`. A program that lives on waits for it.
    GoesOnIfKilled,
}

/// A call of the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub operation: &'static str,
    pub id: RequestId,
    /// The thread that called.
    pub pid: u32,
    pub left: Left,
    /// The kernel calls it when a process ends, too, and then no signal is told of.
    pub at_exit: bool,
}

/// What waits share.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    vfs: Arc<Vfs>,
    places: Arc<Semaphore>,
    outcomes: Arc<Outcomes>,
}

impl Waiting {
    pub fn new(vfs: Arc<Vfs>, outcomes: Arc<Outcomes>) -> Self {
        Self { vfs, places: Arc::new(Semaphore::new(MAX_LEFT)), outcomes }
    }

    /// Brings a call to its end. `given_up` is cancelled when nobody waits for it any more.
    pub async fn finish<A: Answer>(
        self,
        call: Call,
        request: Interruptible,
        mut work: Work<A::Value>,
        given_up: Option<CancellationToken>,
        reply: A,
    ) {
        let result = tokio::select! {
            biased;
            result = &mut work => Some(result),
            () = self.nobody_waits(call, &request.interrupted) => None,
        };
        if let Some(result) = result {
            return self.outcomes.send(call.operation, reply, result);
        }
        let place = self.places.clone().try_acquire_owned();
        if call.left != Left::Ends && place.is_err() {
            tracing::warn!(operation = call.operation, limit = MAX_LEFT, "too many calls go on that nobody waits for");
            return self.outcomes.send(call.operation, reply, work.await);
        }
        if let Some(given_up) = given_up {
            given_up.cancel();
            // It may have an answer of its own to that.
            if let Some(result) = work.as_mut().now_or_never() {
                return self.outcomes.send(call.operation, reply, result);
            }
        }
        tracing::debug!(operation = call.operation, pid = call.pid, "interrupted");
        drop(request);
        reply.fail(Errno::EINTR);
        if call.left != Left::Ends {
            let result = work.await;
            self.end_unseen::<A>(call.operation, result).await;
        }
    }

    /// Nobody was told what a call came to.
    async fn end_unseen<A: Answer>(&self, operation: &'static str, result: Result<A::Value, VfsError>) {
        let opened = match result {
            Ok(value) => A::opened(&value),
            Err(error) => return tracing::debug!(operation, %error, "an interrupted call failed"),
        };
        match opened {
            None => {}
            Some(Handle::File(handle)) => self.vfs.release(handle).await,
            Some(Handle::Directory(handle)) => self.vfs.releasedir(handle),
        }
    }

    /// Returns once whoever has called need not, or does not want to, wait any longer.
    async fn nobody_waits(&self, call: Call, interrupted: &CancellationToken) {
        let outage = self.vfs.meta().outage();
        tokio::select! {
            () = interrupted.cancelled() => {}
            () = tokio::time::sleep(MOMENT), if call.at_exit => {}
            () = outage.has_lasted(MOMENT), if call.at_exit => {}
        }
        let mut killed_for = Duration::ZERO;
        loop {
            let is_away = outage.lasts().is_some_and(|lasts| lasts >= MOMENT);
            if is_away && interrupted.is_cancelled() && call.left != Left::GoesOnIfKilled {
                return;
            }
            match Fate::of(call.pid) {
                Fate::Lives => {}
                // What it has closed is seen by whoever waited for its end, unless that might be for ever.
                Fate::Exits if is_away => return,
                Fate::Exits => {}
                Fate::IsKilled if is_away || killed_for >= MOMENT => return,
                Fate::IsKilled => killed_for += LOOK,
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
