//! The shim between the kernel and [`crate::vfs`]: a few lines per call, which decode, call and reply.
//!
//! fuser calls from its event-loop threads, one per cloned descriptor. Each call becomes a future, which is polled once on that
//! thread: what is answered from memory is answered there and then, without a hop to another thread. What must wait
//! goes on as a task of the runtime, and the thread returns to its loop. Replies may come from anywhere.
//!
//! A signal ends a program's wait for a lock ([`interrupts`]), and any other wait while the metaserver is away ([`waiting`]). `umount -f`
//! ends it in any case.

mod answer;
mod convert;
mod fate;
mod filesystem;
mod init;
mod inodes;
mod interrupts;
mod notify;
mod outcome;
mod page_drops;
mod sync;
mod waiting;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use fuser::Request;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use init::MAX_REQUEST_BYTES;
pub use inodes::KernelInodes;
pub use notify::KernelNotifier;
pub use sync::sync_mount;

use self::answer::Answer;
use self::inodes::{Namer, Naming};
use self::interrupts::{Interruptible, Interrupts};
use self::outcome::Outcomes;
use self::waiting::{Call, Left, Waiting, Work};
use crate::vfs::{Vfs, VfsError};

/// A file system as fuser wants it.
#[derive(Debug)]
pub struct FuseShim {
    vfs: Arc<Vfs>,
    runtime: Handle,
    tasks: TaskTracker,
    interrupts: Interrupts,
    outcomes: Arc<Outcomes>,
    waiting: Waiting,
    inodes: Arc<KernelInodes>,
}

impl FuseShim {
    /// Calls that must wait become tasks of `runtime`, counted by `tasks`.
    pub fn new(vfs: Arc<Vfs>, runtime: Handle, tasks: TaskTracker) -> Self {
        let outcomes = Arc::new(Outcomes::default());
        let waiting = Waiting::new(vfs.clone(), outcomes.clone());
        Self { vfs, runtime, tasks, interrupts: Interrupts::default(), outcomes, waiting, inodes: Arc::default() }
    }

    /// What the kernel was told of.
    pub fn inodes(&self) -> Arc<KernelInodes> {
        self.inodes.clone()
    }

    fn vfs(&self) -> Arc<Vfs> {
        self.vfs.clone()
    }

    fn namer(&self) -> Namer {
        Namer::new(self.inodes.clone(), self.vfs.clone())
    }

    fn naming<R>(&self, reply: R) -> Naming<R> {
        Naming { reply, namer: self.namer() }
    }

    /// Sends what `work` comes to as the reply to an operation that adds something: interrupted, it goes on.
    fn serve<A: Answer>(
        &self,
        request: &Request,
        operation: &'static str,
        reply: A,
        work: impl Future<Output = Result<A::Value, VfsError>> + Send + 'static,
    ) {
        self.start(call(request, operation, Left::GoesOn), None, None, reply, Box::pin(work));
    }

    /// The same for an operation that changes or removes something: it goes on when its program is killed.
    fn change<A: Answer>(
        &self,
        request: &Request,
        operation: &'static str,
        reply: A,
        work: impl Future<Output = Result<A::Value, VfsError>> + Send + 'static,
    ) {
        let call = call(request, operation, Left::GoesOnIfKilled);
        self.start(call, None, None, reply, Box::pin(work));
    }

    /// The same for an operation that changes nothing: interrupted, it ends.
    fn ask<A: Answer>(
        &self,
        request: &Request,
        operation: &'static str,
        reply: A,
        work: impl Future<Output = Result<A::Value, VfsError>> + Send + 'static,
    ) {
        self.start(call(request, operation, Left::Ends), None, None, reply, Box::pin(work));
    }

    /// Polls once here; what is not ready goes on as a task. `given_up` tells `work` that nobody waits for it any more.
    fn start<A: Answer>(
        &self,
        call: Call,
        request: Option<Interruptible>,
        given_up: Option<CancellationToken>,
        reply: A,
        mut work: Work<A::Value>,
    ) {
        let _runtime = self.runtime.enter();
        let first_try = || match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => {
                self.outcomes.send(call.operation, reply, result);
                None
            }
            Poll::Pending => Some(reply),
        };
        match catch_unwind(AssertUnwindSafe(first_try)) {
            Ok(None) => {}
            // The task polls again at once, so that nothing is missed for the waker that did nothing.
            Ok(Some(reply)) => {
                let request = request.unwrap_or_else(|| self.interrupts.register(call.id));
                let waiting = self.waiting.clone().finish(call, request, work, given_up, reply);
                drop(self.tasks.spawn_on(waiting, &self.runtime));
            }
            // The panic has been reported by its hook; dropping the reply answers EIO, and this thread lives on.
            Err(_) => {}
        }
    }
}

fn call(request: &Request, operation: &'static str, left: Left) -> Call {
    Call { operation, id: request.unique(), pid: request.pid(), left, at_exit: false }
}
