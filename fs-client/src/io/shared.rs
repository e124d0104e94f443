//! What all files of a mount share on their data path.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use cairn_proto::attr::Attr;
use cairn_proto::ids::InodeId;
use cairn_runtime::clock::Clock;
use lru::LruCache;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempts::Attempts;
use super::block_cache::BlockCache;
use super::budget::Budget;
use super::chunk_transport::ChunkTransport;
use super::config::IoConfig;
use super::file::FileIo;
use super::meta_io::MetaIo;
use super::replicas::Replicas;

/// Between two looks through all files for something to send.
const LAUNCH_PERIOD: Duration = Duration::from_millis(20);

/// Told the attributes that a commit of written data brought back.
pub type Observer = Arc<dyn Fn(Attr) + Send + Sync>;

/// Limits, caches and connections of a mount.
pub(super) struct Shared {
    pub(super) config: IoConfig,
    pub(super) meta: Arc<dyn MetaIo>,
    pub(super) transport: Arc<dyn ChunkTransport>,
    pub(super) observer: Observer,
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) cache: BlockCache,
    pub(super) replicas: Replicas,
    pub(super) write_back: Arc<Budget>,
    pub(super) retained: Arc<Budget>,
    pub(super) read_ahead: Arc<Semaphore>,
    pub(super) files: Files,
    closed: AtomicBool,
    /// Nothing is tried again any more.
    pub(super) stop: CancellationToken,
    last_launch: Mutex<Option<Instant>>,
}

/// The files that have a [`FileIo`]. Taken after a file's own lock, never before it.
pub(super) struct Files {
    all: Mutex<HashMap<InodeId, Weak<FileIo>>>,
    /// With something left to do, so that it is done whether or not anybody has the file open.
    active: Mutex<HashMap<InodeId, Arc<FileIo>>>,
    /// Opened last, so that opening them again finds what is cached of them.
    recent: Mutex<LruCache<InodeId, Arc<FileIo>>>,
}

impl Shared {
    pub(super) fn new(
        config: IoConfig,
        meta: Arc<dyn MetaIo>,
        transport: Arc<dyn ChunkTransport>,
        clock: Arc<dyn Clock>,
        observer: Observer,
    ) -> Arc<Self> {
        Arc::new(Self {
            meta,
            transport,
            observer,
            runtime: tokio::runtime::Handle::current(),
            cache: BlockCache::new(config.cache_bytes),
            replicas: Replicas::new(&config, clock),
            write_back: Budget::new(config.write_back_bytes),
            retained: Budget::new(config.retain_bytes),
            read_ahead: Arc::new(Semaphore::new(config.read_ahead_requests)),
            files: Files::new(config.idle_files),
            closed: AtomicBool::new(false),
            stop: CancellationToken::new(),
            last_launch: Mutex::default(),
            config,
        })
    }

    /// No further writes are taken in.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Attempts to bring written bytes out: nobody but the mount's end gives them up.
    pub(super) fn tireless_attempts(&self) -> Attempts {
        Attempts::new(None, self.stop.clone())
    }

    pub(super) fn write_attempts(&self) -> Attempts {
        Attempts::new(self.config.write_patience, self.stop.clone())
    }

    pub(super) fn read_attempts(&self) -> Attempts {
        Attempts::new(self.config.read_patience, self.stop.clone())
    }

    /// Gets files to send what they have: somebody waits for memory. Now and then is enough: whoever writes while memory is short
    /// does the same for his own.
    pub(super) fn launch_all_files(&self) {
        let now = Instant::now();
        {
            let mut last = self.last_launch.lock();
            if last.is_some_and(|last| now - last < LAUNCH_PERIOD) {
                return;
            }
            *last = Some(now);
        }
        for file in self.files.active() {
            file.launch();
        }
    }
}

impl Files {
    fn new(recent: usize) -> Self {
        let recent = NonZeroUsize::new(recent).unwrap_or(NonZeroUsize::MIN);
        Self { all: Mutex::default(), active: Mutex::default(), recent: Mutex::new(LruCache::new(recent)) }
    }

    pub(super) fn get(&self, inode: InodeId) -> Option<Arc<FileIo>> {
        self.all.lock().get(&inode).and_then(Weak::upgrade)
    }

    /// The file, made by `make` if there is none. The flag: it was there.
    pub(super) fn get_or_make(&self, inode: InodeId, make: impl FnOnce() -> Arc<FileIo>) -> (Arc<FileIo>, bool) {
        let (file, was_there) = {
            let mut all = self.all.lock();
            match all.get(&inode).and_then(Weak::upgrade) {
                Some(file) => (file, true),
                None => {
                    let file = make();
                    all.insert(inode, Arc::downgrade(&file));
                    (file, false)
                }
            }
        };
        // Dropped after the lock: the last reference to a file forgets the file.
        let _evicted = self.recent.lock().push(inode, file.clone());
        (file, was_there)
    }

    pub(super) fn all(&self) -> Vec<Arc<FileIo>> {
        self.all.lock().values().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn active(&self) -> Vec<Arc<FileIo>> {
        self.active.lock().values().cloned().collect()
    }

    pub(super) fn activate(&self, file: Arc<FileIo>) {
        self.active.lock().insert(file.inode(), file);
    }

    /// The caller holds a reference, so this does not drop the last one.
    pub(super) fn deactivate(&self, inode: InodeId) {
        self.active.lock().remove(&inode);
    }

    /// The last reference to a file is gone. Answers whether nobody has made a new one meanwhile.
    pub(super) fn gone(&self, inode: InodeId) -> bool {
        let mut all = self.all.lock();
        let gone = all.get(&inode).is_some_and(|file| file.strong_count() == 0);
        if gone {
            all.remove(&inode);
        }
        gone
    }

    /// Files live no longer than somebody uses them.
    pub(super) fn let_go(&self) {
        let mut dropped: Vec<Arc<FileIo>> = self.active.lock().drain().map(|(_, file)| file).collect();
        let mut recent = self.recent.lock();
        dropped.extend(std::iter::from_fn(|| recent.pop_lru()).map(|(_, file)| file));
        // Files take locks of this when they go.
        drop(recent);
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}
