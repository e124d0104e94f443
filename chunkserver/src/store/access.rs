//! Getting at a chunk: with its blocks locked, for reading, for writing, or alone. See [`super::live`] for the locks.

use std::ops::Range;
use std::sync::Arc;

use cairn_proto::chunk::{BLOCKS_PER_CHUNK, ChunkId};
use cairn_proto::chunkserver::ChunkState;
use cairn_proto::error::ChunkError;
use cairn_proto::ids::{ChunkHandle, ChunkVersion};
use tracing::Span;

use super::Store;
use super::chunk::ChunkFiles;
use super::live::LiveChunk;
use super::range_lock::RangeGuard;
use super::shared::Shared;

/// Blocks of a chunk that nobody else writes or waits for.
#[derive(Debug)]
pub struct LockedRange {
    pub(super) live: Arc<LiveChunk>,
    _guard: RangeGuard,
}

impl Store {
    /// Waits for `blocks` of a chunk, in the order of asking. The chunk need not exist.
    pub async fn lock(&self, handle: ChunkHandle, blocks: Range<u32>) -> LockedRange {
        let live = self.live.get(handle);
        let guard = live.ranges.lock(blocks).await;
        LockedRange { live, _guard: guard }
    }

    /// Waits for all of a chunk.
    pub(super) async fn lock_all(&self, handle: ChunkHandle) -> LockedRange {
        self.lock(handle, 0..BLOCKS_PER_CHUNK as u32).await
    }

    /// Turns a writer down that `write` would turn down for its version, as far as memory tells.
    pub fn check_fence(&self, id: ChunkId) -> Result<(), ChunkError> {
        match self.shared.index.stat(id.handle) {
            Some(stat) => check_not_fenced(id, stat.id.version),
            None => Ok(()),
        }
    }

    /// The files of a chunk that there is, with the place that keeps them open.
    pub(super) async fn for_reading(
        &self,
        handle: ChunkHandle,
    ) -> Result<(Arc<LiveChunk>, Arc<ChunkFiles>), ChunkError> {
        if self.shared.index.get(handle).is_none() {
            return Err(ChunkError::NotFound(handle));
        }
        let live = self.live.get(handle);
        if let Some(files) = live.files() {
            return Ok((live, files));
        }
        let files = self.alone(&live, |_, files| Ok(files.clone())).await?;
        Ok((live, files))
    }

    /// Does `work` on a chunk that is ready for writes of `id.version`: created, raised and made dirty before it as need be,
    /// durably. All of it takes one trip to a blocking thread.
    ///
    /// `NotFound` where the chunk may have been here and been lost: see [`super::novel`].
    pub(super) async fn writing<T: Send + 'static>(
        &self,
        live: &Arc<LiveChunk>,
        id: ChunkId,
        work: impl FnOnce(&ChunkFiles) -> Result<T, ChunkError> + Send + 'static,
    ) -> Result<T, ChunkError> {
        self.writing_or_creating(live, id, move |shared| shared.novel.contains(id.handle), work).await
    }

    /// The same; `may_create` says whether the chunk is made where it is missing.
    pub(super) async fn writing_or_creating<T: Send + 'static>(
        &self,
        live: &Arc<LiveChunk>,
        id: ChunkId,
        may_create: impl FnOnce(&Shared) -> bool + Send + 'static,
        work: impl FnOnce(&ChunkFiles) -> Result<T, ChunkError> + Send + 'static,
    ) -> Result<T, ChunkError> {
        let gate = live.gate.clone().read_owned().await;
        if let Some(files) = live.files()
            && takes_writes(&files, id)?
        {
            return blocking(move || {
                let _gate = gate;
                work(&files)
            })
            .await;
        }
        drop(gate);
        let gate = live.gate.clone().write_owned().await;
        let (shared, live) = (self.shared.clone(), live.clone());
        blocking(move || {
            let files = match shared.index.get(id.handle) {
                Some(_) => opened(&shared, &live)?,
                None if may_create(&shared) => install(&live, ChunkFiles::create(&shared, id)?),
                None => return Err(ChunkError::NotFound(id.handle)),
            };
            if !takes_writes(&files, id)? {
                files.admit_writers(id.version)?;
            }
            let _gate = gate.downgrade();
            work(&files)
        })
        .await
    }

    /// Works on a chunk that there is while nobody writes to it or changes its state.
    pub(super) async fn alone<T: Send + 'static>(
        &self,
        live: &Arc<LiveChunk>,
        work: impl FnOnce(&Arc<LiveChunk>, &Arc<ChunkFiles>) -> Result<T, ChunkError> + Send + 'static,
    ) -> Result<T, ChunkError> {
        let gate = live.gate.clone().write_owned().await;
        let (shared, live) = (self.shared.clone(), live.clone());
        blocking(move || {
            let _gate = gate;
            let files = opened(&shared, &live)?;
            work(&live, &files)
        })
        .await
    }
}

/// The open files of a chunk that there is. For holders of the gate alone.
pub(super) fn opened(shared: &Arc<Shared>, live: &LiveChunk) -> Result<Arc<ChunkFiles>, ChunkError> {
    match live.files() {
        Some(files) => Ok(files),
        None => Ok(install(live, ChunkFiles::open(shared, live.handle)?)),
    }
}

fn install(live: &LiveChunk, files: ChunkFiles) -> Arc<ChunkFiles> {
    let files = Arc::new(files);
    live.set_files(Some(files.clone()));
    files
}

/// Whether a writer of `id` may write as things are.
fn takes_writes(files: &ChunkFiles, id: ChunkId) -> Result<bool, ChunkError> {
    let have = files.id();
    if (have.inode, have.index) != (id.inode, id.index) {
        return Err(ChunkError::Malformed(format!("{} is {} of {}", id.handle, have.index, have.inode)));
    }
    check_not_fenced(id, have.version)?;
    Ok(have.version == id.version && files.state() == ChunkState::Dirty)
}

/// Turns down a caller whose version the copy is beyond.
pub(super) fn check_not_fenced(id: ChunkId, have: ChunkVersion) -> Result<(), ChunkError> {
    if have > id.version {
        return Err(ChunkError::VersionFenced { handle: id.handle, asked: id.version, have });
    }
    Ok(())
}

/// Turns down a caller who means another version than the copy's.
pub(super) fn check_version(files: &ChunkFiles, id: ChunkId) -> Result<(), ChunkError> {
    check_same_version(id, files.id().version)
}

/// The same for a version that is known otherwise.
pub fn check_same_version(id: ChunkId, have: ChunkVersion) -> Result<(), ChunkError> {
    check_not_fenced(id, have)?;
    if have < id.version {
        return Err(ChunkError::VersionStale { handle: id.handle, asked: id.version, have });
    }
    Ok(())
}

/// Runs what may wait for the disk where waiting is allowed. It runs to its end, whatever becomes of the caller.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ChunkError> + Send + 'static,
) -> Result<T, ChunkError> {
    let span = Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(%error, "an operation of the store did not come to its end");
            Err(ChunkError::Disk("an internal error; see the chunkserver's log".into()))
        }
    }
}
