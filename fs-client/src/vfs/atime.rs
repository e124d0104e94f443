//! Access times: decided as `relatime` does, shown at once, sent to the metaserver when there is time.

use std::collections::HashMap;

use cairn_proto::attr::Attr;
use cairn_proto::ids::InodeId;
use cairn_proto::meta::MAX_BATCH_OPS;
use cairn_proto::time::Timestamp;
use parking_lot::Mutex;

use super::Vfs;
use super::files::OpenFile;

/// Unsent access times. Beyond it new ones are not noted: an access time is worth no more memory.
const MAX_PENDING: usize = 64 << 10;
/// An access time this old is renewed in any case.
const MAX_AGE_SECS: i64 = 24 * 60 * 60;

/// Access times that the metaserver does not know yet.
#[derive(Debug, Default)]
pub(super) struct AtimeUpdates {
    pending: Mutex<HashMap<InodeId, Timestamp>>,
}

impl AtimeUpdates {
    /// Notes that the inode with these attributes is read now, if that is worth noting.
    fn touch(&self, attr: &Attr, now: Timestamp) {
        if !is_due(attr, now) {
            return;
        }
        let mut pending = self.pending.lock();
        if pending.len() < MAX_PENDING || pending.contains_key(&attr.inode) {
            pending.insert(attr.inode, now);
        }
    }

    /// The access time is being set explicitly.
    pub fn forget(&self, inode: InodeId) {
        self.pending.lock().remove(&inode);
    }

    pub fn overlay(&self, attr: &mut Attr) {
        let pending = self.pending.lock();
        if let Some(&atime) = pending.get(&attr.inode) {
            attr.atime = attr.atime.max(atime);
        }
    }

    fn take_batch(&self) -> Vec<(InodeId, Timestamp)> {
        self.pending.lock().iter().take(MAX_BATCH_OPS).map(|(&inode, &atime)| (inode, atime)).collect()
    }

    /// A batch arrived: what is still the same is pending no more.
    fn sent(&self, batch: &[(InodeId, Timestamp)]) {
        let mut pending = self.pending.lock();
        for (inode, atime) in batch {
            if pending.get(inode) == Some(atime) {
                pending.remove(inode);
            }
        }
    }
}

/// The rule of `relatime`: only where it tells something new, that is whether the file was read since it was last changed.
fn is_due(attr: &Attr, now: Timestamp) -> bool {
    attr.atime <= attr.mtime || attr.atime <= attr.ctime || now.secs - attr.atime.secs >= MAX_AGE_SECS
}

impl Vfs {
    /// A read through an open file.
    pub(super) fn touch_file(&self, file: &OpenFile) {
        if file.access.noatime || self.atimes.is_none() {
            return;
        }
        if file.first_read_in(Timestamp::now().secs) {
            self.touch_inode(file.inode);
        }
    }

    /// A read of something that is not opened, or of a directory.
    pub(super) fn touch_inode(&self, inode: InodeId) {
        let Some(atimes) = &self.atimes else { return };
        if let Some(attr) = self.last_seen(inode) {
            atimes.touch(&self.shown(attr), Timestamp::now());
        }
    }

    /// Sends what is pending. Failures are no more than logged: the times are kept for the next round.
    pub(super) async fn send_atimes(&self) {
        let Some(atimes) = &self.atimes else { return };
        loop {
            let batch = atimes.take_batch();
            if batch.is_empty() {
                return;
            }
            let sent = async {
                self.delegations.flush().await?;
                self.meta.touch_atimes(&batch).await
            };
            if let Err(error) = sent.await {
                return tracing::debug!(%error, "access times were not sent");
            }
            for &(inode, atime) in &batch {
                self.known.touched(inode, atime);
                self.delegations.touched(inode, atime);
            }
            atimes.sent(&batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use cairn_proto::attr::FileKind;
    use cairn_proto::ids::LogIndex;

    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp { secs, nanos: 0 }
    }

    fn attr(atime: i64, mtime: i64, ctime: i64) -> Attr {
        Attr {
            inode: InodeId(2),
            kind: FileKind::File,
            mode: 0o644,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            size: 0,
            allocated: 0,
            atime: at(atime),
            mtime: at(mtime),
            ctime: at(ctime),
            btime: at(0),
            has_xattrs: false,
            changed_at: LogIndex(1),
        }
    }

    #[test]
    fn relatime() {
        assert!(is_due(&attr(10, 10, 5), at(20)), "written since it was read");
        assert!(is_due(&attr(10, 5, 10), at(20)), "changed since it was read");
        assert!(!is_due(&attr(10, 5, 5), at(20)), "read already");
        assert!(is_due(&attr(10, 5, 5), at(10 + MAX_AGE_SECS)), "a day ago");
    }

    #[test]
    fn shown_until_sent() {
        let atimes = AtimeUpdates::default();
        let mut file = attr(10, 10, 10);
        atimes.touch(&file, at(20));
        let batch = atimes.take_batch();
        assert_eq!(batch, [(InodeId(2), at(20))]);
        atimes.overlay(&mut file);
        assert_eq!(file.atime, at(20));
        atimes.touch(&attr(10, 10, 10), at(21));
        atimes.sent(&batch);
        assert_eq!(atimes.take_batch(), [(InodeId(2), at(21))], "a newer one stays");
    }
}
