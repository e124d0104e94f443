//! Telling the kernel to drop pages, which waits for reads and writes that have some of them locked.
//!
//! A write may be waiting for another mount to drop its pages of the same file, and that mount for a write of its own to another file, which waits
//! for this mount. So one file's pages must not wait behind another's: as many threads tell the kernel as there are files whose
//! pages are waited for. There is one to begin with; whoever has waited for a while and finds none idle adds another.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use cairn_proto::ids::InodeId;
use fuser::Notifier;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::inodes::KernelInodes;
use super::notify::{ALL_PAGES, Told, invalidate, spawn_without_descriptors};

/// By then the kernel has usually dropped what nobody uses.
const ADD_AFTER: Duration = Duration::from_millis(5);
/// A thread that had nothing to do for so long ends, if it is not the only one.
const IDLE: Duration = Duration::from_secs(10);
/// Threads at most: files that this mount writes to at the same moment as others do.
const MAX_THREADS: usize = 1024;

/// See the module. Dropped, it ends the threads as soon as the kernel lets them.
#[derive(Debug)]
pub(super) struct PageDrops(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    notifier: Notifier,
    inodes: Arc<KernelInodes>,
    told: Sender<Told>,
    queue: Mutex<Queue>,
    /// There is something in the queue, or it is closed.
    arrived: Condvar,
}

#[derive(Debug)]
struct Queue {
    waiting: VecDeque<(InodeId, oneshot::Sender<()>)>,
    threads: usize,
    idle: usize,
    is_closed: bool,
}

impl PageDrops {
    /// `notifier`: its device is the one that threads keep. `told`: hears what the kernel has taken.
    pub fn start(notifier: Notifier, inodes: Arc<KernelInodes>, told: Sender<Told>) -> io::Result<Self> {
        let queue = Mutex::new(Queue { waiting: VecDeque::new(), threads: 1, idle: 0, is_closed: false });
        let shared = Arc::new(Shared { notifier, inodes, told, queue, arrived: Condvar::new() });
        let (begun, has_begun) = channel();
        shared.spawn(move |let_go| {
            let _ = begun.send(let_go);
        })?;
        if let Ok(Err(error)) = has_begun.recv() {
            tracing::warn!(%error, "the mount may hang if its client is killed");
        }
        Ok(Self(shared))
    }

    /// Returns at once; the result ends when the kernel has dropped them. It need not be waited for.
    pub fn drop_pages(&self, inode: InodeId) -> BoxFuture<'static, ()> {
        let (done, mut is_done) = oneshot::channel();
        self.0.queue.lock().waiting.push_back((inode, done));
        self.0.arrived.notify_one();
        let shared = self.0.clone();
        async move {
            // An error means that the mount is ending.
            while tokio::time::timeout(ADD_AFTER, &mut is_done).await.is_err() {
                shared.add_thread();
            }
        }
        .boxed()
    }
}

impl Shared {
    /// Where something waits and no thread is idle.
    fn add_thread(self: &Arc<Self>) {
        {
            let mut queue = self.queue.lock();
            if queue.waiting.is_empty() || queue.idle > 0 || queue.threads >= MAX_THREADS {
                return;
            }
            queue.threads += 1;
        }
        if let Err(error) = self.spawn(|_| ()) {
            self.queue.lock().threads -= 1;
            tracing::debug!(%error, "no further thread to drop pages");
        }
    }

    fn spawn(self: &Arc<Self>, begun: impl FnOnce(io::Result<()>) + Send + 'static) -> io::Result<()> {
        let me = self.clone();
        spawn_without_descriptors("fuse-pages", self.notifier.raw_fd(), move |let_go| {
            begun(let_go);
            me.work();
        })
    }

    fn work(&self) {
        while let Some((inode, done)) = self.next() {
            let taken = invalidate(&self.notifier, &self.inodes, inode, ALL_PAGES);
            // The other thread ends after this one.
            let _ = self.told.send(Told { what: "drop pages", inode: Some(inode), taken, done: Some(done) });
        }
    }

    /// What is to be dropped next; `None` where this thread is not needed.
    fn next(&self) -> Option<(InodeId, oneshot::Sender<()>)> {
        let mut queue = self.queue.lock();
        loop {
            if queue.is_closed {
                queue.threads -= 1;
                return None;
            }
            if let Some(next) = queue.waiting.pop_front() {
                return Some(next);
            }
            queue.idle += 1;
            let timed_out = self.arrived.wait_for(&mut queue, IDLE).timed_out();
            queue.idle -= 1;
            if timed_out && queue.waiting.is_empty() && queue.threads > 1 {
                queue.threads -= 1;
                return None;
            }
        }
    }
}

impl Drop for PageDrops {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.is_closed = true;
        // Whoever waits for them goes on.
        queue.waiting.clear();
        self.0.arrived.notify_all();
    }
}
