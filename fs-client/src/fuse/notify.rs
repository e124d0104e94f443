//! Telling the kernel what to drop.
//!
//! A notification may wait for pages that are locked by a read under way, and so for the answer to that read: it must
//! not be sent from a thread that has answers to give. Hence threads of their own: some for pages ([`super::page_drops`]), and one for what never
//! waits, forgetting attributes and names.
//!
//! Nor can that wait be ended by killing the client, and what such a thread has open stays open until then. If the reads of the kernel
//! were among it, nobody would tell the kernel that they will not be answered, and the mount would hang, client and all. So the threads have
//! tables of descriptors of their own, and in them nothing but a clone of the device: a client that is killed lets go of all else. They can wake
//! nobody, as the runtime does that by a descriptor; what they have sent they pass on to another thread.
//!
//! An inode that the kernel was told of a moment ago may not be there yet: see [`super::inodes`].

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cairn_proto::ids::InodeId;
use fuser::Notifier;
use futures::future::BoxFuture;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use tokio::sync::oneshot;

use super::convert;
use super::inodes::KernelInodes;
use super::page_drops::PageDrops;
use crate::vfs::KernelCache;

/// The byte from which on pages go along with an inode's attributes; none go from a negative one.
pub(super) const ALL_PAGES: i64 = 0;
const NO_PAGES: i64 = -1;
/// Before the kernel is told again to drop what it has not entered yet: about as long as it takes to wake the program that has asked.
const ENTERS_IN: Duration = Duration::from_micros(50);
/// By then it has entered it, or never will: the connection is being taken down.
const ENTERED_BY: Duration = Duration::from_secs(10);
/// Of a thread that does nothing but write to the device.
const STACK: usize = 256 << 10;

/// Sends notifications until it is dropped.
#[derive(Debug)]
pub struct KernelNotifier {
    pages: PageDrops,
    others: Sender<Notification>,
    can_forget_names: bool,
}

/// What never waits; sent in order.
#[derive(Debug)]
enum Notification {
    ForgetAttrs(InodeId),
    ForgetNames,
    /// Everything before it has been taken.
    Mark(oneshot::Sender<()>),
}

/// The kernel has taken a notification, or not.
#[derive(Debug)]
pub(super) struct Told {
    pub what: &'static str,
    pub inode: Option<InodeId>,
    pub taken: io::Result<()>,
    /// Whoever waits for that.
    pub done: Option<oneshot::Sender<()>>,
}

impl KernelNotifier {
    /// `inodes`: what the kernel is told of.
    pub fn start(notifier: &Notifier, inodes: &Arc<KernelInodes>) -> io::Result<Self> {
        // By trying: older kernels refuse what they do not know.
        let can_forget_names = notifier.inc_epoch().is_ok();
        if !can_forget_names {
            tracing::info!(
                "the kernel cannot be told to forget names (Linux 6.16 can): each is looked up by CairnFS each time"
            );
        }
        let (told, hears) = channel();
        thread::Builder::new().name("fuse-notified".to_owned()).spawn(move || tell(&hears))?;
        let pages = PageDrops::start(notifier.try_clone_device()?, inodes.clone(), told.clone())?;
        let (others, waiting) = channel();
        let (clone, inodes) = (notifier.try_clone_device()?, inodes.clone());
        spawn_without_descriptors("fuse-notify", clone.raw_fd(), move |_| send(&clone, &inodes, &waiting, &told))?;
        Ok(Self { pages, others, can_forget_names })
    }

    fn send(&self, notification: Notification) {
        // An error means that the mount is ending.
        let _ = self.others.send(notification);
    }
}

#[async_trait]
impl KernelCache for KernelNotifier {
    fn drop_pages(&self, inode: InodeId) -> BoxFuture<'static, ()> {
        self.pages.drop_pages(inode)
    }

    fn forget_attrs(&self, inode: InodeId) {
        self.send(Notification::ForgetAttrs(inode));
    }

    fn can_forget_names(&self) -> bool {
        self.can_forget_names
    }

    fn forget_names(&self) {
        self.send(Notification::ForgetNames);
    }

    async fn forgotten(&self) {
        let (done, taken) = oneshot::channel();
        self.send(Notification::Mark(done));
        // Dropped unsent where the mount is ending.
        let _ = taken.await;
    }
}

/// Runs `work` on a thread with a table of descriptors of its own, in which there is nothing but the standard ones and `kept`. It is told
/// whether that came about.
pub(super) fn spawn_without_descriptors(
    name: &str,
    kept: RawFd,
    work: impl FnOnce(io::Result<()>) + Send + 'static,
) -> io::Result<()> {
    let thread = thread::Builder::new().name(name.to_owned()).stack_size(STACK);
    thread.spawn(move || work(let_go_of_all_but(kept))).map(drop)
}

/// Gives this thread a table of descriptors of its own, and closes in it all but the standard ones and `kept`.
fn let_go_of_all_but(kept: RawFd) -> io::Result<()> {
    unshare(CloneFlags::CLONE_FILES)?;
    let kept = kept.unsigned_abs();
    for (first, last) in [(3, kept - 1), (kept + 1, u32::MAX)] {
        if first <= last {
            // SAFETY: nobody else sees what is closed in this table, and this thread uses none of it.
            Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })?;
        }
    }
    Ok(())
}

/// The thread for what never waits.
fn send(notifier: &Notifier, inodes: &KernelInodes, waiting: &Receiver<Notification>, told: &Sender<Told>) {
    for notification in waiting {
        let (what, inode, taken, done) = match notification {
            Notification::ForgetAttrs(inode) => {
                ("forget attributes", Some(inode), invalidate(notifier, inodes, inode, NO_PAGES), None)
            }
            Notification::ForgetNames => ("forget names", None, notifier.inc_epoch(), None),
            Notification::Mark(done) => ("go on", None, Ok(()), Some(done)),
        };
        // The other thread ends after this one.
        let _ = told.send(Told { what, inode, taken, done });
    }
}

/// Answers when the kernel remembers nothing of the inode, or not what it was told before this.
pub(super) fn invalidate(
    notifier: &Notifier,
    inodes: &KernelInodes,
    inode: InodeId,
    pages_from: i64,
) -> io::Result<()> {
    let since = Instant::now();
    loop {
        // Length 0: to the end of the file.
        match notifier.inval_inode(convert::ino(inode), pages_from, 0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            taken => return taken,
        }
        if !inodes.contain(inode) || since.elapsed() > ENTERED_BY {
            return Ok(());
        }
        thread::sleep(ENTERS_IN);
    }
}

/// The thread that can wake others.
fn tell(hears: &Receiver<Told>) {
    for Told { what, inode, taken, done } in hears {
        if let Err(error) = taken {
            tracing::debug!(what, ?inode, %error, "the kernel did not take a notification");
        }
        if let Some(done) = done {
            // Whoever waited may have gone.
            let _ = done.send(());
        }
    }
}
