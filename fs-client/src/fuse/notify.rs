//! Telling the kernel what to drop.
//!
//! A notification may wait for pages that are locked by a read under way, and so for the answer to that read: it must
//! not be sent from a thread that has answers to give. Hence a thread of its own.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use cairn_proto::ids::InodeId;
use fuser::Notifier;

use super::convert;
use crate::vfs::KernelCache;

/// Notifications that may wait to be sent.
const MAX_WAITING: usize = 64 << 10;

/// Sends notifications, in order, until it is dropped.
#[derive(Debug)]
pub struct KernelNotifier {
    inodes: SyncSender<InodeId>,
}

impl KernelNotifier {
    pub fn start(notifier: Notifier) -> io::Result<Self> {
        let (inodes, waiting) = sync_channel(MAX_WAITING);
        thread::Builder::new().name("fuse-notify".to_owned()).spawn(move || send(&notifier, &waiting))?;
        Ok(Self { inodes })
    }
}

impl KernelCache for KernelNotifier {
    fn drop_pages(&self, inode: InodeId) {
        if let Err(TrySendError::Full(inode)) = self.inodes.try_send(inode) {
            // Then the kernel keeps the pages until the file is opened again, or its size changes.
            tracing::warn!(%inode, limit = MAX_WAITING, "too many notifications wait; the kernel is not told of a change");
        }
    }
}

fn send(notifier: &Notifier, waiting: &Receiver<InodeId>) {
    for inode in waiting {
        // Length 0: to the end of the file.
        if let Err(error) = notifier.inval_inode(convert::ino(inode), 0, 0) {
            tracing::debug!(%inode, %error, "the kernel did not take a notification");
        }
    }
}
