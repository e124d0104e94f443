//! Telling the kernel what to drop.
//!
//! A notification may wait for pages that are locked by a read under way, and so for the answer to that read: it must
//! not be sent from a thread that has answers to give. Hence a thread of its own.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use async_trait::async_trait;
use cairn_proto::ids::InodeId;
use fuser::Notifier;
use tokio::sync::oneshot;

use super::convert;
use crate::vfs::KernelCache;

/// Notifications that may wait to be sent.
const MAX_WAITING: usize = 64 << 10;

/// Sends notifications, in order, until it is dropped.
#[derive(Debug)]
pub struct KernelNotifier {
    waiting: SyncSender<Notification>,
}

#[derive(Debug)]
enum Notification {
    DropPages(InodeId),
    /// Everything before it has been taken.
    Mark(oneshot::Sender<()>),
}

impl KernelNotifier {
    pub fn start(notifier: Notifier) -> io::Result<Self> {
        let (waiting, next) = sync_channel(MAX_WAITING);
        thread::Builder::new().name("fuse-notify".to_owned()).spawn(move || send(&notifier, &next))?;
        Ok(Self { waiting })
    }
}

#[async_trait]
impl KernelCache for KernelNotifier {
    fn drop_pages(&self, inode: InodeId) {
        if let Err(TrySendError::Full(_)) = self.waiting.try_send(Notification::DropPages(inode)) {
            // Then the kernel keeps the pages until the file is opened again, or its size changes.
            tracing::warn!(%inode, limit = MAX_WAITING, "too many notifications wait; the kernel is not told of a change");
        }
    }

    async fn settled(&self) {
        let (done, taken) = oneshot::channel();
        if self.waiting.try_send(Notification::Mark(done)).is_ok() {
            // An error means that the mount is ending.
            let _ = taken.await;
        }
    }
}

fn send(notifier: &Notifier, waiting: &Receiver<Notification>) {
    for notification in waiting {
        let inode = match notification {
            Notification::DropPages(inode) => inode,
            Notification::Mark(done) => {
                // Whoever waited may have gone.
                let _ = done.send(());
                continue;
            }
        };
        // Length 0: to the end of the file.
        if let Err(error) = notifier.inval_inode(convert::ino(inode), 0, 0) {
            tracing::debug!(%inode, %error, "the kernel did not take a notification");
        }
    }
}
