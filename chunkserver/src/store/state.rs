//! Operations on the state of chunks: durability, versions, reconciliation, removal.

use std::io;
use std::sync::Arc;

use cairn_proto::chunk::ChunkId;
use cairn_proto::chunkserver::{ChunkStat, ChunkState};
use cairn_proto::error::ChunkError;
use cairn_proto::ids::{ChunkHandle, ChunkVersion};

use super::Store;
use super::access::{blocking, check_not_fenced, check_version};
use super::chunk::{ChunkFiles, Piece};
use super::shared::{Shared, disk_error};

impl Store {
    /// Everything that was acknowledged is on stable storage when this returns. The state stays.
    ///
    /// Like a write, it raises a copy of an older version: members may be current and not have heard of the newest one.
    pub async fn sync(&self, id: ChunkId) -> Result<ChunkStat, ChunkError> {
        let (live, files) = self.for_reading(id.handle).await?;
        let have = files.id().version;
        check_not_fenced(id, have)?;
        if have < id.version || files.has_stale_entries() {
            let prepare = move |_: &_, files: &Arc<ChunkFiles>| {
                check_not_fenced(id, files.id().version)?;
                files.raise_version(id.version)?;
                files.flush_stale_entries()
            };
            self.alone(&live, prepare).await?;
        }
        blocking(move || {
            files.sync()?;
            Ok(files.stat())
        })
        .await
    }

    /// Syncs, and makes the chunk clean once the writes in progress are done.
    pub async fn hand_back(&self, id: ChunkId) -> Result<ChunkStat, ChunkError> {
        let (live, files) = self.for_reading(id.handle).await?;
        let have = files.id().version;
        check_not_fenced(id, have)?;
        if have == id.version && files.state() == ChunkState::Clean {
            return Ok(files.stat());
        }
        self.alone(&live, move |_, files| {
            check_not_fenced(id, files.id().version)?;
            files.raise_version(id.version)?;
            files.hand_back()?;
            Ok(files.stat())
        })
        .await
    }

    /// Raises the version, durably, once the writes in progress are done: older writers are turned down from here on.
    pub async fn fence(&self, handle: ChunkHandle, version: ChunkVersion) -> Result<ChunkStat, ChunkError> {
        let (live, _) = self.for_reading(handle).await?;
        self.alone(&live, move |_, files| {
            let have = files.id().version;
            if have > version {
                return Err(ChunkError::VersionFenced { handle, asked: version, have });
            }
            files.raise_version(version)?;
            Ok(files.stat())
        })
        .await
    }

    /// Makes an empty copy of a chunk that nobody holds, as the metaserver knows. One that there is, is raised to the version.
    pub async fn create(&self, id: ChunkId) -> Result<ChunkStat, ChunkError> {
        let range = self.lock_all(id.handle).await;
        self.writing_or_creating(&range.live, id, |_| true, |files| Ok(files.stat())).await
    }

    /// Replaces whole blocks of a copy of exactly this version, whatever they held.
    pub async fn patch(&self, id: ChunkId, piece: Piece, length: u32) -> Result<(), ChunkError> {
        let range = self.lock_all(id.handle).await;
        self.for_reading(id.handle).await?;
        self.alone(&range.live, move |_, files| {
            check_version(files, id)?;
            files.admit_writers(id.version)?;
            files.replace(&piece, length)
        })
        .await
    }

    /// Ends a reconciliation of a copy of exactly this version: of this length, synced, clean.
    pub async fn settle(&self, id: ChunkId, length: u32) -> Result<ChunkStat, ChunkError> {
        let range = self.lock_all(id.handle).await;
        self.for_reading(id.handle).await?;
        self.alone(&range.live, move |_, files| {
            check_version(files, id)?;
            if files.stat().length != length {
                files.admit_writers(id.version)?;
            }
            files.settle(length)?;
            Ok(files.stat())
        })
        .await
    }

    /// Removes a copy whose version is at most `version`. What is not here is no error.
    pub async fn delete(&self, handle: ChunkHandle, version: ChunkVersion) -> Result<(), ChunkError> {
        let live = self.live.get(handle);
        let gate = live.gate.clone().write_owned().await;
        let shared = self.shared.clone();
        blocking(move || {
            let _gate = gate;
            match shared.index.stat(handle) {
                Some(stat) if stat.id.version <= version => {}
                Some(_) | None => return Ok(()),
            }
            remove_file(&shared, handle).map_err(|e| disk_error("delete a chunk", Some(handle), &e))?;
            live.set_files(None);
            Ok(())
        })
        .await
    }
}

/// Removes a chunk from disk and memory.
fn remove_file(shared: &Shared, handle: ChunkHandle) -> io::Result<()> {
    if let Some(volume) = shared.volume_of(handle) {
        match volume.disk.remove(&volume.layout.chunk(handle)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    shared.index.remove(handle);
    shared.changes.touch(handle);
    shared.damage.forget(handle);
    Ok(())
}
