//! What chunkservers have acknowledged and the metaserver has not been told: the next commit.

use std::collections::BTreeMap;

use cairn_proto::ids::ChunkIndex;
use cairn_proto::meta::ChunkExtent;
use cairn_proto::time::Timestamp;
use tokio::time::Instant;

/// Acknowledged, uncommitted changes of one file.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    extents: BTreeMap<ChunkIndex, ChunkExtent>,
    /// The file reaches at least to here: the end of the last acknowledged byte.
    size: u64,
    /// Of the last write, acknowledged or not.
    mtime: Option<Timestamp>,
    /// A program has set it itself since the last write.
    mtime_is_set: bool,
    kill_suid_sgid: bool,
    /// Bytes acknowledged.
    bytes: u64,
    /// Without this commit the bytes could not be found: the file or a chunk has grown.
    grows: bool,
    since: Option<Instant>,
}

/// How far a commit lets the file grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reach {
    /// To the last acknowledged byte: somebody wants all of it to be seen.
    LastAcknowledged,
    /// Not past this byte, which is still on its way: a file that grows on its own does not show holes that nobody made.
    Before(u64),
}

impl Changes {
    /// A program has written.
    pub(super) fn wrote(&mut self, mtime: Timestamp, kill_suid_sgid: bool) {
        self.mtime = Some(mtime);
        self.mtime_is_set = false;
        self.kill_suid_sgid |= kill_suid_sgid;
    }

    /// A program has set the modification time itself.
    pub(super) fn set_mtime(&mut self, mtime: Timestamp) {
        if self.mtime.is_some() {
            self.mtime = Some(mtime);
            self.mtime_is_set = true;
        }
    }

    /// The next commit is to say when the last write was, and nothing else: that of bytes before `end` that take the place of others, and
    /// are acknowledged or on their way.
    pub(super) fn announce(&mut self, end: u64) {
        self.size = self.size.max(end);
        self.since.get_or_insert_with(Instant::now);
    }

    /// What [`Self::announce`] said was long ago when the bytes came to be there: whoever has seen the time and not the bytes is to
    /// see a later one.
    pub(super) fn announced_too_early(&mut self) {
        if !self.mtime_is_set {
            self.mtime = self.mtime.max(Some(Timestamp::now()));
        }
    }

    /// Bytes up to `end` of the file are acknowledged.
    pub(super) fn acknowledged(&mut self, extent: ChunkExtent, end: u64, bytes: u64, grows: bool) {
        self.size = self.size.max(end);
        self.bytes += bytes;
        self.grows |= grows;
        self.since.get_or_insert_with(Instant::now);
        // Acknowledgements of pieces in flight together may come in any order.
        let known = self.extents.get(&extent.index).filter(|known| known.handle == extent.handle);
        let allocated = known.map_or(0, |known| known.allocated).max(extent.allocated);
        self.add(ChunkExtent { allocated, ..extent });
    }

    /// A hole is acknowledged.
    pub(super) fn zeroed(&mut self, extent: ChunkExtent) {
        self.since.get_or_insert_with(Instant::now);
        self.add(extent);
    }

    fn add(&mut self, extent: ChunkExtent) {
        let known = self.extents.entry(extent.index).or_insert(extent);
        if known.handle == extent.handle {
            known.length = known.length.max(extent.length);
            known.allocated = extent.allocated;
        } else {
            *known = extent;
        }
    }

    /// There is something to commit.
    pub(super) fn is_due(&self) -> bool {
        self.since.is_some()
    }

    /// When the oldest of it was acknowledged.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    pub(super) fn grows(&self) -> bool {
        self.grows
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn mtime(&self) -> Option<Timestamp> {
        self.mtime
    }

    pub(super) fn kills_suid_sgid(&self) -> bool {
        self.kill_suid_sgid
    }

    pub(super) fn extents(&self) -> Vec<ChunkExtent> {
        self.extents.values().copied().collect()
    }

    /// Takes out what the next commit says. The modification time stays, for [`Self::committed`] to remove.
    pub(super) fn take(&mut self, committed_size: u64, reach: Reach) -> Self {
        let mut batch = std::mem::take(self);
        self.mtime = batch.mtime;
        self.mtime_is_set = batch.mtime_is_set;
        if let Reach::Before(byte) = reach {
            let size = batch.size.min(byte.max(committed_size));
            if size < batch.size {
                // The rest has to wait.
                self.size = batch.size;
                self.grows = true;
                self.since = batch.since;
                batch.size = size;
            }
        }
        batch
    }

    /// A batch could not be committed: back under what has come since.
    pub(super) fn put_back(&mut self, batch: Self) {
        let later = std::mem::replace(self, batch);
        for extent in later.extents.into_values() {
            self.add(extent);
        }
        self.size = self.size.max(later.size);
        if later.mtime.is_some() {
            self.mtime = later.mtime;
            self.mtime_is_set = later.mtime_is_set;
        }
        self.kill_suid_sgid |= later.kill_suid_sgid;
        self.bytes += later.bytes;
        self.grows |= later.grows;
        self.since = self.since.or(later.since);
    }

    /// There is nothing in it but this `mtime`, of a file of at least `size`.
    pub(super) fn is_nothing_but_time(&self, mtime: Timestamp, size: u64) -> bool {
        self.extents.is_empty() && self.size <= size && !self.kill_suid_sgid && self.mtime == Some(mtime)
    }

    /// `mtime` and `size` are committed, and nothing is on its way any more.
    pub(super) fn committed(&mut self, mtime: Timestamp, size: u64) {
        if self.is_nothing_but_time(mtime, size) {
            *self = Self::default();
        }
    }

    /// The file ends at `size`, and the metaserver knows.
    pub(super) fn truncate(&mut self, size: u64) {
        self.size = self.size.min(size);
        self.extents.retain(|index, _| index.start() < size);
    }
}

#[cfg(test)]
mod tests {
    use cairn_proto::ids::ChunkHandle;

    use super::*;

    fn extent(length: u32, allocated: u32) -> ChunkExtent {
        ChunkExtent { index: ChunkIndex(0), handle: ChunkHandle(1), length, allocated }
    }

    #[test]
    fn grows_only_to_what_is_still_on_its_way() {
        let mut changes = Changes::default();
        changes.wrote(Timestamp { secs: 1, nanos: 0 }, true);
        changes.acknowledged(extent(300, 300), 300, 100, true);
        let batch = changes.take(100, Reach::Before(200));
        assert_eq!((batch.size(), batch.kills_suid_sgid()), (200, true));
        assert!(changes.is_due() && changes.grows() && !changes.kills_suid_sgid());
        let rest = changes.take(200, Reach::LastAcknowledged);
        assert_eq!((rest.size(), rest.extents()), (300, vec![]));
        assert!(!changes.is_due());
        assert_eq!(changes.mtime(), Some(Timestamp { secs: 1, nanos: 0 }));
        changes.committed(Timestamp { secs: 1, nanos: 0 }, 300);
        assert_eq!(changes.mtime(), None);
    }

    #[test]
    fn what_could_not_be_committed_joins_what_came_since() {
        let mut changes = Changes::default();
        changes.acknowledged(extent(300, 300), 300, 300, true);
        let batch = changes.take(0, Reach::LastAcknowledged);
        changes.acknowledged(extent(100, 400), 100, 100, false);
        changes.put_back(batch);
        assert_eq!(changes.extents(), [extent(300, 400)]);
        assert_eq!((changes.size(), changes.bytes(), changes.grows()), (300, 400, true));
    }
}
