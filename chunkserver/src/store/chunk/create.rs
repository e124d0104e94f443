//! A new chunk.

use std::sync::Arc;

use cairn_proto::chunk::ChunkId;
use cairn_proto::chunkserver::ChunkState;
use cairn_proto::error::ChunkError;
use parking_lot::Mutex;

use super::{ChunkFiles, Known, Synced};
use crate::failpoint::{AFTER_CREATE, crash_point};
use crate::store::disk::{DiskFile, OpenMode, Part, write_all_at};
use crate::store::header::{DATA_OFFSET, FIRST_READ_BYTES, Header, encode_slot};
use crate::store::shared::{Shared, disk_error};
use crate::store::table::SumTable;
use crate::store::volume::Volume;

impl ChunkFiles {
    /// Creates the file of a chunk that has none: empty, dirty, not yet durable.
    pub fn create(shared: &Arc<Shared>, id: ChunkId) -> Result<Self, ChunkError> {
        let Some(cluster) = shared.cluster.get().copied() else {
            return Err(ChunkError::Malformed("this server has not joined a cluster yet".into()));
        };
        let volume = shared.volumes.choose()?;
        volume.admit(FIRST_READ_BYTES as u64)?;
        let header = Header { cluster, id, state: ChunkState::Dirty, length: 0, allocated: 0 };
        let files = create_file(shared, &volume, header).inspect_err(|_| {
            // Where this fails too, the next start finds an empty file, or a chunk that nobody knows.
            let _ = volume.disk.remove(&volume.layout.chunk(id.handle));
        })?;
        files.publish();
        if !volume.works() {
            // It failed meanwhile, and so the chunk may not have been entered.
            return Err(ChunkError::Disk(format!("{}: its disk has failed", id.handle)));
        }
        crash_point(AFTER_CREATE);
        Ok(files)
    }
}

fn create_file(shared: &Arc<Shared>, volume: &Arc<Volume>, header: Header) -> Result<ChunkFiles, ChunkError> {
    let handle = header.id.handle;
    let fail = |error: &std::io::Error| disk_error("create a chunk", Some(handle), error);
    let sequence = 1;
    let (offset, slot) =
        encode_slot(sequence, &header).map_err(|e| ChunkError::Disk(format!("cannot encode a header: {e}")))?;
    let directory = volume.make_dir(handle).map_err(|e| fail(&e))?;
    let file = volume.disk.open(&volume.layout.chunk(handle), OpenMode::New).map_err(|e| fail(&e))?;
    let file: Arc<dyn DiskFile> = file.into();
    write_all_at(&*file, &slot, offset).map_err(|e| fail(&e.error))?;
    let known = Known { sequence, header, table: SumTable::default(), doubts: Default::default(), stale: None };
    Ok(ChunkFiles {
        shared: shared.clone(),
        volume: volume.clone(),
        data: Part::new(file.clone(), DATA_OFFSET),
        file,
        name: directory.enter(),
        known: Mutex::new(known),
        // One more than is synced: an empty chunk that is synced must survive, too.
        written: 1.into(),
        synced: Mutex::new(Synced::default()),
        failed: false.into(),
    })
}
