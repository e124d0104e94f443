//! The shim between the kernel and [`crate::vfs`]: a few lines per call, which decode, call and reply.
//!
//! fuser calls from its event-loop threads, one per cloned descriptor. Each call becomes a future, which is polled once on that
//! thread: what is answered from memory is answered there and then, without a hop to another thread. What must wait
//! goes on as a task of the runtime, and the thread returns to its loop. Replies may come from anywhere.
//!
//! A signal ends a program's wait for a lock ([`interrupts`]); any other wait only while the request has not been read yet. `umount -f`
//! ends it in any case.

mod answer;
mod convert;
mod filesystem;
mod init;
mod interrupts;
mod notify;
mod sync;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Waker};

use fuser::Errno;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

pub use init::MAX_REQUEST_BYTES;
pub use notify::KernelNotifier;
pub use sync::sync_mount;

use self::answer::Answer;
use self::interrupts::Interrupts;
use crate::vfs::{Vfs, VfsError};

/// A file system as fuser wants it.
#[derive(Debug)]
pub struct FuseShim {
    vfs: Arc<Vfs>,
    runtime: Handle,
    tasks: TaskTracker,
    interrupts: Interrupts,
}

impl FuseShim {
    /// Calls that must wait become tasks of `runtime`, counted by `tasks`.
    pub fn new(vfs: Arc<Vfs>, runtime: Handle, tasks: TaskTracker) -> Self {
        Self { vfs, runtime, tasks, interrupts: Interrupts::default() }
    }

    fn vfs(&self) -> Arc<Vfs> {
        self.vfs.clone()
    }

    /// Sends what `work` comes to as the reply to an operation.
    fn serve<A: Answer>(
        &self,
        operation: &'static str,
        reply: A,
        work: impl Future<Output = Result<A::Value, VfsError>> + Send + 'static,
    ) {
        self.start(async move {
            match work.await {
                Ok(value) => reply.send(value),
                Err(error) => reply.fail(errno(operation, &error)),
            }
        });
    }

    /// Polls once here; what is not ready goes on as a task.
    fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut work = Box::pin(work);
        let _runtime = self.runtime.enter();
        let poll = || work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(polled) if polled.is_ready() => {}
            // The task polls again at once, so that nothing is missed for the waker that did nothing.
            Ok(_) => drop(self.tasks.spawn_on(work, &self.runtime)),
            // The panic has been reported by its hook; dropping the reply answers EIO, and this thread lives on.
            Err(_) => {}
        }
    }
}

/// The error number of a failed operation. Answers of the file system are nobody's concern but the caller's; failures are logged.
fn errno(operation: &'static str, error: &VfsError) -> Errno {
    if error.is_answer() {
        tracing::debug!(operation, %error, "refused");
    } else {
        tracing::error!(operation, %error, "failed");
    }
    Errno::from_i32(error.errno())
}
