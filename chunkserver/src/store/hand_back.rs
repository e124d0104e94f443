//! Handing many chunks back at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cairn_proto::chunk::ChunkId;
use cairn_proto::chunkserver::{ChunkStat, ChunkState};
use cairn_proto::error::ChunkError;
use cairn_proto::ids::{ChunkHandle, DiskNumber};
use parking_lot::Mutex;
use tokio::sync::OwnedRwLockWriteGuard;

use super::Store;
use super::access::{blocking, check_not_fenced, opened};
use super::chunk::{ChunkFiles, Covered};
use super::disk::{Task, all_at_once};
use super::live::LiveChunk;
use super::shared::Shared;
use super::volume::Volume;

/// From this many chunks on, one sync of the whole file system takes less than two or three for each of them.
const MANY: usize = 8;

/// A chunk that nobody else writes to or changes.
struct Closed {
    live: Arc<LiveChunk>,
    _gate: OwnedRwLockWriteGuard<()>,
}

/// A chunk that is to be clean.
struct Pending {
    files: Arc<ChunkFiles>,
    /// `None` where it is clean already.
    covered: Option<Covered>,
}

impl Store {
    /// As [`Store::hand_back`] for each of `ids`, with an answer for each. All of it takes one trip to a blocking thread.
    pub async fn hand_back_many(&self, ids: Vec<ChunkId>) -> Vec<Result<ChunkStat, ChunkError>> {
        let closed = self.close(&ids).await;
        let (shared, count) = (self.shared.clone(), ids.len());
        let all = blocking(move || Ok(hand_back_all(&shared, &closed, &ids))).await;
        all.unwrap_or_else(|error| vec![Err(error); count])
    }

    /// Waits for the writes in progress of all chunks that there are.
    async fn close(&self, ids: &[ChunkId]) -> BTreeMap<ChunkHandle, Closed> {
        let exists = |handle: &ChunkHandle| self.shared.index.get(*handle).is_some();
        let handles: BTreeSet<ChunkHandle> = ids.iter().map(|id| id.handle).filter(exists).collect();
        let mut closed = BTreeMap::new();
        // Ascending, so that two who want the same chunks never wait for each other.
        for handle in handles {
            let live = self.live.get(handle);
            let gate = live.gate.clone().write_owned().await;
            closed.insert(handle, Closed { live, _gate: gate });
        }
        closed
    }
}

fn hand_back_all(
    shared: &Arc<Shared>,
    closed: &BTreeMap<ChunkHandle, Closed>,
    ids: &[ChunkId],
) -> Vec<Result<ChunkStat, ChunkError>> {
    let prepare = |id: &ChunkId| match closed.get(&id.handle) {
        Some(closed) => Pending::prepare(shared, &closed.live, *id),
        None => Err(ChunkError::NotFound(id.handle)),
    };
    let pending: Vec<Result<Pending, ChunkError>> = ids.iter().map(prepare).collect();
    let mut by_disk: BTreeMap<DiskNumber, Vec<&Pending>> = BTreeMap::new();
    for chunk in pending.iter().flatten().filter(|chunk| chunk.covered.is_some()) {
        by_disk.entry(chunk.files.volume().number).or_default().push(chunk);
    }
    let (many, few): (Vec<_>, Vec<_>) = by_disk.into_values().partition(|chunks| chunks.len() >= MANY);
    let few: Vec<&Pending> = few.concat();
    if few.len() > 1 {
        sync_each(&few);
    }
    let synced = sync_disks(many.iter().map(|chunks| chunks[0].files.volume().clone()).collect());
    pending.into_iter().map(|chunk| chunk?.finish(&synced)).collect()
}

/// Syncs disks as a whole, at the same time. Answers those on which everything is on stable storage now, apart from files that say otherwise.
fn sync_disks(volumes: Vec<Arc<Volume>>) -> BTreeSet<DiskNumber> {
    let synced = Arc::new(Mutex::new(BTreeSet::new()));
    let sync = |volume: Arc<Volume>| -> Task {
        let synced = synced.clone();
        Box::new(move || {
            match volume.disk.sync_all(&volume.layout.chunks()) {
                Ok(()) => drop(synced.lock().insert(volume.number)),
                Err(error) => {
                    let path = volume.layout.root().display();
                    tracing::warn!(%path, %error, "cannot sync the file system as a whole; chunks are synced one by one");
                }
            }
            Ok(())
        })
    };
    let _ = all_at_once(volumes.into_iter().map(sync).collect());
    let synced = synced.lock();
    synced.clone()
}

/// Syncs some chunks at the same time. What came of it is remembered by each of them, for when it is synced again.
fn sync_each(chunks: &[&Pending]) {
    let sync = |chunk: &&Pending| -> Task {
        let files = chunk.files.clone();
        Box::new(move || {
            let _ = files.sync();
            Ok(())
        })
    };
    let _ = all_at_once(chunks.iter().map(sync).collect());
}

impl Pending {
    /// Does what comes before the sync.
    fn prepare(shared: &Arc<Shared>, live: &LiveChunk, id: ChunkId) -> Result<Self, ChunkError> {
        let files = opened(shared, live)?;
        let have = files.id().version;
        check_not_fenced(id, have)?;
        if have == id.version && files.state() == ChunkState::Clean {
            return Ok(Self { files, covered: None });
        }
        files.raise_version(id.version)?;
        files.flush_stale_entries()?;
        let covered = Some(files.begin_sync()?);
        Ok(Self { files, covered })
    }

    /// Makes the chunk clean. Unless its disk is among those that are `synced`, it is synced by itself.
    fn finish(self, synced: &BTreeSet<DiskNumber>) -> Result<ChunkStat, ChunkError> {
        match self.covered {
            Some(covered) if synced.contains(&self.files.volume().number) => self.files.hand_back_synced(covered)?,
            Some(_) => self.files.hand_back()?,
            None => {}
        }
        Ok(self.files.stat())
    }
}
