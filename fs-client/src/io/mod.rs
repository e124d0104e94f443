//! File contents: the write-back buffer, read-ahead, the block cache, and chunk I/O with everything that can fail in it.
//!
//! [`Io`] is the data path of one mount, [`FileIo`] that of one file. Names, attributes and permissions are the business of
//! `vfs`; the session with the metaserver is `meta`'s, seen from here as [`MetaIo`]; chunkservers are seen as [`ChunkTransport`].
//!
//! | part | where |
//! |---|---|
//! | what a file's bytes are, and the locks | [`mod@file`] |
//! | writing | [`write_back`] over [`pieces`]; [`commit`] over [`changes`]; [`sync`] over [`acks`] |
//! | a chunk's chain, and the failure of its members | [`chain`], decided in [`verdict`] |
//! | reading | [`read`] and [`fetch`], [`read_ahead`], [`block_cache`]; whom to ask in [`replicas`], asking in [`ask`] |
//! | truncating, holes | [`reshape`], [`seek`] |
//! | calls to chunkservers | [`chunk_transport`]; over the wire [`chunk_client`], with [`connections`] and [`hand_backs`] |
//! | memory | [`budget`], [`piece_buffer`] |

mod access;
mod acks;
mod anew;
mod ask;
mod attempts;
mod background;
mod block_cache;
mod budget;
mod chain;
mod changes;
mod chunk_client;
mod chunk_transport;
mod commit;
mod config;
mod confirmed;
mod connections;
mod error;
mod error_seq;
mod fetch;
mod fetches;
mod file;
mod hand_backs;
mod locations;
mod meta_io;
mod piece_buffer;
mod pieces;
mod read;
mod read_ahead;
mod replicas;
mod reshape;
mod runs;
mod seek;
mod shared;
mod stamp;
mod sync;
mod verdict;
mod view;
mod write_back;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use cairn_proto::ids::InodeId;
use cairn_proto::meta::Opened;
use cairn_runtime::clock::{Clock, SystemClock};
use futures::StreamExt;

pub use access::{Access, Reading, Writing};
pub use chunk_client::ChunkClient;
pub use chunk_transport::ChunkTransport;
pub use config::IoConfig;
pub use error::{CallError, IoError, MetaError};
pub use error_seq::ErrorCursor;
pub use file::FileIo;
pub use meta_io::MetaIo;
pub use replicas::{BreakerLimits, BreakerStats, Distance, HedgeLimits, HedgeStats, ReadStats, ServerReads};
pub use shared::Observer;

use shared::Shared;

/// Files that are synced or handed back at a time when all of them are.
const FILES_AT_A_TIME: usize = 256;

/// The data path of one mount.
pub struct Io {
    shared: Arc<Shared>,
    background: tokio::task::AbortHandle,
}

impl Io {
    /// Within a tokio runtime. `observer` is told the attributes that every commit of written data brings back.
    pub fn new(config: IoConfig, meta: Arc<dyn MetaIo>, observer: Observer) -> Arc<Self> {
        let transport = Arc::new(ChunkClient::new(&config));
        Self::with_transport(config, meta, transport, Arc::new(SystemClock), observer)
    }

    /// The same with other means to reach chunkservers, and another clock for what is thought of them.
    pub fn with_transport(
        config: IoConfig,
        meta: Arc<dyn MetaIo>,
        transport: Arc<dyn ChunkTransport>,
        clock: Arc<dyn Clock>,
        observer: Observer,
    ) -> Arc<Self> {
        let shared = Shared::new(config, meta, transport, clock, observer);
        let background = tokio::spawn(background::run(Arc::downgrade(&shared))).abort_handle();
        Arc::new(Self { shared, background })
    }

    /// The contents of a file that was opened just now: the same for all who have it open.
    pub fn file(&self, opened: &Opened) -> Arc<FileIo> {
        let inode = opened.attr.inode;
        let (file, was_there) =
            self.shared.files.get_or_make(inode, || FileIo::new(&opened.attr, self.shared.clone(), &opened.chunks));
        if was_there {
            file.reopened();
            file.seen(&opened.attr);
        }
        file
    }

    /// The contents of a file that is open, or was lately.
    pub fn find(&self, inode: InodeId) -> Option<Arc<FileIo>> {
        self.shared.files.get(inode)
    }

    /// The contents of all files that are open, or were lately.
    pub fn files(&self) -> Vec<Arc<FileIo>> {
        self.shared.files.all()
    }

    /// The files with something written that the metaserver does not know yet.
    pub fn dirty_files(&self) -> Vec<Arc<FileIo>> {
        self.shared.files.active().into_iter().filter(|file| file.is_dirty()).collect()
    }

    /// Files with something written that is not on stable storage.
    pub fn unsaved_files(&self) -> usize {
        self.shared.files.active().into_iter().filter(|file| file.is_unsaved()).count()
    }

    /// [`FileIo::sync`] of all files. Those that nobody has open are handed back with it, many at a time in one call.
    pub async fn sync_all(&self, is_open: impl Fn(InodeId) -> bool) -> Result<(), IoError> {
        let syncs = self.shared.files.active().into_iter().map(|file| {
            let is_open = is_open(file.inode());
            async move {
                // What could not be handed back says why when it is synced.
                if !is_open && file.hand_back_all().await { Ok(()) } else { file.sync().await }
            }
        });
        let results: Vec<_> = futures::stream::iter(syncs).buffer_unordered(FILES_AT_A_TIME).collect().await;
        results.into_iter().collect()
    }

    /// Takes no more writes in, brings what was written to the chunkservers' disks, and hands all chunks back.
    pub async fn shutdown(&self) {
        self.shared.close();
        let files = self.shared.files.active().into_iter();
        let work = files.map(|file| async move { file.hand_back_all().await });
        futures::stream::iter(work).buffer_unordered(FILES_AT_A_TIME).collect::<Vec<bool>>().await;
        self.background.abort();
        self.shared.files.let_go();
    }

    /// Bytes written and not yet acknowledged, over all files.
    pub fn write_back_bytes(&self) -> usize {
        self.shared.write_back.used()
    }

    /// How it reads, and from whom.
    pub fn read_stats(&self) -> ReadStats {
        self.shared.replicas.stats()
    }

    /// Bytes in the block cache.
    pub fn cached_bytes(&self) -> usize {
        self.shared.cache.charged()
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        self.background.abort();
        self.shared.stop.cancel();
        // They refer to what is shared, and that to them.
        self.shared.files.let_go();
    }
}

impl std::fmt::Debug for Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Io").field("config", &self.shared.config).finish_non_exhaustive()
    }
}
