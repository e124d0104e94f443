//! A copy that is being fetched from elsewhere: written beside the chunks, and moved among them once it is whole.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use cairn_proto::chunk::{BLOCK_SIZE, BLOCKS_PER_CHUNK, BlockSum, ChunkId};
use cairn_proto::chunkserver::{ChunkStat, ChunkState};
use cairn_proto::error::ChunkError;
use parking_lot::Mutex;

use super::Store;
use super::access::{blocking, check_not_fenced};
use super::disk::{DiskFile, OpenMode, Part, write_all_at};
use super::header::{DATA_OFFSET, Entry, Header, encode_entries, encode_slot, entry_offset};
use super::index;
use super::shared::{Shared, disk_error};
use super::table::SumTable;
use super::volume::Volume;

/// The file of a copy to be, under a temporary name. Removed when dropped before [`Incoming::install`].
#[derive(Debug)]
pub struct Incoming {
    file: Arc<TemporaryFile>,
}

#[derive(Debug)]
struct TemporaryFile {
    shared: Arc<Shared>,
    volume: Arc<Volume>,
    id: ChunkId,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    data: Part,
    table: Mutex<SumTable>,
}

impl Store {
    /// Begins a copy: on the disk of the one that it is to replace, or, of a chunk that is not here, on any.
    pub async fn receive(&self, id: ChunkId) -> Result<Incoming, ChunkError> {
        let shared = self.shared.clone();
        blocking(move || {
            let fail = |e: &io::Error| disk_error("create a copy", Some(id.handle), e);
            let volume = match shared.volume_of(id.handle) {
                Some(volume) => volume.clone(),
                None => shared.volumes.choose()?,
            };
            volume.make_dir(id.handle).map_err(|e| fail(&e))?;
            let path = volume.layout.temporary(id.handle, shared.next_copy());
            let file: Arc<dyn DiskFile> = volume.disk.open(&path, OpenMode::New).map_err(|e| fail(&e))?.into();
            let data = Part::new(file.clone(), DATA_OFFSET);
            let table = Mutex::default();
            let temporary = TemporaryFile { shared: shared.clone(), volume, id, path, file, data, table };
            Ok(Incoming { file: Arc::new(temporary) })
        })
        .await
    }
}

impl Incoming {
    /// Takes whole blocks in, the last of which may be short, and verifies them.
    pub async fn put(&self, offset: u32, sums: Vec<BlockSum>, bytes: bytes::Bytes) -> Result<(), ChunkError> {
        let file = self.file.clone();
        blocking(move || file.put(offset, &sums, &bytes)).await
    }

    /// The sums of what was taken in.
    pub fn sums(&self) -> Vec<BlockSum> {
        self.file.table.lock().trimmed()
    }

    /// Makes the copy durable and puts it in the place of the copy that there is. One of a newer version stays: whoever ordered this copy
    /// has given it up meanwhile, and others have written since.
    pub async fn install(self, store: &Store, length: u32) -> Result<ChunkStat, ChunkError> {
        let range = store.lock_all(self.file.id.handle).await;
        let live = range.live.clone();
        let gate = live.gate.clone().write_owned().await;
        blocking(move || {
            let (_range, _gate) = (range, gate);
            if let Some(there) = self.file.shared.index.stat(self.file.id.handle) {
                check_not_fenced(self.file.id, there.id.version)?;
                if there.disk != self.file.volume.number {
                    let handle = self.file.id.handle;
                    return Err(ChunkError::Disk(format!("{handle} came to another disk while it was copied")));
                }
            }
            let stat = self.file.finish(length)?;
            // Whoever has the old files open goes on reading them; nobody writes to them any more.
            live.set_files(None);
            self.file.replace(stat)
        })
        .await
    }
}

impl TemporaryFile {
    fn put(&self, offset: u32, sums: &[BlockSum], bytes: &[u8]) -> Result<(), ChunkError> {
        let first = offset / BLOCK_SIZE as u32;
        if bytes.len().div_ceil(BLOCK_SIZE) != sums.len() || first as usize + sums.len() > BLOCKS_PER_CHUNK {
            return Err(ChunkError::Malformed("sums and bytes of a copy do not go together".into()));
        }
        for ((block, bytes), sum) in (first..).zip(bytes.chunks(BLOCK_SIZE)).zip(sums) {
            if BlockSum::of(bytes) != *sum {
                return Err(ChunkError::DamagedInTransit { handle: self.id.handle, block });
            }
        }
        // What is zeros stays a hole. By the bytes, not by the sum: another block could have that, too.
        let is_hole = |block: &&[u8]| block.iter().all(|b| *b == 0);
        let mut at = u64::from(offset);
        for run in bytes.chunks(BLOCK_SIZE).collect::<Vec<_>>().chunk_by(|a, b| is_hole(a) == is_hole(b)) {
            let len: usize = run.iter().map(|block| block.len()).sum();
            if !is_hole(&run[0]) {
                self.volume.admit(len as u64)?;
                let from = (at - u64::from(offset)) as usize;
                write_all_at(&self.data, &bytes[from..from + len], at).map_err(|e| self.fail(&e.error))?;
            }
            at += len as u64;
        }
        let mut table = self.table.lock();
        (first..).zip(sums).for_each(|(block, sum)| table.set(block, *sum));
        Ok(())
    }

    /// Writes the header, and syncs the file.
    fn finish(&self, length: u32) -> Result<ChunkStat, ChunkError> {
        let Some(cluster) = self.shared.cluster.get().copied() else {
            return Err(ChunkError::Malformed("this server has not joined a cluster yet".into()));
        };
        let table = self.table.lock();
        let entries = table.trimmed().into_iter().map(|sum| Entry { sum, previous: sum });
        let allocated = table.allocated();
        let header = Header { cluster, id: self.id, state: ChunkState::Clean, length, allocated };
        let (offset, slot) =
            encode_slot(1, &header).map_err(|e| ChunkError::Disk(format!("cannot encode a header: {e}")))?;
        let written = write_all_at(&*self.file, &slot, offset)
            .and_then(|()| write_all_at(&*self.file, &encode_entries(entries), entry_offset(0)));
        written.map_err(|e| self.fail(&e.error))?;
        self.data.set_len(u64::from(length)).map_err(|e| self.fail(&e))?;
        self.file.sync_data().map_err(|e| self.fail(&e))?;
        Ok(header.stat(self.volume.number))
    }

    /// One name takes the place of the other: dying on the way leaves the old copy or the new one, never a mixed one.
    fn replace(&self, stat: ChunkStat) -> Result<ChunkStat, ChunkError> {
        let Shared { index, changes, damage, novel, .. } = &*self.shared;
        let handle = self.id.handle;
        let moved = self.volume.disk.rename(&self.path, &self.volume.layout.chunk(handle));
        match &moved {
            Ok(()) => drop(index.put(index::Entry { stat, scanned: true })),
            Err(_) => {
                novel.lost(handle);
                index.remove(handle);
            }
        }
        damage.forget(handle);
        changes.touch(handle);
        moved.map_err(|e| self.fail(&e))?;
        match self.volume.works() {
            true => Ok(stat),
            // It failed meanwhile, and so the copy may not have been entered.
            false => Err(ChunkError::Disk(format!("{handle}: its disk has failed"))),
        }
    }

    fn fail(&self, error: &io::Error) -> ChunkError {
        disk_error("write a copy", Some(self.id.handle), error)
    }
}

impl Drop for TemporaryFile {
    /// After a success there is nothing under this name any more.
    fn drop(&mut self) {
        let _ = self.volume.disk.remove(&self.path);
    }
}
