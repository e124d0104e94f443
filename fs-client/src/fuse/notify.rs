//! Telling the kernel what to drop.
//!
//! A notification may wait for pages that are locked by a read under way, and so for the answer to that read: it must
//! not be sent from a thread that has answers to give. Hence a thread of its own.
//!
//! Nor can that wait be ended by killing the client, and what that thread has open stays open until then. If the reads of the kernel
//! were among it, nobody would tell the kernel that they will not be answered, and the mount would hang, client and all. So the thread has
//! a table of descriptors of its own, and in it nothing but a clone of the device: a client that is killed lets go of all else. It can wake
//! nobody, as the runtime does that by a descriptor; what it has sent it passes on to another thread.
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
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use tokio::sync::oneshot;

use super::convert;
use super::inodes::KernelInodes;
use crate::vfs::KernelCache;

/// Before the kernel is told again to drop what it has not entered yet: about as long as it takes to wake the program that has asked.
const ENTERS_IN: Duration = Duration::from_micros(50);
/// By then it has entered it, or never will: the connection is being taken down.
const ENTERED_BY: Duration = Duration::from_secs(10);

/// Sends notifications, in order, until it is dropped.
#[derive(Debug)]
pub struct KernelNotifier {
    waiting: Sender<Notification>,
    can_forget_names: bool,
}

#[derive(Debug)]
enum Notification {
    DropPages(InodeId),
    ForgetNames,
    /// Everything before it has been taken.
    Mark(oneshot::Sender<()>),
}

impl KernelNotifier {
    /// `inodes`: what the kernel is told of.
    pub fn start(notifier: Notifier, inodes: Arc<KernelInodes>) -> io::Result<Self> {
        // By trying: older kernels refuse what they do not know.
        let can_forget_names = notifier.inc_epoch().is_ok();
        if !can_forget_names {
            tracing::info!(
                "the kernel cannot be told to forget names (Linux 6.16 can): each is looked up by CairnFS each time"
            );
        }
        let (waiting, next) = channel();
        let clone = notifier.try_clone_device()?;
        let (sent, to_tell) = channel();
        spawn("fuse-notified", move || tell(&to_tell))?;
        let (begun, has_begun) = channel();
        spawn("fuse-notify", move || {
            let _ = begun.send(let_go_of_all_but(clone.raw_fd()));
            send(&clone, &inodes, &next, &sent);
        })?;
        if let Ok(Err(error)) = has_begun.recv() {
            tracing::warn!(%error, "the mount may hang if its client is killed");
        }
        Ok(Self { waiting, can_forget_names })
    }
}

#[async_trait]
impl KernelCache for KernelNotifier {
    fn drop_pages(&self, inode: InodeId) {
        // An error means that the mount is ending.
        let _ = self.waiting.send(Notification::DropPages(inode));
    }

    fn can_forget_names(&self) -> bool {
        self.can_forget_names
    }

    fn forget_names(&self) {
        let _ = self.waiting.send(Notification::ForgetNames);
    }

    async fn settled(&self) {
        let (done, taken) = oneshot::channel();
        if self.waiting.send(Notification::Mark(done)).is_ok() {
            let _ = taken.await;
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
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

/// The thread without descriptors.
fn send(
    notifier: &Notifier,
    inodes: &KernelInodes,
    waiting: &Receiver<Notification>,
    sent: &Sender<(Notification, io::Result<()>)>,
) {
    for notification in waiting {
        let taken = match &notification {
            Notification::DropPages(inode) => drop_pages(notifier, inodes, *inode),
            Notification::ForgetNames => notifier.inc_epoch(),
            Notification::Mark(_) => Ok(()),
        };
        // The other thread ends after this one.
        let _ = sent.send((notification, taken));
    }
}

/// Answers when the kernel remembers nothing of the inode, or not what it was told before this.
fn drop_pages(notifier: &Notifier, inodes: &KernelInodes, inode: InodeId) -> io::Result<()> {
    let since = Instant::now();
    loop {
        // Length 0: to the end of the file.
        match notifier.inval_inode(convert::ino(inode), 0, 0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            taken => return taken,
        }
        if !inodes.contain(inode) || since.elapsed() > ENTERED_BY {
            return Ok(());
        }
        thread::sleep(ENTERS_IN);
    }
}

/// The one with.
fn tell(sent: &Receiver<(Notification, io::Result<()>)>) {
    for (notification, taken) in sent {
        if let Err(error) = taken {
            tracing::debug!(?notification, %error, "the kernel did not take a notification");
        }
        if let Notification::Mark(done) = notification {
            // Whoever waited may have gone.
            let _ = done.send(());
        }
    }
}
